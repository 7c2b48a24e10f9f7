"""Moving a mapping (mm/mremap.c)."""

from __future__ import annotations

from ksmactors.events import catalogue as ev
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EFAULT, EINVAL, ENOMEM, MADV_UNMERGEABLE, PAGE_SIZE, page_align
from ksmactors.mm.core import MmCore
from ksmactors.seams import part, seam


class Mremap(MmCore):
    """mremap(2), which always moves."""

    @seam
    async def mremap(self, mm: AddressSpace, start: int, length: int) -> int:
        """Move a mapping to the next free place above everything: its new address, or -EINVAL, -EFAULT, -ENOMEM.

        Unmerges first: an rmap_item is bound to (mm, address), a moved KSM page could not be found by it. The vma
        keeps its advice. Source: move_vma(), v3.9.
        """
        length = page_align(length)
        if start % PAGE_SIZE or length <= 0:
            return -EINVAL
        await mm.down_write()
        result = await self.move_vma(mm, start, start + length)
        self.emit(ev.MREMAP, mm.name, start, max(result, 0), min(result, 0))
        await mm.up_write()
        return result

    @part
    async def move_vma(self, mm: AddressSpace, start: int, end: int) -> int:
        vma = mm.vma_at(start)
        if vma is None or vma.end < end:
            return -EFAULT
        failed = await self.unmerge_to_move(vma, start, end)
        if failed:
            return failed
        target = mm.top
        moved = Vma(mm, target, target + end - start, vma.index_of(start), vma.nid, mergeable=vma.mergeable)
        moved.anon_vma = vma.anon_vma
        moved.locked = vma.locked
        if self.inject("alloc_vma") or not await self.anon_vma_clone(moved, vma):
            return -ENOMEM
        self.insert_vm_struct(moved)
        await self.mmu_notifier_invalidate_range_start(mm, start, end)
        await mm.page_table_lock.lock()
        for address in range(start, end, PAGE_SIZE):
            if address in mm.ptes:
                pte = await self.set_pte(mm, address, None)
                await self.set_pte(mm, address - start + target, pte)
            elif (slot := mm.swap_ptes.get(address)) is not None:
                await self.set_swap_pte(mm, address, None)
                await self.set_swap_pte(mm, address - start + target, slot)
            elif (page := mm.hwpoison_ptes.get(address)) is not None:
                await self.set_pte(mm, address, None)
                await self.set_hwpoison_pte(mm, address - start + target, page)
            else:
                continue
            self.memory_epoch += 1
            for observer in self.observers:
                observer.moved(mm, address, address - start + target)
        await mm.page_table_lock.unlock()
        await self.mmu_notifier_invalidate_range_end(mm, start, end)
        await self.do_munmap(mm, start, end)
        return target

    @part
    async def unmerge_to_move(self, vma: Vma, start: int, end: int) -> int:
        """Unmerge pages before a move, since rmap_items have their addresses: 0 or -errno. mmap_sem is held for
        write."""
        failed, _ = await self.ksm_madvise(vma, start, end, MADV_UNMERGEABLE)
        return failed if vma.mergeable else 0
