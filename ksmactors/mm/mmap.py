"""Mappings: mmap, munmap, mremap, madvise, and the splitting and merging of vmas that they cause."""

from __future__ import annotations

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import (
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOMEM,
    MADV_DONTNEED,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    PAGE_SHIFT,
    PAGE_SIZE,
)
from ksmactors.mm.devices import Devices
from ksmactors.seams import part, seam

ADVICE_NAMES = {
    MADV_DONTNEED: "MADV_DONTNEED",
    MADV_MERGEABLE: "MADV_MERGEABLE",
    MADV_UNMERGEABLE: "MADV_UNMERGEABLE",
}


class Mappings(Devices):
    """System calls on ranges of an address space. Errors are negative errnos, as in the kernel."""

    @seam
    async def mmap(self, mm: AddressSpace, pages: int, nid: int, address: int | None = None) -> int:
        """Map private anonymous memory whose pages come from node `nid`.

        Args:
            pages: length in pages, at least 1.
            address: where (free, page aligned); None: above everything, one page apart from what is there.

        Returns:
            The address, or -EINVAL, or -ENOMEM if something is mapped there, or for want of memory.
        """
        if pages < 1 or not 0 <= nid < len(self.nodes):
            return -EINVAL
        await mm.down_write()
        if address is None:
            address = mm.top
        end = address + pages * PAGE_SIZE
        vma = mm.find_vma(address)
        taken = vma is not None and vma.start < end
        result = -ENOMEM if taken or self.inject("alloc_vma") else address
        if result >= 0:
            self._insert(Vma(mm, address, end, address >> PAGE_SHIFT, nid, mergeable=self.ksm_new_vma(mm)))
            self.emit(ev.MMAP, mm.name, address, pages)
            await self.ksm_process_mmap(mm)
        await mm.up_write()
        return result

    def _insert(self, vma: Vma) -> None:
        self.conductor.touch(WRITE, vma.mm, "vmas")
        vma.mm.vmas[vma.start] = vma
        vma.mm.top = max(vma.mm.top, vma.end + PAGE_SIZE)

    @seam
    async def munmap(self, mm: AddressSpace, start: int, length: int) -> int:
        """Unmap [start, start + length): 0, -EINVAL for an unaligned or empty range, -ENOMEM (nothing was unmapped)."""
        if start % PAGE_SIZE or length <= 0:
            return -EINVAL
        await mm.down_write()
        failed = await self.do_munmap(mm, start, start + _page_align(length))
        await mm.up_write()
        return failed

    @seam
    async def do_munmap(self, mm: AddressSpace, start: int, end: int) -> int:
        """munmap with mmap_sem held for write: split at the ends, detach, zap, leave the anon_vmas: 0 or -ENOMEM."""
        doomed = []
        for vma in self.vmas_in(mm, start, end):
            part = await self.split_vma(vma, start) if vma.start < start else vma
            if part is None or (part.end > end and await self.split_vma(part, end) is None):
                return -ENOMEM
            doomed.append(part)
        if doomed:
            self.conductor.touch(WRITE, mm, "vmas")
        for vma in doomed:
            del mm.vmas[vma.start]
        for vma in doomed:
            if vma.locked:
                await self.munlock_vma_pages_range(vma, vma.start, vma.end)
            await self.zap_page_range(mm, vma.start, vma.end, PAGE_SIZE)
            await self.unlink_anon_vmas(vma)
            vma.alive = False
        if doomed:
            self.emit(ev.MUNMAP, mm.name, start, (end - start) // PAGE_SIZE)
        return 0

    def vmas_in(self, mm: AddressSpace, start: int, end: int) -> list[Vma]:
        """The vmas that have a part in [start, end), ascending."""
        vmas: list[Vma] = []
        vma = mm.find_vma(start)
        while vma is not None and vma.start < end:
            vmas.append(vma)
            vma = mm.find_vma(vma.end)
        return vmas

    @seam
    async def split_vma(self, vma: Vma, address: int) -> Vma | None:
        """Split a vma in two at an address inside; returns the upper half, None for want of memory."""
        upper = Vma(vma.mm, address, vma.end, vma.index_of(address), vma.nid, mergeable=vma.mergeable)
        upper.anon_vma = vma.anon_vma
        upper.locked = vma.locked
        if self.inject("alloc_vma") or not await self.anon_vma_clone(upper, vma):
            return None
        vma.end = address
        self._insert(upper)
        return upper

    @seam
    async def merge_vma(self, vma: Vma) -> None:
        """Join a vma with the neighbours it continues: same advice, policy, anon_vma and page indices."""
        mm = vma.mm
        below = mm.vma_at(vma.start - 1) if vma.start else None
        for lower, upper in ((vma, mm.vma_at(vma.end)), (below, vma)):
            if lower is not None and upper is not None and _continues(lower, upper):
                self.conductor.touch(WRITE, mm, "vmas")
                del mm.vmas[upper.start]
                lower.end = upper.end
                await self.unlink_anon_vmas(upper)
                upper.alive = False

    @seam
    async def madvise(self, mm: AddressSpace, start: int, length: int, advice: int) -> int:
        """madvise(2) for MADV_MERGEABLE, MADV_UNMERGEABLE and MADV_DONTNEED.

        Returns 0, -EINVAL (unaligned, overflow, unknown advice), -ENOMEM (part of the range is not mapped; the
        rest was done), -EAGAIN (no memory). Source: mm/madvise.c, v3.9.
        """
        if advice not in ADVICE_NAMES or start % PAGE_SIZE or length < 0:
            return -EINVAL
        end = start + _page_align(length)
        if end == start:
            return 0
        zap = advice == MADV_DONTNEED
        await (mm.down_read() if zap else mm.down_write())
        result = 0
        reached = start
        for vma in self.vmas_in(mm, start, end):
            if vma.start > reached:
                result = -ENOMEM
            reached = vma.end
            low, high = max(vma.start, start), min(vma.end, end)
            if zap and vma.locked:
                result = -EINVAL
                break
            if zap:
                await self.zap_page_range(mm, low, high, PAGE_SIZE)
                continue
            failed = await self.madvise_behavior(vma, low, high, advice)
            if failed:
                result = failed
                break
        else:
            if reached < end:
                result = -ENOMEM
        await (mm.up_read() if zap else mm.up_write())
        self.emit(ev.MADVISE, mm.name, start, (end - start) // PAGE_SIZE, ADVICE_NAMES[advice], result)
        return result

    @seam
    async def madvise_behavior(self, vma: Vma, start: int, end: int, advice: int) -> int:
        """Change the advice of [start, end), a part of one vma; -ENOMEM is reported as -EAGAIN."""
        failed, mergeable = await self.ksm_madvise(vma, start, end, advice)
        if failed:
            return -EAGAIN if failed == -ENOMEM else failed
        if mergeable == vma.mergeable:
            return 0
        part = await self.split_vma(vma, start) if start > vma.start else vma
        if part is None or (end < part.end and await self.split_vma(part, end) is None):
            return -EAGAIN
        part.mergeable = mergeable
        self.memory_epoch += 1
        await self.merge_vma(part)
        return 0

    @seam
    async def mlock(self, mm: AddressSpace, start: int, length: int, *, on: bool = True) -> int:
        """mlock(2), or munlock(2) unless `on`: 0, -EINVAL, -ENOMEM (part of the range is not mapped, or no memory for
        vmas), -EAGAIN (no memory for pages). Source: do_mlock(), mlock_fixup(), v3.9."""
        if start % PAGE_SIZE or length < 0:
            return -EINVAL
        end = start + _page_align(length)
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
    async def mremap(self, mm: AddressSpace, start: int, length: int) -> int:
        """Move a mapping to the next free place above everything: its new address, or -EINVAL, -EFAULT, -ENOMEM.

        Unmerges first: an rmap_item is bound to (mm, address), a moved KSM page could not be found by it. The vma
        keeps its advice. Source: move_vma(), v3.9.
        """
        length = _page_align(length)
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
        self._insert(moved)
        await mm.page_table_lock.lock()
        for address in range(start, end, PAGE_SIZE):
            if address in mm.ptes:
                pte = await self.set_pte(mm, address, None)
                await self.set_pte(mm, address - start + target, pte)
            elif (slot := mm.swap_ptes.get(address)) is not None:
                await self.set_swap_pte(mm, address, None)
                await self.set_swap_pte(mm, address - start + target, slot)
            else:
                continue
            self.memory_epoch += 1
            for observer in self.observers:
                observer.moved(mm, address, address - start + target)
        await mm.page_table_lock.unlock()
        await self.do_munmap(mm, start, end)
        return target

    @part
    async def unmerge_to_move(self, vma: Vma, start: int, end: int) -> int:
        """What an rmap_item knows the address of cannot be moved as it is: 0 or -errno. mmap_sem is held for write."""
        failed, _ = await self.ksm_madvise(vma, start, end, MADV_UNMERGEABLE)
        return failed if vma.mergeable else 0


def _page_align(length: int) -> int:
    return (length + PAGE_SIZE - 1) & -PAGE_SIZE


def _continues(lower: Vma, upper: Vma) -> bool:
    return (
        lower.end == upper.start
        and lower.mergeable == upper.mergeable
        and lower.locked == upper.locked
        and lower.nid == upper.nid
        and lower.anon_vma is upper.anon_vma
        and lower.chain == upper.chain
        and lower.index_of(lower.end) == upper.pgoff
    )
