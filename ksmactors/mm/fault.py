"""What a CPU does with memory: reads, writes, and the page faults that they take (arch/x86/mm/fault.c)."""

from __future__ import annotations

from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EFAULT
from ksmactors.mm.content import Content
from ksmactors.mm.core import MmCore
from ksmactors.mm.gup import fault_errno
from ksmactors.seams import seam


class ThreadAccesses(MmCore):
    """Accesses of threads. One that the entry does not allow takes a fault; the thread tries again afterwards."""

    @seam
    async def user_read(self, mm: AddressSpace, address: int) -> Content | None:
        """Read the page at an address as a thread does; None if that takes a page fault."""
        await self.conductor.point(READ, mm, address)
        pte = mm.ptes.get(address)
        if pte is None or pte.migration:
            return None
        self.conductor.touch(YIELD, pte.frame, "content")
        pte.frame.must_be_alive("a read by a thread")
        if self.aging:
            self.conductor.touch(RELEASE, mm, ("young", address))
            mm.young.add(address)
        for observer in self.observers:
            observer.read(mm, address, pte.frame)
        return pte.frame.content

    @seam
    async def user_write(self, mm: AddressSpace, address: int, content: Content) -> bool:
        """Overwrite the page at an address as a thread does; False if that takes a page fault.

        The check of the entry and the store are one operation: write-protecting an entry invalidates the
        TLB of every CPU before it goes on.
        """
        await self.conductor.point(WRITE, mm, address)
        pte = mm.ptes.get(address)
        if pte is None or pte.migration or not pte.write:
            return False
        pte.frame.must_be_alive("a write by a thread")
        self.memory_epoch += 1
        if self.aging:
            self.conductor.touch(RELEASE, mm, ("young", address))
            mm.young.add(address)
        self.conductor.touch(RELEASE, pte.frame, "content")  # no order: the CPU stores at any time
        pte.frame.content = content
        pte.frame.writer = self.conductor.turn.number
        if not pte.dirty:
            mm.ptes[address] = pte._replace(dirty=True)
        for observer in self.observers:
            observer.wrote(mm, address, pte.frame)
        return True

    @seam
    async def fault(self, mm: AddressSpace, address: int, write: bool) -> int:
        """Serve one page fault of a thread: 0 (try the access again), -EFAULT (SIGSEGV), -EIO (SIGBUS: the
        page could not be read back from swap), -EHWPOISON (SIGBUS: its memory has failed) or -ENOMEM."""
        await mm.down_read()
        self.conductor.touch(READ, mm, "vmas")
        vma = mm.vma_at(address)
        result = await self.handle_mm_fault(mm, vma, address, write) if vma is not None else 0
        await mm.up_read()
        if vma is None:
            return -EFAULT
        return fault_errno(result)
