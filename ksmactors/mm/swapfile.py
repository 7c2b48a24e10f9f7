"""Slots of the swap device, by how many entries name them (mm/swapfile.c). swapoff is in `swapoff`."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.errors import EmulatorBug
from ksmactors.interleave.actor import READ, WRITE, YIELD
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.internal import MmInternal
from ksmactors.mm.swap_device import SwapDevice, SwapSlot
from ksmactors.seams import seam


class Swapfile(MmInternal):
    """Counts of slots, and what depends on them: whether a page of the swap cache may be reused or leave it."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.swap = SwapDevice(self.conductor)

    @override
    async def swap_duplicate(self, slot: SwapSlot) -> None:
        """One more entry names the slot."""
        await self.conductor.point(WRITE, slot, "count")
        slot.count += 1

    @override
    async def swap_free(self, slot: SwapSlot) -> int:
        """An entry names the slot no more; the last one frees it, unless the cache needs it. How many are left."""
        await self.conductor.point(WRITE, slot, "count")
        if slot.count <= 0:
            raise EmulatorBug(f"{slot} is freed once too often")
        slot.count -= 1
        self.swap.give_back_unused(slot)
        return slot.count

    @override
    def swap_count(self, slot: SwapSlot) -> int:
        """How many entries name the slot at this instant: a look at swap_map without swap_lock."""
        self.conductor.touch(YIELD, slot, "count")
        return slot.count

    @seam
    async def page_swapcount(self, page: Frame) -> int:
        """How many swap entries name the slot of a page; 0 if it is in no cache. The page is locked."""
        slot = page.swap
        if slot is None:
            return 0
        await self.conductor.point(READ, slot, "count")
        return slot.count

    @override
    async def try_to_free_swap(self, page: Frame) -> bool:
        """Take a locked page out of the swap cache if no swap entry needs it there, nor a write under way."""
        slot = page.swap
        if slot is None or slot.writeback or await self.page_swapcount(page):
            return False
        await self.delete_from_swap_cache(page)
        page.dirty = True
        return True

    @override
    async def swapcache_free(self, slot: SwapSlot) -> None:
        """The cache needs the slot no more (SWAP_HAS_CACHE is cleared)."""
        await self.conductor.point(WRITE, slot, "count")
        slot.cached = False
        self.swap.give_back_unused(slot)

    @override
    async def free_swap_and_cache(self, slot: SwapSlot) -> None:
        """A swap entry goes; if it was the last, its page leaves the cache. The page table lock is held."""
        if await self.swap_free(slot) or not slot.cached:
            return
        page = await self.lookup_swap_cache(slot)
        if page is None:
            return
        if await self.trylock_page(page):
            # The kernel tries the lock under swap_lock; here reclaim may have unmapped the page to the slot meanwhile.
            unused = page.swap is slot and not self.swap_count(slot) and not slot.writeback
            if unused and (not page.page_mapcount() or self.swap.full):
                await self.delete_from_swap_cache(page)
                page.dirty = True
            await page.unlock()
        await page.put()

    @override
    async def reuse_swap_page(self, page: Frame) -> bool:
        """Whether a write fault may keep the locked page for itself: never a KSM page (v3.9).

        Swap entries count as mappings. A page that is kept leaves the swap cache, unless it is being written.
        """
        self.conductor.touch(YIELD, page, "mapping")
        if page.is_ksm:
            return False
        if page.page_mapcount() > 1 or page.swap is None:
            return page.page_mapcount() <= 1
        count = page.page_mapcount() + await self.page_swapcount(page)
        if count == 1 and not page.swap.writeback:
            await self.delete_from_swap_cache(page)
            page.dirty = True
        return count <= 1
