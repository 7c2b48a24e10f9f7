"""Pages that are exclusive to their process (v5.19): pinned ones stay mapped, and a write fault keeps what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from ksmactors.errors import Finding
from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EAGAIN, EFAULT
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Play, Proc, Stage, about_to, perform

LATER = ("v6.1", "v6.12", "v6.18", "v7.3")
UNMARKED = ("unshare-on-pin", "fork-copies-pinned", "anon-exclusive")
"""What to leave out of a later kernel for references to decide."""


async def pinned(s: Stage, proc: Proc, *, write: bool = True, dma: bool = True) -> IoPin:
    """A pin of the first page, or a plain reference."""
    pin = await s.kernel.start_io(proc.mm, proc.start, write, dma=dma)
    assert isinstance(pin, IoPin)
    return pin


async def the_end(s: Stage, *pins: IoPin) -> None:
    """The I/O ends, and all that follows."""
    for pin in pins:
        await s.kernel.end_io(pin)
    await s.quiesce()
    await s.farewell()


async def back_from_swap(s: Stage, proc: Proc) -> Frame:
    """The first page goes to swap, and is read while the swap cache still has it: its entry is read-only then."""
    await s.to_swap_cache(proc, 0)
    assert proc.start in proc.mm.swap_ptes
    await s.kernel.wait_on_page_writeback(next(iter(s.kernel.swap.used.values())).page)  # type: ignore[arg-type]
    await s.read(proc, 0)
    assert not proc.mm.ptes[proc.start].write
    return s.frame(proc, 0)


# -- a pinned page stays mapped ---------------------------------------------------------------------------------------


async def pinned_in_the_swap_cache(s: Stage) -> tuple[Proc, IoPin]:
    """A page that has come back is pinned while it is in the swap cache, and reclaim comes past."""
    s.start_swap()
    a = await s.process("A", 7)
    page = await back_from_swap(s, a)
    pin = await pinned(s, a, write=False)
    assert pin.page is page
    assert page.swap is not None
    await s.swap_out()
    return a, pin


@pytest.mark.parametrize("kernel", LATER)
def test_reclaim_cannot_unmap_a_pinned_page(kernel: str) -> None:
    """The page is in the swap cache, and its mark cannot be taken off: the entry stays (page_try_share_anon_rmap)."""

    async def play(s: Stage) -> None:
        a, pin = await pinned_in_the_swap_cache(s)
        assert s.frame(a, 0) is pin.page
        await s.write(a, 0, 8)
        assert s.frame(a, 0) is pin.page, "the mark says that the page is A's alone"
        assert await s.kernel.device_read(pin) is s.kernel.contents.token(8)
        await the_end(s, pin)

    perform(play, kernel=kernel)


def test_a_device_that_is_left_behind_is_found() -> None:
    """An exclusive page that is copied for a write, though it is pinned to be read, leaves its device with the old one:
    the shadow watcher reports that, and nothing else above."""

    class Copies(Ksm):
        async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
            return await self.wp_page_copy(mm, vma, address, entry)

    async def play(s: Stage) -> None:
        a, pin = await pinned_in_the_swap_cache(s)
        await s.write(a, 0, 8)
        await s.kernel.device_read(pin)

    with pytest.raises(Finding) as found:
        perform(play, kernel="v6.1", layer=Copies)
    assert found.value.signature == "shadow/stale_read@device_read"


def test_v3_9_unmaps_a_pinned_page() -> None:
    """It cannot free the page, but the entry is a swap entry."""

    async def play(s: Stage) -> None:
        a, pin = await pinned_in_the_swap_cache(s)
        assert a.start in a.mm.swap_ptes
        await the_end(s, pin)

    perform(play, kernel="v3.9")


@pytest.mark.parametrize(("kernel", "unmapped"), [("v3.9", True), *((kernel, False) for kernel in LATER)])
def test_migration_of_a_pinned_page(kernel: str, unmapped: bool) -> None:
    """It fails either way: v3.9 finds the references when there is a migration entry, v5.19 makes none."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        await s.kernel.lru_add_drain_all()
        migration = s.start("migrationd", s.kernel.move_pages(a.mm, a.start, 1, True))
        assert await s.comes_to(migration, about_to(inside="move_to_new_page")) is unmapped
        assert await s.finish(migration) == -EAGAIN
        assert s.frame(a, 0) is pin.page
        await the_end(s, pin)

    perform(play, kernel=kernel)


