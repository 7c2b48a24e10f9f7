"""Page table entries (asm-generic/pgtable.h): reading and changing them under the page table lock.

A change of an entry is one operation that also invalidates the TLB: who comes later sees it, on every CPU.
"""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, WRITE
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import seam


class PageTables(MmCore):
    """The entries of an address space. One that names a swap slot is kept apart (`AddressSpace.swap_ptes`)."""

    def page_at(self, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address, for observers: no point, no lock."""
        return mm.ptes.get(address)

    @override
    @seam
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        """ptep_clear_flush and set_pte_at in one: the entry before, with the dirty bit it had at that instant.

        The page table lock is held; a CPU may still write through the old entry until the exchange happens.
        """
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.get(address)
        if mm.swap_ptes:
            mm.swap_ptes.pop(address, None)
        if mm.hwpoison_ptes:
            mm.hwpoison_ptes.pop(address, None)
        if pte is not None:
            mm.ptes[address] = pte
        elif before is not None:
            del mm.ptes[address]
        for listener in self.pte_listeners:
            listener(mm, address, before, pte)
        return before

    @override
    @seam
    async def set_swap_pte(self, mm: AddressSpace, address: int, slot: SwapSlot | None) -> Pte | None:
        """Put a swap entry, or nothing, in the place of whatever is there; returns the present entry before, with the
        dirty bit it had at that instant. The page table lock is held."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.pop(address, None)
        mm.hwpoison_ptes.pop(address, None)
        if slot is not None:
            mm.swap_ptes[address] = slot
        else:
            mm.swap_ptes.pop(address, None)
        for listener in self.pte_listeners:
            listener(mm, address, before, None)
        return before

    @override
    @seam
    async def set_hwpoison_pte(self, mm: AddressSpace, address: int, page: Frame) -> Pte | None:
        """Put an entry that names a frame whose memory has failed in the place of whatever is there; returns the
        present entry before, as set_swap_pte does. The page table lock is held."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.pop(address, None)
        mm.swap_ptes.pop(address, None)
        mm.hwpoison_ptes[address] = page
        for listener in self.pte_listeners:
            listener(mm, address, before, None)
        return before

    @override
    @seam
    async def ptep_set_wrprotect(self, mm: AddressSpace, address: int) -> Pte:
        """Take the write permission of a present entry away; returns the entry as it is now."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes[address]
        pte = mm.ptes[address] = before._replace(write=False)
        for listener in self.pte_listeners:
            listener(mm, address, before, pte)
        return pte

    @override
    @seam
    def ptep_clear_flush_young(self, mm: AddressSpace, address: int) -> bool:
        """Whether the page at an address was accessed since the last call. The page table lock is held."""
        self.conductor.touch(RELEASE, mm, ("young", address))
        young = address in mm.young
        mm.young.discard(address)
        return young

    @override
    @seam
    def pte_none(self, mm: AddressSpace, address: int) -> bool:
        """Whether there is no entry at an address. The page table lock is held."""
        return address not in mm.ptes and address not in mm.swap_ptes and address not in mm.hwpoison_ptes

    @override
    @seam
    def swap_pte_same(self, mm: AddressSpace, address: int, slot: SwapSlot, page: Frame) -> bool:
        """Whether `page` may still be mapped: the entry names the same slot as before. The page table lock is held."""
        return mm.swap_ptes.get(address) is slot
