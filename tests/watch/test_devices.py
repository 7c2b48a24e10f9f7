"""Direct I/O and the swap device: stores that are lost and reads that are stale, and such as only look like it."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.history.mutants.beyond import ReferencesIgnored
from ksmactors.interleave.actor import READ, RELEASE, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import MADV_DONTNEED, PAGE_SIZE
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from ksmactors.mm.page_io import SWAP_IO_MOMENTS, SWAP_IO_NS
from tests.helpers.directed import Play, Proc, Stage, about_to, perform

KERNELS = ("series", "v3.9", "v6.1", "v6.12", "v7.3")


async def pinned(s: Stage, proc: Proc, *, write: bool = True) -> IoPin:
    """A pin of the first page."""
    pin = await s.kernel.start_io(proc.mm, proc.start, write)
    assert isinstance(pin, IoPin)
    return pin


async def store(s: Stage, pin: IoPin, token: int) -> None:
    """What the device writes."""
    assert await s.kernel.device_write(pin, s.kernel.contents.token(token))


async def the_end(s: Stage, pin: IoPin) -> None:
    """The I/O ends, and all that follows."""
    await s.kernel.end_io(pin)
    await s.quiesce()
    await s.farewell()


async def stored_while_scanned(s: Stage) -> None:
    """A device stores to a page that is equal to a KSM page, while ksmd scans."""
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await s.process("A", 7)
    pin = await pinned(s, a)
    await s.scan(2)
    await store(s, pin, 8)
    await the_end(s, pin)


async def stored_while_made_a_ksm_page(s: Stage) -> None:
    """A device stores to a page of two equal ones that ksmd would make a KSM page of."""
    await s.process("B", 7)
    a = await s.process("A", 7)
    pin = await pinned(s, a)
    await s.scan(2)
    await store(s, pin, 8)
    await the_end(s, pin)


async def written_while_read(s: Stage) -> None:
    """A device reads a page that the process writes; ksmd has come past in between."""
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await s.process("A", 7)
    pin = await pinned(s, a, write=False)
    await s.scan(2)
    await s.store(a, 0, 8)
    assert await s.kernel.device_read(pin) is s.kernel.contents.token(8)
    await the_end(s, pin)


async def swapped_and_back(s: Stage) -> None:
    """A pinned page goes to the swap cache and comes back, read-only, before ksmd comes past and the device stores."""
    s.start_swap()
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await s.process("A", 7)
    pin = await pinned(s, a)
    await s.to_swap_cache(a, 0)
    await s.read(a, 0)
    assert s.frame(a, 0) is pin.page
    await s.scan(2)
    await store(s, pin, 8)
    await the_end(s, pin)


@pytest.mark.parametrize(
    ("play", "what"),
    [
        (stored_while_scanned, "lost_write@device_write"),
        (stored_while_made_a_ksm_page, "store_to_ksm_page@device_write"),
        (written_while_read, "stale_read@device_read"),
        (swapped_and_back, "lost_write@device_write"),
    ],
)
def test_convicts(play: Play, what: str) -> None:
    """ksmd merges a page although somebody holds a reference on it."""
    with pytest.raises(Finding) as found:
        perform(play, layer=ReferencesIgnored, watchers=("shadow",))
    assert found.value.signature == f"shadow/{what}"


@pytest.mark.parametrize("kernel", KERNELS)
def test_acquits(kernel: str) -> None:
    """A page that is pinned stays the process's."""
    for play in (stored_while_scanned, stored_while_made_a_ksm_page, written_while_read):
        perform(play, kernel=kernel)


