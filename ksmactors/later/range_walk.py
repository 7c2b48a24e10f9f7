"""The scan walks page tables instead of looking up addresses, v6.18; in the stable kernels 6.1 and 6.12 that were
recorded, too."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Pte, Vma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame


class RangeWalk(Ksm):
    """ksmd finds the next page of a vma in one walk of the page table.

    Before, it looked up every address: a process with a huge, empty mapping kept a CPU busy with nothing.
    """

    @override
    async def next_page_in(self, vma: Vma) -> Frame | None:
        scan, mm = self.ksm_scan, vma.mm
        scan.address = max(scan.address, vma.start)
        if vma.anon_vma is None or scan.address >= vma.end:
            scan.address = max(scan.address, vma.end)
            return None
        if self.ksm_test_exit(mm):
            self.race(ev.RACE_MM_EXITED, mm.name, None)
            return None
        await mm.page_table_lock.lock()
        page = None
        while scan.address < vma.end:
            page = self._page_to_scan(mm.ptes.get(scan.address))
            if page is not None:
                await page.get()
                break
            scan.address += PAGE_SIZE
        await mm.page_table_lock.unlock()
        return page

    def _page_to_scan(self, pte: Pte | None) -> Frame | None:
        if pte is None or pte.migration or pte.frame is self.zero_page or not pte.frame.is_anon:
            return None
        return pte.frame
