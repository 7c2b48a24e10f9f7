"""A repair of ours for a hazard that is not in the field guide; no kernel has it."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.const import ENOMEM, PAGE_SIZE, VM_FAULT_OOM, VM_FAULT_WRITE


class UnshareOnAdvice(Ksm):
    """A change of advice ends the sharing, by fork, of pages with address spaces whose advice stays as it was.

    A process forks, and one of the two takes the advice back (or gives it only now). When ksmd makes one of the pages
    that they share a KSM page in place, the other maps it, too. v3.9 never visits that mapping, since it is not
    mergeable, so it gets no rmap_item; and the walk from the items of the other process finds it at most for as long as
    these last, and never by way of a child's anon_vma. Such a page can be neither migrated nor reclaimed. Here
    madvise copies such pages, with mmap_sem held for write: afterwards only mappings of one advice share a frame.
    """

    async def ksm_madvise(self, vma: Vma, start: int, end: int, advice: int) -> tuple[int, bool]:
        failed, mergeable = await super().ksm_madvise(vma, start, end, advice)
        if failed or mergeable == vma.mergeable or vma.anon_vma is None:
            return failed, mergeable
        for address in range(start, end, PAGE_SIZE):
            failed = await self._unshare(vma, address)
            if failed:
                return failed, vma.mergeable
        return 0, mergeable

    async def _unshare(self, vma: Vma, address: int) -> int:
        """Copy the page at an address if others map it, too: 0 or -ENOMEM."""
        while True:
            page = await self.follow_page(vma.mm, address, migration=True)
            if page is None:
                return 0
            result = VM_FAULT_WRITE
            if page.mapcount > 1:
                result = await self.handle_mm_fault(vma.mm, vma, address, True)
            await page.put()
            if result & VM_FAULT_OOM:
                return -ENOMEM
            if result & VM_FAULT_WRITE:
                return 0
