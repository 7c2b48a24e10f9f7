"""Frames, their reference counts and locks; nodes that give them out; contents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmactors.errors import Finding, UsageError
from ksmactors.interleave.actor import ACQUIRE, races
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.content import InternedContents, memcmp_pages
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame
from tests.helpers.directed import Stage, about_to, perform

POISONED: dict[str, Callable[[Frame], Awaitable[object]]] = {
    "get": lambda frame: frame.get(),
    "put": lambda frame: frame.put(),
    "lock": lambda frame: frame.lock(),
    "trylock": lambda frame: frame.trylock(),
    "store to mapping": lambda frame: frame.set_mapping(None),
    "read of content": lambda frame: frame.read_content(),
    "write of content": lambda frame: frame.write_content(frame.content),
}


@pytest.mark.parametrize("operation", POISONED)
def test_a_free_frame_is_poisoned(operation: str) -> None:
    """Whatever is done to a free frame, but for the keyhole's look and attempt, is a use after free."""

    async def play(s: Stage) -> None:
        frame = await s.kernel.alloc_page(0)
        assert frame is not None
        await frame.put()
        await POISONED[operation](frame)

    with pytest.raises(Finding) as found:
        perform(play)
    assert found.value.signature == "lifetime/use_after_free_frame@none"


def test_the_keyhole_may_look_at_a_free_frame() -> None:
    """A reader that comes through kpfn may read the mapping of a free frame, and fails to take a reference."""

    async def play(s: Stage) -> None:
        frame = await s.kernel.alloc_page(0)
        assert frame is not None
        await frame.set_mapping(KSM_WITHOUT_NODE)
        await frame.put()
        assert await frame.read_mapping() is None
        assert not await frame.get_unless_zero()
        assert frame.refcount == 0

    perform(play)


def test_frozen_references() -> None:
    """References are frozen only if there are exactly as many as expected; meanwhile nobody gets one."""

    async def play(s: Stage) -> None:
        frame = await s.kernel.alloc_page(0)
        assert frame is not None
        assert not await frame.freeze(2)
        assert await frame.freeze(1)
        assert not await frame.get_unless_zero()
        await frame.unfreeze(1)
        assert await frame.count() == 1
        with pytest.raises(Finding, match="which is not frozen"):
            await frame.unfreeze(1)
        await frame.put()

    perform(play)


def test_page_lock() -> None:
    """lock_page blocks while another holds the lock, trylock_page does not; who unlocks without it is reported."""

    async def play(s: Stage) -> None:
        frame = await s.kernel.alloc_page(0)
        assert frame is not None
        await frame.lock()
        assert not await s.finish(s.start("trying", frame.trylock()))
        waiting = s.start("waiting", frame.lock())
        await s.blocks(waiting)
        assert waiting.actor.waiting_on is frame
        await frame.unlock()
        await s.finish(waiting)
        assert frame.owner is waiting.actor
        with pytest.raises(Finding) as found:
            await frame.unlock()
        assert found.value.signature == "lock_order/released_by_another@play"

    perform(play)


@pytest.mark.parametrize("operation", ["lock", "trylock", "unlock", "wait_unlocked"])
def test_operations_on_a_page_lock_race(operation: str) -> None:
    """Whatever is done to a page lock is done to the lock as a whole, and so races with its acquisition."""

    async def play(s: Stage) -> None:
        frame = await s.kernel.alloc_page(0)
        assert frame is not None
        puppet = s.start("puppet", doing(frame))
        await s.until(puppet, about_to(obj=frame, inside=operation))
        assert races(puppet.actor.op, (ACQUIRE, frame, ""))
        await s.finish(puppet)

    async def doing(frame: Frame) -> None:
        if operation == "unlock":
            await frame.lock()
        await getattr(frame, operation)()

    perform(play)


def test_allocation_falls_back() -> None:
    """A page comes from the node asked for, when that is full from the next one, and from none when all are; a
    caller that wants exactly that node gets none at once."""

    async def play(s: Stage) -> None:
        kernel = s.kernel
        pages = [await kernel.alloc_page(1) for _ in range(6)]
        assert [page and page.nid for page in pages] == [1, 1, 2, 2, 0, None]  # one of node 0 is the zero page
        assert await kernel.alloc_page(1, exactly=True) is None
        assert pages[2] is not None
        await pages[2].put()
        again = await kernel.alloc_page(1)
        assert again is pages[2]
        assert (again.refcount, again.content) == (1, kernel.contents.zero)

    perform(play, nodes=3, frames_per_node=2)


def test_last_freed_is_first_reused() -> None:
    """A node gives out the frame that was freed last, clean."""

    async def play(s: Stage) -> None:
        one, two = await s.kernel.alloc_page(0), await s.kernel.alloc_page(0)
        assert one is not None
        assert two is not None
        await one.write_content(s.kernel.contents.token(7))
        one.dirty = True
        await two.put()
        await one.put()
        again = await s.kernel.alloc_page(0)
        assert again is one
        assert (again.content, again.dirty, again.mapping) == (s.kernel.contents.zero, False, None)

    perform(play)


