"""madvise(MADV_PAGEOUT), v5.4."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.later.advised_range import advise_range
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import MADV_PAGEOUT, PAGE_SIZE
from ksmactors.mm.frame import Frame


class Pageout(Ksm):
    """A process can have a range of its memory reclaimed at once.

    Only pages that no other process maps: a KSM page with one mapping goes to swap, one that is shared stays.
    """

    @override
    async def madvise(self, mm: AddressSpace, start: int, length: int, advice: int) -> int:
        if advice != MADV_PAGEOUT:
            return await super().madvise(mm, start, length, advice)
        return await advise_range(self, mm, start, length, "MADV_PAGEOUT", self._reclaim_range)

    async def _reclaim_range(self, vma: Vma, start: int, end: int) -> None:
        """madvise_pageout."""
        self.lru_add_drain()
        await self.shrink_page_list(await self._isolate_range(vma, start, end))

    async def _isolate_range(self, vma: Vma, start: int, end: int) -> list[Frame]:
        """The pages that only this range maps, off the LRU, their accesses so far forgotten."""
        mm = vma.mm
        isolated = []
        for address in range(start, end, PAGE_SIZE):
            page = await self.follow_page(mm, address)
            if page is None:
                continue
            if page.page_mapcount() == 1 and await self.isolate_lru_page(page):
                await mm.page_table_lock.lock()
                self.ptep_clear_flush_young(mm, address)
                await mm.page_table_lock.unlock()
                isolated.append(page)
            await page.put()
        return isolated