def test_v3_9_merges_a_pinned_page_that_was_swapped() -> None:
    """Its entry is read-only and clean, so nobody asks who holds references; from v5.19 on, and on series, one does."""
    with pytest.raises(Finding) as found:
        perform(swapped_and_back, kernel="v3.9")
    assert found.value.signature == "shadow/lost_write@device_write"
    for kernel in ("series", "v6.1", "v7.3"):
        perform(swapped_and_back, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("write", [True, False])
def test_what_a_process_has_shared_or_given_up_is_excepted(kernel: str, write: bool) -> None:
    """After a fork either may get the copy; after munmap and the like the page is nobody's; and an entry that was
    read-only when the page was pinned to be read promises nothing."""

    async def play(s: Stage) -> None:
        s.start_swap()
        forked, given_up, gone = [await s.process(name, 7) for name in "FGH"]
        merged, _ = [await s.process(name, 9) for name in "IJ"]
        pins = [await pinned(s, proc, write=write) for proc in (forked, given_up, gone)]
        await s.scan(3)
        pins += [] if write else [await pinned(s, merged, write=False)]
        child = await s.fork(forked, "C")
        await s.write(forked, 0, 1)
        await s.kernel.madvise(given_up.mm, given_up.start, PAGE_SIZE, MADV_DONTNEED)
        await s.write(given_up, 0, 1)
        await s.write(merged, 0, 1)
        await s.exit(gone)
        for pin in pins:
            if write:
                await store(s, pin, 8)
            else:
                await s.kernel.device_read(pin)
        await s.read(child, 0)
        for pin in pins:
            await s.kernel.end_io(pin)
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


def test_what_a_device_has_stored_goes_to_swap() -> None:
    """The end of the I/O marks the page dirty: the copy on the swap device is older than the store."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        await s.to_swap_cache(a, 0)
        await s.kernel.wait_on_page_writeback(pin.page)
        await s.read(a, 0)
        await store(s, pin, 8)
        await s.kernel.end_io(pin)
        await s.swap_out()
        assert a.start in a.mm.swap_ptes
        assert await s.read(a, 0) is s.kernel.contents.token(8)
        await s.quiesce()

    perform(play)


def test_a_store_while_a_page_comes_back_from_the_swap_cache() -> None:
    """A write fault takes the page out of the swap cache before it maps it: a store in between is not lost."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        await s.to_swap_cache(a, 0)
        await s.kernel.wait_on_page_writeback(pin.page)
        fault = s.start("fault/A", s.kernel.fault(a.mm, a.start, True))
        await s.until(fault, about_to(WRITE, a.mm, a.start))
        assert pin.page.swap is None
        await store(s, pin, 8)
        await s.finish(fault)
        assert await s.read(a, 0) is s.kernel.contents.token(8)
        await the_end(s, pin)

    perform(play)


def test_a_store_to_a_frame_that_was_swapped_out_before_it_was_reused() -> None:
    """The frame that is pinned held another page of the process, whose swap entry has nothing to do with the store."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, 6)
        frame = s.frame(a, 1)
        await s.swap_out()
        await s.write(a, 0, 9)
        assert s.frame(a, 0) is frame
        pin = await pinned(s, a)
        migration = s.start("migrationd", s.kernel.move_pages(a.mm, a.start, 1, True))
        await s.until(migration, about_to(WRITE, a.mm, a.start))
        await store(s, pin, 8)
        await s.finish(migration)
        assert await s.read(a, 1) is s.kernel.contents.token(6)
        await the_end(s, pin)

    perform(play)


def test_a_device_that_is_late_does_nothing() -> None:
    """A transfer that was about to begin when the I/O ended does not touch the page, which may be another's by then."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        late = s.start("dma", s.kernel.device_write(pin, s.kernel.contents.token(8)))
        await s.comes_to(late, about_to())
        await s.kernel.end_io(pin)
        assert await s.finish(late) is False
        assert await s.read(a, 0) is s.kernel.contents.token(7)

    perform(play)


@pytest.mark.parametrize(("early", "read"), [(0, 8), (SWAP_IO_MOMENTS - 1, 7)])
def test_the_swap_device_reads_at_a_drawn_moment(early: int, read: int) -> None:
    """A page that is written during its writeback goes to the device as it was before or after, and is dirty then."""

    class Drawn(Ksm):
        def swap_read_moment(self) -> int:
            return early

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        page = s.frame(a, 0)
        await s.to_swap_cache(a, 0)
        slot = page.swap
        assert slot is not None
        await s.conductor.sleep(SWAP_IO_NS // 2)
        assert slot.writeback
        await s.store(a, 0, 8)
        await s.kernel.wait_on_page_writeback(page)
        assert slot.content is s.kernel.contents.token(read)
        await s.swap_out()
        assert await s.read(a, 0) is s.kernel.contents.token(8)
        await s.quiesce()

    perform(play, layer=Drawn)


def test_a_page_that_is_being_written_cannot_leave_the_cache() -> None:
    """Reclaim that drops a page before the device has written it is reported, with nobody watching."""

    class DropsAtOnce(Ksm):
        async def shrink_locked_page(self, page: Frame) -> str:
            slot = page.swap
            if slot is None or not slot.writeback:
                return await super().shrink_locked_page(page)
            return "freed" if await self.remove_mapping(page) else "in use"

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        page = s.frame(a, 0)
        await s.to_swap_cache(a, 0)
        await s.kernel.shrink_list([page])

    with pytest.raises(Finding) as found:
        perform(play, layer=DropsAtOnce, watchers=())
    assert found.value.signature == "structure/leaves_cache_under_writeback@forget_cached"


@pytest.mark.parametrize("shared", [False, True])
def test_a_store_while_the_entry_is_out_is_not_lost(shared: bool) -> None:
    """ksmd takes an entry out, counts the references, and puts it back: what was stored meanwhile is there, for a child
    that shares the page, too."""

    async def play(s: Stage) -> None:
        await s.process("B", 7, 7)
        await s.scan(2)
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        child = await s.fork(a, "C") if shared else a
        scan = s.start("ksmd", s.scan())
        await s.until(scan, about_to(READ, pin.page, "refcount", inside="write_protect_page"))
        assert (a.start in a.mm.ptes) + (child.start in child.mm.ptes) == shared
        await store(s, pin, 8)
        await s.finish(scan)
        assert await s.read(child, 0) is await s.read(a, 0) is s.kernel.contents.token(8)
        await the_end(s, pin)

    perform(play)


def test_a_pin_while_the_entry_is_out_is_a_pin() -> None:
    """get_user_pages has its reference, and ksmd takes the entry out before anybody has heard of the pin."""

    async def play(s: Stage) -> None:
        await s.process("B", 7, 7)
        await s.scan(2)
        a = await s.process("A", 7)
        pinning = s.start("A", pinned(s, a))
        await s.until(pinning, about_to(RELEASE, a.mm.mmap_sem, inside="get_user_pages"))
        scan = s.start("ksmd", s.scan())
        await s.until(scan, about_to(READ, s.frame(a, 0), "refcount", inside="write_protect_page"))
        pin = await s.finish(pinning)
        await store(s, pin, 8)
        await s.finish(scan)
        await s.store(a, 0, 9)
        await the_end(s, pin)

    perform(play)