def test_freeing_a_mapped_page() -> None:
    """The last reference of a frame goes while a page table entry still maps it: found with no watcher watching."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        await s.frame(a, 0).put()

    with pytest.raises(Finding) as found:
        perform(play, watchers=())
    assert found.value.signature == "references/freed_while_mapped@none"
    assert "1 mapping" in found.value.message


def test_freeing_a_page_whose_map_count_is_wrong() -> None:
    """The map count says that no entry maps a frame, and one does: found when the frame is freed."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        s.kernel.page_remove_rmap(s.frame(a, 0))
        await s.frame(a, 0).put()

    with pytest.raises(Finding) as found:
        perform(play, watchers=("references",))
    assert found.value.signature == "references/freed_while_mapped@none"
    assert "is mapped by A at 0x10000" in found.value.message


def test_freeing_a_locked_page() -> None:
    """The last reference of a frame goes while an actor holds its lock, as the kernel's free_pages_check asks."""

    async def play(s: Stage) -> None:
        frame = await s.kernel.alloc_page(0)
        assert frame is not None
        await frame.lock()
        await frame.put()

    with pytest.raises(Finding) as found:
        perform(play, watchers=())
    assert found.value.signature == "references/freed_while_locked@none"


def test_a_reference_that_a_pagevec_has_is_no_mappings() -> None:
    """A mapping has no reference of its own, which the one of a pagevec does not hide."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        s.kernel.lru_cache_add(s.frame(a, 0))
        await s.frame(a, 0).put()
        await s.kernel.ksm_thread_mutex.lock()
        await s.kernel.ksm_thread_mutex.unlock()

    with pytest.raises(Finding) as found:
        perform(play, watchers=("references",))
    assert found.value.signature == "references/too_few_references@mutex_unlock"
    assert "1 places in pagevecs" in found.value.message


@pytest.mark.parametrize("machine", [{"nodes": 0}, {"frames_per_node": 0}])
def test_impossible_machines(machine: dict[str, int]) -> None:
    """A machine without nodes or without frames is refused."""

    async def play(s: Stage) -> None: ...

    with pytest.raises(UsageError):
        perform(play, **machine)


@settings(derandomize=True, max_examples=50)
@given(st.binary(min_size=1, max_size=8), st.binary(min_size=1, max_size=8))
def test_contents_are_interned_and_ordered(one: bytes, other: bytes) -> None:
    """Equal bytes are one object, whose order is memcmp's; the checksum tells contents apart, and is never 0."""
    contents = InternedContents()
    a, b = contents.of(one.ljust(PAGE_SIZE, b"\0")), contents.of(other.ljust(PAGE_SIZE, b"\0"))
    assert (a is b) == (a.data == b.data)
    assert memcmp_pages(a, b) == (a.data > b.data) - (a.data < b.data)
    assert (a.checksum == b.checksum) == (a.data == b.data)
    assert 0 not in (a.checksum, b.checksum, contents.zero.checksum)


_PLACES = st.integers(0, 20) | st.integers(0, PAGE_SIZE - 1)
_BYTES = st.integers(0, 255)


@settings(derandomize=True, max_examples=100)
@given(st.binary(min_size=8, max_size=8), st.tuples(_PLACES, _BYTES), st.tuples(_PLACES, _BYTES))
def test_pages_that_nearly_repeat_are_ordered(unit: bytes, one: tuple[int, int], other: tuple[int, int]) -> None:
    """Pages that repeat their beginning, and those that do so but for a byte, compare as their bytes do."""
    contents = InternedContents()
    repeated = unit * (PAGE_SIZE // 8)
    pages = [repeated] + [repeated[:at] + bytes([byte]) + repeated[at + 1 :] for at, byte in (one, other)]
    made = [contents.of(page) for page in pages]
    assert [content.data for content in made] == pages
    assert contents.token(int.from_bytes(unit, "big")) is made[0]
    for a, b in product(made, made):
        assert (a is b) == (a.data == b.data)
        assert memcmp_pages(a, b) == (a.data > b.data) - (a.data < b.data)


@settings(derandomize=True, max_examples=50)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_tokens_are_ordered(one: int, other: int) -> None:
    """Pages compare as their tokens do."""
    contents = InternedContents()
    assert memcmp_pages(contents.token(one), contents.token(other)) == (one > other) - (one < other)


def test_bytes_are_not_in_memory_twice() -> None:
    """A content made of bytes that do not begin with a repetition keeps these very bytes."""
    page = bytes(range(256)) * (PAGE_SIZE // 256)
    assert InternedContents().of(page).data is page


def test_a_content_has_a_page_of_bytes() -> None:
    """Other lengths are refused; token 0 is zeros."""
    contents = InternedContents()
    with pytest.raises(ValueError, match="4096 bytes, not 3"):
        contents.of(b"abc")
    assert contents.token(0) is contents.zero is contents.of(bytes(PAGE_SIZE))
