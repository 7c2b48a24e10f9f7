"""Swap: pages go out and come back as they were, whoever shares them and whatever happens meanwhile."""

from __future__ import annotations

import pytest

from ksmactors.campaign.api import stress
from ksmactors.errors import Finding
from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import EAGAIN, EINVAL, EIO, PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapDevice
from tests.helpers.directed import Play, Stage, about_to, perform
from tests.helpers.swapping import slot_of


def test_a_page_goes_out_and_comes_back() -> None:
    """Its frame is freed; a read brings it back from the device, clean and read-only, on the region's node."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, nid=1, mergeable=False)
        frame = s.frame(a, 0)
        await s.swap_out()
        assert frame.refcount == 0
        assert s.kernel.page_at(a.mm, a.at(0)) is None
        assert slot_of(s, a, 0).content is s.kernel.contents.token(7)

        assert await s.read(a, 0) is s.kernel.contents.token(7)
        await s.kernel.lru_add_drain_all()
        await s.kernel.lru_add_drain_all()
        pte = s.kernel.page_at(a.mm, a.at(0))
        assert pte is not None
        assert (pte.frame.nid, pte.write, pte.dirty, pte.frame.refcount) == (1, False, False, 2)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_write_takes_the_page_out_of_the_swap_cache() -> None:
    """The only one that needs it keeps it: the slot is free, the entry writable, there is one reference."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.swap_out()
        await s.write(a, 0, 8)
        await s.kernel.lru_add_drain_all()
        await s.kernel.lru_add_drain_all()
        assert s.kernel.swap.used == {}
        assert s.frame(a, 0).refcount == 1
        await s.farewell()

    perform(play)


def test_a_page_in_the_swap_cache_is_mapped_without_a_read() -> None:
    """Unmapped and under writeback it is still in memory; who touches it gets the same frame."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        frame = s.frame(a, 0)
        await s.to_swap_cache(a, 0)
        assert frame.swap is slot_of(s, a, 0)
        assert frame.swap.writeback
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        assert s.frame(a, 0) is frame
        await s.farewell()

    perform(play)


def test_a_write_under_writeback_is_not_lost() -> None:
    """The page is reused in place and stays in the cache; the entry's dirty bit has it written once more."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.to_swap_cache(a, 0)
        await s.write(a, 0, 8)
        slot = s.frame(a, 0).swap
        assert slot is not None
        assert slot.writeback
        await s.swap_out()
        assert await s.read(a, 0) is s.kernel.contents.token(8)
        await s.farewell()

    perform(play)


def test_a_page_accessed_lately_is_kept_once() -> None:
    """Reclaim clears the accessed bits as it looks; what is not accessed again goes the next time."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        await s.kernel.lru_add_drain_all()
        s.kernel.aging = True
        await s.read(a, 0)
        frame = s.frame(a, 0)
        await s.kernel.shrink_list([frame])
        assert s.frame(a, 0) is frame
        await s.kernel.shrink_list([frame])
        assert slot_of(s, a, 0).page is frame

    perform(play)


def test_fork_shares_a_swap_entry() -> None:
    """Both name the slot; the page that the first brings back serves the other, too, until one writes."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.swap_out()
        b = await s.fork(a, "B")
        assert slot_of(s, b, 0).count == 2
        await s.read(a, 0)
        await s.write(b, 0, 8)
        assert s.frame(a, 0) is not s.frame(b, 0)
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_unmapping_frees_slot_and_cached_page() -> None:
    """munmap of a swap entry, in the cache or only on the device; and munmap of a page that is in the cache."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 1, 2, 3, mergeable=False)
        await s.swap_out()
        await s.read(a, 0)
        await s.read(a, 1)
        await s.kernel.shrink_list([s.frame(a, 1)])
        await s.kernel.shrink_list([s.frame(a, 1)])
        assert len(s.kernel.swap.used) == 3
        await s.kernel.munmap(a.mm, a.start, 3 * PAGE_SIZE)
        assert s.kernel.swap.used == {}
        await s.farewell()

    perform(play)


def test_mremap_moves_swap_entries() -> None:
    """The page is found at the new address."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.swap_out()
        moved = a._replace(start=await s.kernel.mremap(a.mm, a.start, PAGE_SIZE))
        assert await s.read(moved, 0) is s.kernel.contents.token(7)
        await s.farewell()

    perform(play)


