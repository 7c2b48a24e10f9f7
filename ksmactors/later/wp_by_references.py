"""A write fault never waits for the page lock, v5.9 (09854ba94c6a). Recording: races r35."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame

REFERENCES_MAX: Final = 3
"""More cannot be one mapping's, the swap cache's and that of a batch on its way to the LRU."""


class WpByReferences(Ksm):
    """do_wp_page keeps a page only without other references, and takes its lock with a trylock.

    v3.9 waits for the lock and then counts mappings. A process that wrote to its page while ksmd compared it waited,
    found the page merged, and copied the KSM page. Now it copies its own page at once, and the merge fails. From v5.19
    on references decide only where a page is not known to be exclusive to its process (`anon_exclusive`).
    """

    @override
    async def wp_can_reuse(self, mm: AddressSpace, address: int, entry: Pte) -> bool | None:
        page = entry.frame
        if await page.count() > REFERENCES_MAX:
            return False
        if not page.lru:
            self.lru_add_drain()
        if await page.count() > 1 + (page.swap is not None) or not await self.trylock_page(page):
            return False
        await self.try_to_free_swap(page)
        if page.is_ksm or await page.count() != 1:
            await page.unlock()
            return False
        return True

    @override
    async def reuse_swap_page(self, page: Frame) -> bool:
        """Of a fault that brings a page back from swap for a write, whose entry still counts."""
        if page.is_ksm:
            return False
        if not page.lru:
            self.lru_add_drain()
        slot = page.swap
        if slot is not None:
            if (
                slot.writeback or await self.page_swapcount(page) != 1 or await page.count() != 2
            ):  # the fault's, the cache's
                return False
            await self.delete_from_swap_cache(page)
            page.dirty = True
        return await page.count() == 1