@pytest.mark.parametrize(
    ("kernel", "dma", "cached"), [("v3.9", True, True), ("v6.1", True, False), ("v7.3", False, True)]
)
def test_reclaim_leaves_a_pinned_page_out_of_the_swap_cache(kernel: str, dma: bool, cached: bool) -> None:
    """From v5.11 on; a plain reference does not count."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        pin = await pinned(s, a, dma=dma)
        await s.swap_out()
        assert (pin.page.swap is not None) is cached
        await s.write(a, 0, 8)
        assert s.frame(a, 0) is pin.page
        await the_end(s, pin)

    perform(play, kernel=kernel)


async def reclaimed_twice(s: Stage, page: Frame) -> None:
    """Two rounds of reclaim: the first forgets that the page was read."""
    for _ in range(2):
        await s.kernel.shrink_list([page])


@pytest.mark.parametrize("kernel", LATER)
def test_a_pin_is_counted_with_the_page_table_locked(kernel: str) -> None:
    """Reclaim that waits for the lock of the page table finds the page pinned, though no pin has been told of yet."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        page = await back_from_swap(s, a)
        pinning = s.start("A", pinned(s, a, write=False))
        await s.until(pinning, about_to(WRITE, page, "refcount", inside="follow_page"))
        reclaim = s.start("kswapd", reclaimed_twice(s, page))
        await s.blocks(reclaim)
        pin = await s.finish(pinning)
        await s.finish(reclaim)
        assert s.frame(a, 0) is pin.page is page
        await the_end(s, pin)

    perform(play, kernel=kernel)


# -- the mark goes with the entry -------------------------------------------------------------------------------------


async def written_through_swap(s: Stage) -> None:
    """A page with a plain reference for a device's store goes to the swap cache and comes back, and is written."""
    s.start_swap()
    a = await s.process("A", 7)
    pin = await pinned(s, a, dma=False)
    assert await back_from_swap(s, a) is pin.page
    await s.write(a, 0, 8)
    await s.kernel.device_write(pin, s.kernel.contents.token(9))
    assert await s.read(a, 0) is s.kernel.contents.token(9)
    await the_end(s, pin)


async def written_through_a_move(s: Stage) -> None:
    """The same, and while the page is swapped out mremap moves it."""
    s.start_swap()
    a = await s.process("A", 7, mergeable=False)
    frame = s.frame(a, 0)
    await s.to_swap_cache(a, 0)
    moved = await s.kernel.mremap(a.mm, a.start, 4096)
    assert moved > 0
    page = await s.kernel.get_user_pages(a.mm, moved, False)
    assert page is frame
    await s.kernel.fault(a.mm, moved, True)
    assert a.mm.ptes[moved].frame is frame
    await frame.put()
    await s.quiesce()


async def written_after_a_migration(s: Stage) -> None:
    """A read-only page is moved; then it gets a reference, and is written."""
    s.start_swap()
    a = await s.process("A", 7)
    await back_from_swap(s, a)
    assert await s.migrate(a, 0, 1) == 1
    page = await s.kernel.get_user_pages(a.mm, a.start, False)
    assert isinstance(page, Frame)
    await s.write(a, 0, 8)
    assert s.frame(a, 0) is page
    await page.put()
    await s.quiesce()


async def written_after_swapoff(s: Stage) -> None:
    """A page with a reference is brought back by swapoff, and is written."""
    s.start_swap()
    a = await s.process("A", 7)
    pin = await pinned(s, a, dma=False)
    await s.to_swap_cache(a, 0)
    assert await s.kernel.swapoff() == 0
    assert not a.mm.ptes[a.start].write
    await s.write(a, 0, 8)
    assert s.frame(a, 0) is pin.page
    await the_end(s, pin)


