"""Pages that are to stay in memory (mm/mlock.c): marking what is there, faulting in what is not."""

from __future__ import annotations

from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EAGAIN, ENOMEM, PAGE_SIZE
from ksmactors.mm.reclaim import Reclaim
from ksmactors.seams import seam


class Mlock(Reclaim):
    """The walks of mlock and munlock over page tables. What a single page goes through is with reverse mapping."""

    @seam
    async def mlock_vma_pages_range(self, mm: AddressSpace, start: int, end: int) -> int:
        """__mm_populate: fault in, as for a write, and mark the pages of the VM_LOCKED vmas in a range: 0, -EAGAIN (no
        memory) or -ENOMEM (nothing mapped any more, or unreadable).

        mmap_sem is taken for each page. A page that is locked by somebody else is left for reclaim to mark. What was
        merged is copied: mlock undoes a merge, and ksmd may make it again.
        """
        for address in range(start, end, PAGE_SIZE):
            page = await self.get_user_pages(mm, address, True)
            if isinstance(page, int):
                return -EAGAIN if page == -ENOMEM else -ENOMEM
            await mm.down_read()
            vma = mm.vma_at(address)
            if vma is not None and vma.locked and page.page_mapcount() and await self.trylock_page(page):
                await self.mlock_vma_page(page)
                await page.unlock()
            await mm.up_read()
            await page.put()
        return 0

    @seam
    async def munlock_vma_pages_range(self, vma: Vma, start: int, end: int) -> None:
        """Clear VM_LOCKED and take the mark off the pages of a part of a vma that nothing else locks.

        mmap_sem is held for write, or nobody has the address space any more.
        """
        vma.locked = False
        for address in range(start, end, PAGE_SIZE):
            page = await self.follow_page(vma.mm, address)
            if page is None:
                continue
            await page.lock()
            await self.munlock_vma_page(page)
            await page.unlock()
            await page.put()
