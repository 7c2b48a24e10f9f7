"""The swap cache (mm/swap_state.c): pages that have, or are getting, a place on the swap device.

A page in the swap cache has a reference for that, and its slot is what page->private names. A KSM page keeps its
mapping there: it is SwapCache and KSM at once.
"""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import misuse
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import seam


class SwapState(MmCore):
    """The page lock protects whether a page is in the cache, `tree_lock` the cache itself."""

    @override
    @seam
    async def add_to_swap(self, page: Frame) -> bool:
        """Give a locked page a slot and put it in the swap cache, dirty; False if the device is full."""
        slot = None if self.inject("alloc_swap_slot") else self.swap.take()
        if slot is None:
            return False
        await self.add_to_swap_cache(page, slot)
        page.dirty = True
        return True

    @seam
    async def add_to_swap_cache(self, page: Frame, slot: SwapSlot) -> None:
        """__add_to_swap_cache: a reference, the flag, the place in the radix tree. The page is locked."""
        await page.get()
        await self.swap.tree_lock.lock()
        self.conductor.touch(RELEASE, page, "swap_cache")
        self.conductor.touch(RELEASE, slot, "page")
        page.node.swap_cache[page.pfn] = slot
        slot.page = page
        await self.swap.tree_lock.unlock()

    @override
    def forget_cached(self, page: Frame) -> SwapSlot:
        """__delete_from_swap_cache: out of the radix tree, flag and private cleared. `tree_lock` is held."""
        self.conductor.touch(RELEASE, page, "swap_cache")
        slot = page.node.swap_cache.pop(page.pfn)
        self.conductor.touch(RELEASE, slot, "page")
        if slot.writeback:
            raise misuse("leaves_cache_under_writeback", f"pfn {page.pfn} leaves the swap cache under writeback", page)
        slot.page = None
        return slot

    @override
    @seam
    async def delete_from_swap_cache(self, page: Frame) -> None:
        """Take a locked page out of the swap cache; the caller has a reference of its own."""
        await self.swap.tree_lock.lock()
        slot = self.forget_cached(page)
        await self.swap.tree_lock.unlock()
        await self.swapcache_free(slot)
        await page.put()

    @override
    @seam
    async def free_swap_cache(self, page: Frame) -> None:
        """Do the same for a page that has just lost its last mapping, unless its lock is held."""
        self.conductor.touch(YIELD, page, "swap_cache")
        if page.swap is not None and not page.page_mapcount() and await self.trylock_page(page):
            await self.try_to_free_swap(page)
            await page.unlock()

    @override
    @seam
    async def lookup_swap_cache(self, slot: SwapSlot) -> Frame | None:
        """The page that is cached for a slot, with a reference; spins while its references are frozen."""
        while True:
            await self.conductor.point(READ, slot, "page")
            page = slot.page
            if page is None:
                return None
            if not await page.get_unless_zero():
                await self.conductor.relax(page)
                continue
            if slot.page is page:
                return page
            await page.put()

    @override
    @seam
    async def read_swap_cache(self, slot: SwapSlot, nid: int) -> Frame | None:
        """read_swap_cache_async and the end of its read: the page of a slot, with a reference.

        A page that is not cached comes into the cache locked, is read, and unlocked; it may turn out not to be
        uptodate. None: no memory, or the slot is no longer in use.
        """
        new = None
        while True:
            found = await self.lookup_swap_cache(slot)
            if found is None and new is None:
                new = await self.alloc_page(nid)
            if found is not None or new is None:
                break
            await self.conductor.point(WRITE, slot, "count")
            if slot.cached:  # it is on its way into or out of the radix tree
                await self.conductor.relax(slot)
            elif not slot.count:
                break
            else:
                slot.cached = True
                slot.uptodate = False
                await new.lock()
                await self.add_to_swap_cache(new, slot)
                self.lru_cache_add(new)
                await self.swap_readpage(new, slot)
                return new
        if new is not None:
            await new.put()
        return found
