"""Mappings (mm/mmap.c): mmap, munmap, exit, and the splitting and merging of vmas."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EINVAL, ENOMEM, PAGE_SHIFT, PAGE_SIZE, page_align
from ksmactors.mm.core import MmCore
from ksmactors.seams import part, seam


class Mappings(MmCore):
    """System calls on ranges of an address space. Errors are negative errnos, as in the kernel."""

    @seam
    async def mmap(self, mm: AddressSpace, pages: int, nid: int, address: int | None = None) -> int:
        """Map private anonymous memory whose pages come from node `nid`.

        Args:
            pages: length in pages, at least 1.
            address: where (free, page aligned); None: above all mappings, with a gap of one page.

        Returns:
            The address, or -EINVAL, or -ENOMEM if something is mapped there, or when out of memory.
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
            self.insert_vm_struct(Vma(mm, address, end, address >> PAGE_SHIFT, nid, mergeable=self.ksm_new_vma(mm)))
            self.emit(ev.MMAP, mm.name, address, pages)
            await self.ksm_process_mmap(mm)
        await mm.up_write()
        return result

    @override
    @part
    def insert_vm_struct(self, vma: Vma) -> None:
        """A vma is found in its address space from now on. mmap_sem is held for write, or no other actor can reach it
        yet."""
        self.conductor.touch(WRITE, vma.mm, "vmas")
        vma.mm.vmas[vma.start] = vma
        vma.mm.top = max(vma.mm.top, vma.end + PAGE_SIZE)

    @seam
    async def munmap(self, mm: AddressSpace, start: int, length: int) -> int:
        """Unmap [start, start + length): 0, -EINVAL for an unaligned or empty range, -ENOMEM (nothing was unmapped)."""
        if start % PAGE_SIZE or length <= 0:
            return -EINVAL
        await mm.down_write()
        failed = await self.do_munmap(mm, start, start + page_align(length))
        await mm.up_write()
        return failed

    @override
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
            mm.forget_vma(vma)
        for vma in doomed:
            if vma.locked:
                await self.munlock_vma_pages_range(vma, vma.start, vma.end)
            await self.zap_page_range(mm, vma.start, vma.end, PAGE_SIZE)
            await self.unlink_anon_vmas(vma)
            vma.alive = False
        if doomed:
            self.emit(ev.MUNMAP, mm.name, start, (end - start) // PAGE_SIZE)
        return 0

    @override
    def vmas_in(self, mm: AddressSpace, start: int, end: int) -> list[Vma]:
        """The vmas that have a part in [start, end), ascending."""
        vmas: list[Vma] = []
        vma = mm.find_vma(start)
        while vma is not None and vma.start < end:
            vmas.append(vma)
            vma = mm.find_vma(vma.end)
        return vmas

    @override
    @seam
    async def split_vma(self, vma: Vma, address: int) -> Vma | None:
        """Split a vma in two at an address inside; returns the upper half, or None when out of memory."""
        upper = Vma(vma.mm, address, vma.end, vma.index_of(address), vma.nid, mergeable=vma.mergeable)
        upper.anon_vma = vma.anon_vma
        upper.locked = vma.locked
        if self.inject("alloc_vma") or not await self.anon_vma_clone(upper, vma):
            return None
        vma.end = address
        self.insert_vm_struct(upper)
        return upper

    @override
    @seam
    async def merge_vma(self, vma: Vma) -> None:
        """Join a vma with the neighbours it continues: same advice, policy, anon_vma and page indices."""
        mm = vma.mm
        below = mm.vma_at(vma.start - 1) if vma.start else None
        for lower, upper in ((vma, mm.vma_at(vma.end)), (below, vma)):
            if lower is not None and upper is not None and _continues(lower, upper):
                self.conductor.touch(WRITE, mm, "vmas")
                mm.forget_vma(upper)
                lower.end = upper.end
                await self.unlink_anon_vmas(upper)
                upper.alive = False

    @override
    @seam
    async def exit_mmap(self, mm: AddressSpace) -> None:
        """Empty all entries and leave all anon_vmas, without mmap_sem: no actor should be in the page tables any
        more."""
        self.conductor.touch(WRITE, mm, "vmas")
        for vma in list(mm.vmas.values()):
            if vma.locked:
                await self.munlock_vma_pages_range(vma, vma.start, vma.end)
            await self.zap_page_range(mm, vma.start, vma.end, PAGE_SIZE)
            await self.unlink_anon_vmas(vma)
            vma.alive = False
        mm.forget_vmas()
        self.emit(ev.EXIT_MMAP, mm.name)


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
