"""Page tables: reading and changing entries under the page table lock (mm/pgtable-generic.c), and a CPU's accesses.

A change of an entry is one operation that also invalidates the TLB: who comes later sees it, on every CPU.
"""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.content import Content
from ksmactors.mm.internal import MmInternal
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import seam


class PageTables(MmInternal):
    """Single entries of a page table, and the CPU's own accesses through them."""

    def page_at(self, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address, for observers: no point, no lock."""
        return mm.ptes.get(address)

    @override
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        """ptep_clear_flush and set_pte_at in one: the entry before, with the dirty bit it had at that instant.

        The page table lock is held; a CPU may still write through the old entry until the exchange happens.
        """
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.get(address)
        if mm.swap_ptes:
            mm.swap_ptes.pop(address, None)
        if pte is not None:
            mm.ptes[address] = pte
        elif before is not None:
            del mm.ptes[address]
        for listener in self.pte_listeners:
            listener(mm, address, before, pte)
        return before

    @override
    async def set_swap_pte(self, mm: AddressSpace, address: int, slot: SwapSlot | None) -> Pte | None:
        """Put a swap entry, or nothing, in the place of whatever is there; returns the present entry before, with the
        dirty bit it had at that instant. The page table lock is held."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.pop(address, None)
        if slot is not None:
            mm.swap_ptes[address] = slot
        else:
            mm.swap_ptes.pop(address, None)
        for listener in self.pte_listeners:
            listener(mm, address, before, None)
        return before

    @override
    async def ptep_set_wrprotect(self, mm: AddressSpace, address: int) -> Pte:
        """Take the write permission of a present entry away; returns the entry as it is now."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes[address]
        pte = mm.ptes[address] = before._replace(write=False)
        for listener in self.pte_listeners:
            listener(mm, address, before, pte)
        return pte

    @override
    def ptep_clear_flush_young(self, mm: AddressSpace, address: int) -> bool:
        """Whether the page at an address was accessed since somebody last asked. The page table lock is held."""
        self.conductor.touch(RELEASE, mm, ("young", address))
        young = address in mm.young
        mm.young.discard(address)
        return young

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

        The check of the entry and the store are one operation: whoever write-protects an entry invalidates the
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
        self.conductor.touch(RELEASE, pte.frame, "content")  # orders nobody: the CPU stores when it likes
        pte.frame.content = content
        pte.frame.writer = self.conductor.turn.number
        if not pte.dirty:
            mm.ptes[address] = pte._replace(dirty=True)
        for observer in self.observers:
            observer.wrote(mm, address, pte.frame)
        return True
