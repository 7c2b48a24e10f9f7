"""Address spaces come and go (kernel/fork.c, and fs/exec.c as far as it makes one)."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import ENOMEM
from ksmactors.mm.core import MmCore
from ksmactors.mm.reports import lifetime
from ksmactors.seams import seam

FIRST_ADDRESS: Final = 0x10000
"""Where the first mapping of a process goes: not at 0, which stands for "nothing yet" in KSM's cursor."""


class Fork(MmCore):
    """dup_mm, mmput and mmdrop. mm_users keep the page tables, mm_count keeps the struct."""

    @seam
    def mm_alloc(self, name: str) -> AddressSpace:
        """A new, empty address space with one user."""
        mm = AddressSpace(self.conductor, len(self.address_spaces) + 1, name, FIRST_ADDRESS)
        self.address_spaces.append(mm)
        return mm

    @override
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
        """Copy vmas and page tables. KSM is called for the child first: its mmap_sem is held until it is complete."""
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
                self.insert_vm_struct(vma)
                failed = await self.copy_page_range(mm, oldmm, parent)
                if failed:
                    break
        await mm.up_write()
        await oldmm.up_write()
        return failed

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

    @override
    @seam
    async def mmput(self, mm: AddressSpace) -> None:
        """Drop a user; the last one calls ksm_exit, tears the page tables down and drops the struct."""
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

    @override
    @seam
    def mmdrop(self, mm: AddressSpace) -> None:
        """Drop a hold on the struct; the last one frees it."""
        mm.must_be_alive()
        self.conductor.touch(RELEASE, mm, "count")
        mm.count -= 1
        if mm.count == 0:
            self.conductor.touch(RELEASE, mm.mmap_sem, mm.mmap_sem.vital)
            mm.alive = False