@pytest.mark.parametrize(
    "play", [written_through_swap, written_through_a_move, written_after_a_migration, written_after_swapoff]
)
def test_a_page_that_comes_back_is_still_exclusive(play: Play) -> None:
    """Its process keeps it, whoever has references; v3.9 keeps it, too, for it counts mappings; v5.9 copies it."""
    for kernel in ("v3.9", *LATER):
        perform(play, kernel=kernel)
    with pytest.raises((AssertionError, Finding)):
        perform(play, kernel="v6.1", without=UNMARKED)


@pytest.mark.parametrize("kernel", LATER)
@pytest.mark.parametrize("swapped", [False, True])
def test_fork_takes_the_mark_off(kernel: str, swapped: bool) -> None:
    """A page, or a swap entry, that a child has shared is copied for a write while somebody has a reference."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        if swapped:
            await s.to_swap_cache(a, 0)
        child = await s.fork(a, "C")
        await s.read(a, 0)
        await s.exit(child)
        page = await s.kernel.get_user_pages(a.mm, a.start, False)
        assert isinstance(page, Frame)
        await s.write(a, 0, 8)
        assert s.frame(a, 0) is not page
        await page.put()
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


# -- ksmd -------------------------------------------------------------------------------------------------------------


async def write_protected(s: Stage, proc: Proc) -> int:
    """write_protect_page of the first page, as ksmd comes to it: 0 or -EFAULT."""
    kernel, vma = s.kernel, proc.mm.vma_at(proc.start)
    assert vma is not None
    await kernel.lru_add_drain_all()
    await proc.mm.down_read()
    page = await kernel.follow_page(proc.mm, proc.start)
    assert page is not None
    await page.lock()
    result, _ = await kernel.write_protect_page(vma, page)
    await page.unlock()
    await page.put()
    await proc.mm.up_read()
    return result


@pytest.mark.parametrize(("kernel", "kept"), [("v3.9", True), *((kernel, False) for kernel in LATER)])
def test_ksmd_takes_the_mark_off(kernel: str, kept: bool) -> None:
    """Afterwards references decide (races r35): a page that somebody else holds is copied for a write, on v3.9 not."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        assert await write_protected(s, a) == 0
        page = await s.kernel.get_user_pages(a.mm, a.start, False)
        assert isinstance(page, Frame)
        await s.write(a, 0, 8)
        assert (s.frame(a, 0) is page) is kept
        await page.put()
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize(("kernel", "result"), [("v3.9", 0), *((kernel, -EFAULT) for kernel in LATER)])
def test_ksmd_counts_references_where_the_mark_is(kernel: str, result: int) -> None:
    """Of a page whose entry is read-only and clean, too; v3.9 does not ask there."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        pin = await pinned(s, a, dma=False)
        assert await back_from_swap(s, a) is pin.page
        assert await write_protected(s, a) == result
        assert s.frame(a, 0) is pin.page
        await the_end(s, pin)

    perform(play, kernel=kernel)


# -- pins for reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", LATER)
def test_a_pin_marks_a_page_that_nobody_else_has(kernel: str) -> None:
    """A page that ksmd has write-protected is found to be A's alone, and is pinned without a copy."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        assert await write_protected(s, a) == 0
        before = s.frame(a, 0)
        pin = await pinned(s, a, write=False)
        assert pin.page is before
        await s.write(a, 0, 8)
        assert s.frame(a, 0) is before
        await the_end(s, pin)

    perform(play, kernel=kernel)


# -- what a sweep found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [(), UNMARKED], ids=["v6.1", "v6.1 without the mark"])
def test_the_schedule_that_lost_a_store(
    without: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """pinned_pages, seed 700486: a plain reference, kswapd, and a write fault that copied the page."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    taken_off = [word for name in without for word in ("--without", name)]
    arguments = ["stress", "pinned_pages", "--kernel", "v6.1", "--seeds", "700486:700487", *taken_off]
    assert main(arguments) == (1 if without else 0)
    assert ("shadow/lost_write@device_write" in capsys.readouterr().out) is bool(without)
