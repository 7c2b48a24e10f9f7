"""A repair for H9; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.const import (
    EAGAIN,
    ENOMEM,
    MADV_MERGEABLE,
    PAGE_SIZE,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
    VM_FAULT_WRITE,
)


class UnshareOnAdvice(Ksm):
    """A change of advice ends the sharing, by fork, of pages with address spaces whose advice stays as it was.

    A process forks, and one of the two takes the advice back (or gives it only now). When ksmd makes one of the pages
    that they share a KSM page in place, the other maps it, too. v3.9 never visits that mapping, since it is not
    mergeable, so it gets no rmap_item; and the walk from the items of the other process finds it at most for as long as
    these last, and never by way of a child's anon_vma. Such a page can be neither migrated nor reclaimed. Here
    madvise copies such pages, with mmap_sem held for write: afterwards only mappings of one advice share a frame. What
    is swapped out is brought back for it, since a swap entry may be shared just so.
    """

    @override
    async def madvise_behavior(self, vma: Vma, start: int, end: int, advice: int) -> int:
        if vma.mergeable != (advice == MADV_MERGEABLE) and vma.anon_vma is not None:
            for address in range(start, end, PAGE_SIZE):
                if await self._unshare(vma, address):
                    return -EAGAIN
        return await super().madvise_behavior(vma, start, end, advice)

    async def _unshare(self, vma: Vma, address: int) -> int:
        """Copy the page at an address if others map it, too, or bring it back from swap: 0 or -ENOMEM.

        The page is locked while its mappings are counted: a migration that has unmapped some of them holds the lock.
        """
        while True:
            page = await self.follow_page(vma.mm, address, migration=True)
            if page is None and address in vma.mm.swap_ptes:
                result = await self.handle_mm_fault(vma.mm, vma, address, True)
                if result & VM_FAULT_SIGBUS:
                    return 0
                if result & VM_FAULT_OOM:
                    return -ENOMEM
                continue
            if page is None:
                return 0
            result = VM_FAULT_WRITE
            await page.lock()  # half way through a migration or reclaim the others' entries are not counted
            shared = page.page_mapcount() + await self.page_swapcount(page) > 1
            await page.unlock()
            if shared:
                result = await self.handle_mm_fault(vma.mm, vma, address, True)
            await page.put()
            if result & VM_FAULT_OOM:
                return -ENOMEM
            if result & VM_FAULT_WRITE:
                return 0