def test_a_page_in_the_swap_cache_migrates_with_its_slot() -> None:
    """C2: frozen at exactly two references, the cache names the new frame, entries are swap entries throughout."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.swap_out()
        await s.read(a, 0)
        await s.kernel.lru_add_drain_all()
        old = s.frame(a, 0)
        slot = old.swap
        assert slot is not None
        await s.kernel.lru_add_drain_all()
        assert await s.kernel.migrate_frame(old, 1) == 0
        await s.kernel.lru_add_drain_all()
        await s.kernel.lru_add_drain_all()
        assert slot_of(s, a, 0) is slot
        assert slot.page is not None
        assert slot.page.nid == 1
        assert (old.refcount, old.swap, slot.page.swap) == (0, None, slot)
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        assert s.frame(a, 0) is slot.page
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_reference_keeps_a_page_of_the_swap_cache_where_it_is() -> None:
    """The freeze fails, nothing has changed, and the next touch maps the page again."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.swap_out()
        await s.read(a, 0)
        await s.kernel.lru_add_drain_all()
        await s.kernel.lru_add_drain_all()
        page = s.frame(a, 0)
        await page.get()
        assert await s.kernel.migrate_frame(page, 1) == -EAGAIN
        await page.put()
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        assert s.frame(a, 0) is page
        await s.farewell()

    perform(play)


def test_a_failed_read_is_sigbus_for_who_touches_it() -> None:
    """Each toucher gets an error, other pages are unharmed, and the page can be given up."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, 8, mergeable=False)
        b = await s.fork(a, "B")
        await s.swap_out()
        slot_of(s, a, 0).bad = True
        assert await s.read(a, 0) == -EIO
        assert await s.write(b, 0, 9) == -EIO
        assert await s.read(b, 1) is s.kernel.contents.token(8)
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        assert await s.read(b, 0) == -EIO
        await s.farewell()

    perform(play)


def test_a_full_device_leaves_pages_where_they_are() -> None:
    """Three pages, two slots: one page stays, and none is lost."""

    async def play(s: Stage) -> None:
        s.start_swap()
        s.kernel.swap.size = 2
        a = await s.process("A", 1, 2, 3, mergeable=False)
        await s.swap_out()
        assert (len(a.mm.ptes), len(a.mm.swap_ptes)) == (1, 2)
        for index in range(3):
            assert await s.read(a, index) is s.kernel.contents.token(1 + index)
        await s.farewell()

    perform(play)


def test_nothing_goes_to_swap_during_swapoff() -> None:
    """While the device is emptied it gives out no slot, and nobody else empties it; afterwards it is as before."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 1, mergeable=False)
        await s.swap_out()
        await s.read(a, 0)  # the page is in the swap cache now
        swapoff = s.start("swapoff", s.kernel.swapoff())
        await s.until(swapoff, about_to(inside="try_to_unuse"))
        page = await s.kernel.alloc_page(0)
        assert page is not None
        await page.lock()
        assert not await s.kernel.add_to_swap(page)
        assert await s.kernel.swapoff() == -EINVAL
        assert await s.finish(swapoff) == 0
        assert await s.kernel.add_to_swap(page)
        await s.kernel.try_to_free_swap(page)
        await page.unlock()
        await page.put()
        await s.farewell()

    perform(play)


