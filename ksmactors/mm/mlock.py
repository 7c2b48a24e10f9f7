"""Pages that are to stay in memory (mm/mlock.c): marking what is there, faulting in what is not."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EAGAIN, EINVAL, ENOMEM, PAGE_SIZE, page_align
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam


class Mlock(MmCore):
    """mlock(2) and munlock(2), their walks over page tables, and the mark of a single page."""

    @seam
    async def mlock(self, mm: AddressSpace, start: int, length: int, *, on: bool = True) -> int:
        """mlock(2), or munlock(2) unless `on`: 0, -EINVAL, -ENOMEM (part of the range is not mapped, or no memory for
        vmas), -EAGAIN (no memory for pages). Source: do_mlock(), mlock_fixup(), v3.9."""
        if start % PAGE_SIZE or length < 0:
            return -EINVAL
        end = start + page_align(length)
        if on:
            await self.lru_add_drain_all()
        await mm.down_write()
        result, reached = 0, start
        for vma in self.vmas_in(mm, start, end):
            if vma.start > reached:
                break
            reached = vma.end
            result = await self._mlock_fixup(vma, max(vma.start, start), min(vma.end, end), on)
            if result:
                break
        if reached < end:
            result = result or -ENOMEM
        await mm.up_write()
        if on and not result:
            result = await self.mlock_vma_pages_range(mm, start, end)
        self.emit(ev.MLOCK, mm.name, start, (end - start) // PAGE_SIZE, on, result)
        return result

    async def _mlock_fixup(self, vma: Vma, start: int, end: int, on: bool) -> int:
        if vma.locked == on:
            return 0
        part = await self.split_vma(vma, start) if start > vma.start else vma
        if part is None or (end < part.end and await self.split_vma(part, end) is None):
            return -ENOMEM
        if on:
            part.locked = True
        else:
            await self.munlock_vma_pages_range(part, start, end)
        await self.merge_vma(part)
        return 0

    @seam
    async def mlock_vma_pages_range(self, mm: AddressSpace, start: int, end: int) -> int:
        """__mm_populate: fault in, as for a write, and mark the pages of the VM_LOCKED vmas in a range: 0, -EAGAIN (no
        memory) or -ENOMEM (nothing mapped any more, or unreadable).

        mmap_sem is taken for each page. A page that another actor has locked is left for reclaim to mark. A merged page
        is copied: mlock undoes a merge, and ksmd may make it again.
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

    @override
    @seam
    async def munlock_vma_pages_range(self, vma: Vma, start: int, end: int) -> None:
        """Clear VM_LOCKED and the Mlocked flag of the pages of a part of a vma that nothing else locks.

        mmap_sem is held for write, or the address space has no users any more.
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

    # -- one page -----------------------------------------------------------------------------------------------

    @override
    @seam
    async def mlock_vma_page(self, page: Frame) -> None:
        """Mark a locked page as Mlocked, which takes it off reclaim's lists."""
        await self.conductor.point(WRITE, page, "mlocked")
        page.node.mark_mlocked(page, True)

    @override
    @seam
    async def munlock_vma_page(self, page: Frame) -> None:
        """Take the mark off a locked page, unless another VM_LOCKED vma turns out to map it (try_to_munlock)."""
        await self.conductor.point(WRITE, page, "mlocked")
        if not page.mlocked:
            return
        page.node.mark_mlocked(page, False)

        async def munlock_one(vma: Vma, address: int) -> bool:
            if await self.page_check_address(page, vma.mm, address) is None:
                return False
            await vma.mm.page_table_lock.unlock()
            return vma.locked and await self.mlock_if_locked(page, vma)

        if page.page_mapcount() > 1:
            await self.rmap_walk(page, munlock_one)

    @override
    @seam
    async def mlock_if_locked(self, page: Frame, vma: Vma) -> bool:
        """Mark a page that was met in a VM_LOCKED vma, if that can be made sure: mmap_sem is tried only, since the page
        lock is held. False: it could not, or the vma is not locked any more."""
        mm = vma.mm
        if not await mm.mmap_sem.down_read_trylock():
            return False
        locked = vma.locked
        if locked:
            await self.mlock_vma_page(page)
        await mm.up_read()
        return locked
