"""Reclaim (mm/vmscan.c): pages without recent accesses go to swap, KSM pages included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import RELEASE, WRITE
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam

PRIORITIES: Final = 12
"""Passes over all pages before reclaim gives up (DEF_PRIORITY)."""

SWAP_CLUSTER_MAX: Final = 32
"""Pages that are isolated, and freed, together."""

CONGESTION_WAIT_NS: Final = 1_000_000
"""How long a pass that has freed too little waits for the device: some writes long."""

FREED: Final = "freed"


class Vmscan(MmCore):
    """shrink_page_list and what calls it. Takes page locks by trylock only, so it may be called with any lock held."""

    @seam
    def inactive_pages(self, nid: int) -> list[Frame]:
        """The frames of a node that reclaim could isolate, by frame number: not those that are mlocked."""
        return [page for page in self.movable_frames(nid) if not page.mlocked]

    @seam
    async def try_to_free_pages(self, nids: Sequence[int], pages: int) -> int:
        """Reclaim so many pages of some nodes, waiting for writes between passes; returns how many were freed."""
        freed = 0
        self.lru_add_drain()
        for priority in range(PRIORITIES):
            for nid in nids:
                candidates = self.inactive_pages(nid)
                for start in range(0, len(candidates), SWAP_CLUSTER_MAX):
                    if freed >= pages:
                        return freed
                    freed += await self.shrink_list(candidates[start : start + SWAP_CLUSTER_MAX])
            if not any(self.inactive_pages(nid) for nid in nids):
                break
            if priority + 1 < PRIORITIES:
                await self.conductor.sleep(CONGESTION_WAIT_NS)
        return freed

    @seam
    async def shrink_list(self, candidates: Sequence[Frame]) -> int:
        """Isolate some pages from the LRU and try to reclaim them; returns how many were freed."""
        self.aging = True
        return await self.shrink_page_list(await self.isolate_lru_pages(candidates))

    @seam
    async def isolate_lru_pages(self, candidates: Sequence[Frame]) -> list[Frame]:
        """Take pages off the LRU, each with a reference; those that are gone or isolated are left out."""
        isolated = []
        for page in candidates:
            await self.conductor.point(WRITE, page, "lru")
            if page.lru and page.refcount > 0:
                page.lru = False
                page.refcount += 1
                isolated.append(page)
        return isolated

    @seam
    async def shrink_page_list(self, pages: Sequence[Frame]) -> int:
        """Try to reclaim isolated pages; the others go back to the LRU. Returns how many were freed.

        What was reclaimed goes back to its node only at the end, all pages together: until then such a page has no
        references and still names its stable node. Source: shrink_page_list(), v3.9.
        """
        reclaimed: list[Frame] = []
        kept: list[Frame] = []
        for page in pages:
            pfn, nid = page.pfn, page.nid
            outcome = await self.shrink_page(page)
            self.emit(ev.RECLAIM_PAGE, pfn, nid, outcome)
            (reclaimed if outcome == FREED else kept).append(page)
        for page in reclaimed:
            await page.free_frozen()
        for page in kept:
            await self.putback_inactive_page(page)
        return len(reclaimed)

    @seam
    async def putback_inactive_page(self, page: Frame) -> None:
        """Give an isolated page back to the LRU at once: reclaim holds the list's own lock anyway."""
        await self.conductor.point(WRITE, page, "lru")
        page.lru = True
        await page.put()

    @seam
    async def shrink_page(self, page: Frame) -> str:
        """One page's round: what became of it, "freed" if its references are frozen for good."""
        if not await self.trylock_page(page):
            return "locked"
        outcome = await self.shrink_locked_page(page)
        if outcome != "writing":  # pageout has unlocked it
            await page.unlock()
        return outcome

    @seam
    async def shrink_locked_page(self, page: Frame) -> str:
        """The part of a round that is done under the page lock; pageout unlocks the page."""
        slot = page.swap
        if page.mlocked:
            return "mlocked"
        if slot is not None and slot.writeback:
            return "under writeback"
        if await self.page_referenced(page):
            return "referenced"
        if slot is None and not (page.is_anon and await self.add_to_swap(page)):
            return "no swap"
        await self.try_to_unmap(page, reclaim=True)
        if page.mlocked:
            await self.try_to_free_swap(page)
            return "mlocked"
        if page.page_mapcount():
            return "mapped"
        if page.dirty:
            if await page.count() != 2:  # the isolation's and the cache's: another actor uses it
                return "in use"
            page.dirty = False
            await self.swap_writepage(page)
            if not self.swap.synchronous or not await self.trylock_page(page):
                return "writing"
            if page.dirty or page.swap is None:  # written again meanwhile, or not needed on the device any more
                return "in use"
        return FREED if await self.remove_mapping(page) else "in use"

    @seam
    async def remove_mapping(self, page: Frame) -> bool:
        """__remove_mapping: freeze the references of a clean page and take it out of the swap cache, all under
        tree_lock. False if there is another reference, or the page was written."""
        await self.swap.tree_lock.lock()
        if not await page.freeze(2):
            await self.swap.tree_lock.unlock()
            return False
        if page.dirty:
            await page.unfreeze(2)
            await self.swap.tree_lock.unlock()
            return False
        await self.conductor.point(WRITE, page, "swap_cache")
        slot = self.forget_cached(page)
        await self.swap.tree_lock.unlock()
        await self.swapcache_free(slot)
        return True

    # -- for those who move pages -------------------------------------------------------------------------------

    @override
    @seam
    async def isolate_lru_page(self, page: Frame) -> bool:
        """Take a page off the LRU with a reference; False if another actor did. The caller has a reference."""
        await self.conductor.point(WRITE, page, "lru")
        if not page.lru:
            return False
        self.conductor.touch(RELEASE, page, "refcount")
        page.lru = False
        page.refcount += 1
        return True

    @override
    @seam
    async def putback_lru_page(self, page: Frame) -> None:
        """Give an isolated page back, by way of a pagevec, and drop the isolation's reference.

        So a page without other references is not freed before the batch is drained.
        """
        await self.conductor.point(WRITE, page, "lru")
        self.lru_cache_add(page)
        await page.put()