def test_swapoff_brings_everything_back() -> None:
    """Also what several processes share, and what is only in the swap cache."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 1, 2, mergeable=False)
        await s.swap_out()
        b = await s.fork(a, "B")
        await s.read(b, 1)
        assert await s.kernel.swapoff() == 0
        assert (s.kernel.swap.used, a.mm.swap_ptes, b.mm.swap_ptes) == ({}, {}, {})
        assert s.frame(a, 0) is s.frame(b, 0)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_migration_waits_for_a_write() -> None:
    """A page under writeback stays until the device has it; then it moves."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        page = s.frame(a, 0)
        await s.to_swap_cache(a, 0)
        migration = s.start("migration", s.kernel.migrate_frame(page, 1))
        await s.blocks(migration)
        await s.conductor.sleep(1_000_000)
        assert await s.finish(migration) == 0
        assert slot_of(s, a, 0).content is s.kernel.contents.token(7)
        await s.farewell()

    perform(play)


async def swapped_twice(s: Stage) -> None:
    """A page is swapped out, read, written, swapped out again, shared by fork, and read by both."""
    s.start_swap()
    a = await s.process("A", 7, mergeable=False)
    await s.swap_out()
    await s.read(a, 0)
    await s.write(a, 0, 8)
    b = await s.fork(a, "B")
    await s.swap_out()
    await s.write(b, 0, 9)
    await s.read(a, 0)
    await s.quiesce()
    await s.farewell()


async def touched_while_it_goes(s: Stage) -> None:
    """A thread maps a page again between its last look and the freeze."""
    s.start_swap()
    a = await s.process("A", 7, mergeable=False)
    page = s.frame(a, 0)
    await s.to_swap_cache(a, 0)
    await s.conductor.sleep(1_000_000)  # it is clean now
    reclaim = s.start("reclaim", s.kernel.shrink_list([page]))
    await s.until(reclaim, about_to(WRITE, page, "refcount", inside="remove_mapping"))
    fault = s.start("fault", s.kernel.fault(a.mm, a.at(0), False))
    await s.blocks(fault)
    await s.finish(reclaim)
    await s.finish(fault)
    assert await s.read(a, 0) is s.kernel.contents.token(7)
    await s.farewell()


class ReusesShared(Ksm):
    """A write fault keeps a page that others have swap entries for."""

    async def reuse_swap_page(self, page: Frame) -> bool:
        return not page.is_ksm and page.mapcount <= 1


class FreesWithoutFreezing(Ksm):
    """Reclaim takes the page away whoever holds a reference."""

    async def remove_mapping(self, page: Frame) -> bool:
        await self.conductor.point(WRITE, page, "refcount")
        page.refcount = -1
        await self.swapcache_free(self.forget_cached(page))
        return True


@pytest.mark.parametrize(
    ("signature", "layer", "play"),
    [
        ("refinement/unlawful_merge@map_swapped_page", ReusesShared, swapped_twice),
        ("lifetime/use_after_free_frame@do_swap_page", FreesWithoutFreezing, touched_while_it_goes),
    ],
)
def test_what_is_broken_is_convicted(signature: str, layer: type[Ksm], play: Play) -> None:
    """A kernel without one of the protections loses or frees what somebody needs, and a watcher says so."""
    with pytest.raises(Finding) as found:
        perform(play, layer=layer)
    assert found.value.signature == signature


@pytest.mark.parametrize("play", [swapped_twice, touched_while_it_goes])
def test_what_is_not_broken_is_not(play: Play) -> None:
    """The same programs pass on the kernel as it is."""
    perform(play)


def test_a_device_counts_its_slots() -> None:
    """A device of no size gives none; it is full when more than half of it is used."""

    async def play(s: Stage) -> None:
        device = SwapDevice(s.conductor, 3)
        assert SwapDevice(s.conductor, 0).take() is None
        first, second = device.take(), device.take()
        assert first is not None
        assert second is not None
        assert (first.number, second.number, device.full) == (1, 2, True)
        first.cached = False
        device.give_back_unused(first)
        assert (list(device.used), device.full) == ([2], False)

    perform(play)


@pytest.mark.slow
def test_a_slot_that_is_in_use_again_keeps_its_page() -> None:
    """The last entry of a slot goes, and before its page is locked reclaim unmaps the page to that slot: it stays."""
    tally = stress("swap_pressure", seeds="173039:173040", watch="shadow")

    assert tally.schedules == 1
    assert tally.found == {}
