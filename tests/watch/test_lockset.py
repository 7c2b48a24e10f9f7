"""lockset: a lock that everybody holds, or nobody's field, and the fields whose discipline is another."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.interleave.locks import Mutex, RwSem, WaitQueue
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace
from tests.helpers import plays
from tests.helpers.directed import Play, Stage, perform


def watched(play: Play, *, layer: type[Ksm] | None = None, kernel: str = "series") -> Stage:
    return perform(play, layer=layer, kernel=kernel, watchers=["lockset"])


def reported(play: Play, *, layer: type[Ksm] | None = None) -> Finding:
    with pytest.raises(Finding) as found:
        watched(play, layer=layer)
    assert found.value.kind == "no_common_lock"
    return found.value


class Shared:
    """Something with a field that actors touch."""

    name = "the notebook"


async def touch(s: Stage, what: Shared, kind: int, *locks: Mutex) -> None:
    for lock in locks:
        await lock.lock()
    await s.conductor.point(kind, what, "page")
    for lock in locks:
        await lock.unlock()


async def in_turn(s: Stage, *works: Awaitable[None]) -> None:
    """Each by an actor of its own, one after the other."""
    for number, work in enumerate(works):
        await s.finish(s.start(f"actor{number}", work))  # type: ignore[arg-type]  # coroutines


def test_a_common_lock() -> None:
    """One lock that all accesses have in common is enough, whatever else is held."""

    async def play(s: Stage) -> None:
        what, a, b, c = Shared(), *(Mutex(s.conductor, name) for name in "abc")
        await in_turn(
            s,
            touch(s, what, WRITE, a, b),
            touch(s, what, WRITE, b, c),
            touch(s, what, READ, b),
            touch(s, what, WRITE, b),
        )

    watched(play)


def test_no_common_lock() -> None:
    """Three accesses, each two of which have a lock in common, and all three none: reported, with the one before."""

    async def play(s: Stage) -> None:
        what, a, b, c = Shared(), *(Mutex(s.conductor, name) for name in "abc")
        await in_turn(
            s, touch(s, what, WRITE), touch(s, what, WRITE, a, b), touch(s, what, WRITE, b, c),
            touch(s, what, WRITE, a, c),
        )  # fmt: skip

    finding = reported(play)

    assert finding.signature == "lockset/no_common_lock@live"
    assert "actor3 touches page of the notebook" in finding.message
    assert "by actor2 in live" in finding.message


def test_where_clocks_are_blind() -> None:
    """A field without a lock is reported, too, where a wake-up orders the accesses this time."""

    async def play(s: Stage) -> None:
        what, queue = Shared(), WaitQueue(s.conductor, "queue")

        async def waits() -> None:
            await queue.wait()
            await touch(s, what, WRITE)

        waiter = s.start("waiter", waits())
        await s.blocks(waiter)
        await touch(s, what, WRITE)
        queue.wake_all()
        await s.finish(waiter)

    reported(play)


def test_setting_up() -> None:
    """The first actor needs no lock, and a field that is only read afterwards needs none either."""

    async def play(s: Stage) -> None:
        what = Shared()
        await touch(s, what, WRITE)
        await touch(s, what, WRITE)
        await in_turn(s, touch(s, what, READ), touch(s, what, READ))

    watched(play)


def test_a_shared_hold_is_for_reading() -> None:
    """Who holds a lock together with other readers may read, and not write."""

    async def shared(s: Stage, sem: RwSem, work: Awaitable[None]) -> None:
        await sem.down_read()
        await work
        await sem.up_read()

    async def play(s: Stage, kind: int) -> None:
        what, sem = Shared(), RwSem(s.conductor, "sem")
        await sem.down_write()
        await touch(s, what, WRITE)
        await sem.up_write()
        await in_turn(s, shared(s, sem, touch(s, what, kind)))
        await sem.down_write()
        await touch(s, what, WRITE)
        await sem.up_write()

    watched(lambda s: play(s, READ))
    reported(lambda s: play(s, WRITE))


def test_a_frame_starts_anew() -> None:
    """Who gets a freed frame need not know the locks of those who had it before."""

    async def play(s: Stage, free: bool) -> None:
        page = await s.kernel.alloc_page(0)
        assert page is not None

        async def write() -> None:
            await page.write_content(s.kernel.contents.token(1))

        async def use() -> None:
            if free:
                assert await s.kernel.alloc_page(0) is page
            await write()

        await write()
        if free:
            await page.put()
        await in_turn(s, use())

    watched(lambda s: play(s, True))
    reported(lambda s: play(s, False))


class UnlinksUnlocked(Ksm):
    """Takes an item off its node's hlist without the lock of the page."""

    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        assert isinstance(node, StableNode)
        await self.hlist_del(node, item)
        self._make_volatile(item, last=node.first is None)


class RegistersUnlocked(Ksm):
    """Puts an address space on the list without ksm_mmlist_lock."""

    async def ksm_enter(self, mm: AddressSpace) -> int:
        slot = self.alloc_mm_slot(mm)
        assert slot is not None
        await self.insert_slot(slot, at_end=False)
        mm.registered = True
        mm.count += 1
        return 0


async def two_register(s: Stage) -> None:
    """Two processes take their first advice, each by a thread of its own."""
    for puppet in [s.start(name, s.kernel.ksm_enter(s.kernel.mm_alloc(name))) for name in "AB"]:
        await s.finish(puppet)


CASES: dict[str, tuple[type[Ksm], Play]] = {
    "remove_rmap_item_from_tree": (UnlinksUnlocked, plays.passed_over_during_a_migration),
    "insert_slot": (RegistersUnlocked, two_register),
}
"""By the function in which it shows: a kernel that forgets a lock, and a program that nothing bad need happen to."""


@pytest.mark.parametrize("where", CASES)
def test_forgotten_locks(where: str) -> None:
    """A kernel that forgets a lock is reported."""
    layer, play = CASES[where]
    assert reported(play, layer=layer).where == where


PROGRAMS = (
    plays.life, plays.passed_over_during_a_migration, plays.memory_goes_offline, plays.unmerged,
    plays.moved_to_an_equal, two_register,
)  # fmt: skip


@pytest.mark.parametrize("play", PROGRAMS, ids=lambda play: play.__name__)
@pytest.mark.parametrize("kernel", ["series", "v3.9"])
def test_the_right_kernel(play: Play, kernel: str) -> None:
    """No field is without a lock where none is forgotten, also for those whose lock is another one after a migration,
    and for trees that are checked without the mutex while memory goes offline."""
    watched(play, kernel=kernel)


def test_the_reader_without_the_lock_is_named() -> None:
    """A read without the common lock is reported at the next write: the finding has both, the read first."""

    async def play(s: Stage) -> None:
        what, a, b = Shared(), *(Mutex(s.conductor, name) for name in "ab")
        await in_turn(
            s, touch(s, what, WRITE, a), touch(s, what, READ, a), touch(s, what, READ, b), touch(s, what, WRITE, a)
        )

    finding = reported(play)

    assert "actor2 touches page of the notebook" in finding.message
    assert "actor3 writes it" in finding.message
    assert [(number, op[0]) for number, _, _, op, _ in finding.met] == [
        (finding.other, READ),
        (finding.other + 1, WRITE),
    ]
