"""Address spaces come and go: fork and exit (kernel/fork.c, mm/memory.c, mm/mmap.c)."""

from __future__ import annotations

from typing import Final

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import ENOMEM, PAGE_SIZE
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.mmap import Mappings
from ksmactors.mm.reports import lifetime
from ksmactors.seams import seam

FIRST_ADDRESS: Final = 0x10000
"""Where the first mapping of a process goes: not at 0, which stands for "nothing yet" in KSM's cursor."""


class Processes(Mappings):
    """The last floor of a kernel without KSM."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.address_spaces: list[AddressSpace] = []
        """All that were ever made, for observers."""

    @seam
    def mm_alloc(self, name: str) -> AddressSpace:
        """A new, empty address space with one user."""
        mm = AddressSpace(self.conductor, len(self.address_spaces) + 1, name, FIRST_ADDRESS)
        self.address_spaces.append(mm)
        return mm

    @seam
    def mmget(self, mm: AddressSpace) -> None:
        """One more user of the page tables (a second thread)."""
        if mm.users == 0:
            raise lifetime("mm", f"mm {mm.name} gets a user after its last one left", mm)
        mm.users += 1

    @seam
    async def fork(self, oldmm: AddressSpace, name: str) -> AddressSpace | int:
        """dup_mm: a child's address space, or -ENOMEM; on an error what was copied is torn down again."""
        if self.inject("alloc_mm"):
            return -ENOMEM
        mm = self.mm_alloc(name)
        failed = await self.dup_mmap(mm, oldmm)
        if failed:
            await self.mmput(mm)
            return failed
        self.conductor.touch(RELEASE, mm, "users")
        self.emit(ev.FORK, oldmm.name, mm.name)
        return mm

    @seam
    async def dup_mmap(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        """Copy vmas and page tables. KSM hears of the child first: its mmap_sem is held until it is complete."""
        await oldmm.down_write()
        await mm.down_write()
        failed = await self.ksm_fork(mm, oldmm)
        if not failed:
            mm.top = oldmm.top
            self.conductor.touch(READ, oldmm, "vmas")
            for parent in list(oldmm.vmas.values()):
                vma = Vma(mm, parent.start, parent.end, parent.pgoff, parent.nid, mergeable=parent.mergeable)
                if self.inject("alloc_vma") or not await self.anon_vma_fork(vma, parent):
                    failed = -ENOMEM
                    break
                self._insert(vma)
                failed = await self.copy_page_range(mm, oldmm, parent)
                if failed:
                    break
        await mm.up_write()
        await oldmm.up_write()
        return failed

    @seam
    async def copy_page_range(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma) -> int:
        """Copy the entries of one vma: 0 or -ENOMEM. Of a vma without an anon_vma nothing is copied: a fault finds the
        same zero page again."""
        if vma.anon_vma is None:
            return 0
        failed = 0
        self.memory_epoch += 1
        await mm.page_table_lock.lock()
        await oldmm.page_table_lock.lock()
        for address in range(vma.start, vma.end, PAGE_SIZE):
            failed = await self.copy_one_pte(mm, oldmm, vma, address)
            if failed:
                break
            if address in mm.ptes or address in mm.swap_ptes:
                for observer in self.observers:
                    observer.copied(mm, oldmm, address)
        await oldmm.page_table_lock.unlock()
        await mm.page_table_lock.unlock()
        return failed

    @seam
    async def copy_one_pte(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma, address: int) -> int:
        """Copy the entry at an address of a vma of `oldmm`, if there is one: 0 or -ENOMEM. A writable one becomes
        read-only on both sides, swap and migration entries are copied. Both page table locks are held."""
        pte, slot = oldmm.ptes.get(address), oldmm.swap_ptes.get(address)
        if pte is not None:
            await self._copy_pte_of_frame(mm, oldmm, address, pte)
        elif slot is not None:
            await self.swap_duplicate(slot)
            await self.set_swap_pte(mm, address, slot)
        return 0

    async def _copy_pte_of_frame(self, mm: AddressSpace, oldmm: AddressSpace, address: int, pte: Pte) -> None:
        if pte.write:
            pte = await self.ptep_set_wrprotect(oldmm, address)
        if not pte.migration and pte.frame is not self.zero_page:
            await pte.frame.get()
            pte.frame.change_mapcount(1)
        await self.set_pte(mm, address, pte)

    @seam
    async def exec_mm(self, oldmm: AddressSpace) -> AddressSpace | int:
        """bprm_mm_init: the address space of a new program, under the name of the old one; -ENOMEM. The caller puts the
        old one."""
        if self.inject("alloc_mm"):
            return -ENOMEM
        mm = self.mm_alloc(oldmm.name)
        failed = await self.ksm_execve(mm, oldmm)
        if failed:
            await self.mmput(mm)
            return failed
        return mm

    @seam
    async def mmput(self, mm: AddressSpace) -> None:
        """Drop a user; the last one tells KSM, tears the page tables down and drops the struct."""
        if mm.users == 0:
            raise lifetime("mm", f"mm {mm.name} loses a user after its last one left", mm)
        mm.users -= 1
        self.conductor.touch(RELEASE, mm, "users")
        if mm.users == 0:
            self.conductor.touch(ACQUIRE, mm, "users")
            self.memory_epoch += 1
            await self.ksm_exit(mm)
            await self.exit_mmap(mm)
            self.mmdrop(mm)

    @seam
    async def exit_mmap(self, mm: AddressSpace) -> None:
        """Empty all entries and leave all anon_vmas. Nobody is expected in the page tables any more: no mmap_sem."""
        self.conductor.touch(WRITE, mm, "vmas")
        for vma in list(mm.vmas.values()):
            if vma.locked:
                await self.munlock_vma_pages_range(vma, vma.start, vma.end)
            await self.zap_page_range(mm, vma.start, vma.end, PAGE_SIZE)
            await self.unlink_anon_vmas(vma)
            vma.alive = False
        mm.vmas.clear()
        self.emit(ev.EXIT_MMAP, mm.name)

    @seam
    def mmdrop(self, mm: AddressSpace) -> None:
        """Drop a hold on the struct; the last one frees it."""
        mm.must_be_alive()
        self.conductor.touch(RELEASE, mm, "count")
        mm.count -= 1
        if mm.count == 0:
            self.conductor.touch(RELEASE, mm.mmap_sem, mm.mmap_sem.vital)
            mm.alive = False
