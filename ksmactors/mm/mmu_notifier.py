"""Secondary mappings of an address space, as KVM has them, and the notifiers that keep them true.

mm/mmu_notifier.c and virt/kvm/kvm_main.c. A guest reaches memory through a secondary page table. Its entries hold no
reference on a page. What changes a page table entry announces that first: KVM drops its entries of the range, and makes
no new ones until the end is announced, too.
"""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.content import Content
from ksmactors.mm.core import MmCore
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.secondary import SecondaryMmu, Spte
from ksmactors.seams import seam


class SecondaryObserver(Protocol):
    """Is notified when an entry has come into a secondary page table."""

    def mapped(self, mm: AddressSpace, address: int, spte: Spte) -> None:
        """A guest may use the entry from now on."""


class MmuNotifiers(MmCore):
    """What announces changes of page table entries, KVM's answer to that, and the accesses of guests."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.secondary_observers: list[SecondaryObserver] = []

    # -- announcements ------------------------------------------------------------------------------------------------

    @override
    @seam
    async def mmu_notifier_invalidate_range_start(self, mm: AddressSpace, start: int, end: int) -> None:
        """Announce that entries in [start, end) are going to change: secondary mappings of them are gone on return.

        Nothing happens in an address space without a guest. No page table lock is held.
        """
        kvm = mm.secondary
        if kvm is None:
            return
        await kvm.mmu_lock.lock()
        self.conductor.touch(WRITE, kvm, "in_progress")
        kvm.in_progress += 1
        await self._unmap(kvm, start, end)
        await kvm.mmu_lock.unlock()

    @override
    @seam
    async def mmu_notifier_invalidate_range_end(self, mm: AddressSpace, start: int, end: int) -> None:
        """Announce that the entries have changed: a guest may fault them in again, if it looked at them afterwards."""
        kvm = mm.secondary
        if kvm is None:
            return
        await kvm.mmu_lock.lock()
        self.conductor.touch(WRITE, kvm, "in_progress")
        kvm.seq += 1
        kvm.in_progress -= 1
        await kvm.mmu_lock.unlock()

    @override
    @seam
    async def mmu_notifier_invalidate_page(self, mm: AddressSpace, address: int, end: int) -> None:
        """Announce that entries have been emptied, whose pages the caller keeps: v3.9's way where reverse mapping
        unmaps a page. Secondary mappings of [address, end) are gone on return. No page table lock is held."""
        kvm = mm.secondary
        if kvm is None:
            return
        await kvm.mmu_lock.lock()
        self.conductor.touch(WRITE, kvm, "in_progress")
        kvm.seq += 1
        await self._unmap(kvm, address, end)
        await kvm.mmu_lock.unlock()

    async def _unmap(self, kvm: SecondaryMmu, start: int, end: int) -> None:
        """kvm_unmap_hva_range, with the flush of remote TLBs: what a guest has written makes the page dirty."""
        for address in sorted(kvm.sptes):
            if start <= address < end:
                await self.conductor.point(WRITE, kvm, address)
                spte = kvm.sptes.pop(address)
                if spte.dirty:
                    spte.frame.must_be_alive("kvm_set_pfn_dirty")
                    spte.frame.dirty = True

    # -- KVM ------------------------------------------------------------------------------------------------------

    @seam
    def kvm_create(self, mm: AddressSpace) -> SecondaryMmu:
        """Have a guest use the memory of an address space (kvm_create_vm, mmu_notifier_register)."""
        if mm.secondary is None:
            mm.secondary = SecondaryMmu(self.conductor, mm.number, mm.name)
        return mm.secondary

    @seam
    async def kvm_fault(self, mm: AddressSpace, address: int, write: bool) -> int:
        """Serve a fault of a guest: 0 (it tries the access again) or a negative errno, as get_user_pages.

        The page is looked up as for I/O, without a lock. An invalidation that has begun, or ended since, means that it
        may not be the right page any more: then nothing is mapped. Source: tdp_page_fault(), v3.9.
        """
        kvm = self.kvm_create(mm)
        seq = await kvm.read_notifier_seq()
        page = await self.get_user_pages(mm, address, write)
        if isinstance(page, int):
            return page
        await self.direct_map(mm, address, Spte(page, write), seq)
        await page.put()
        return 0

    @seam
    async def direct_map(self, mm: AddressSpace, address: int, spte: Spte, seq: int) -> None:
        """Map the page that a fault has looked up when `seq` invalidations had ended, if it must still be the right
        one. The caller has a reference on it. Source: tdp_page_fault(), __direct_map(), v3.9."""
        kvm = self.kvm_create(mm)
        await kvm.mmu_lock.lock()
        if not self.mmu_notifier_retry(kvm, seq):
            await self.conductor.point(WRITE, kvm, address)
            kvm.sptes[address] = spte
            for observer in self.secondary_observers:
                observer.mapped(mm, address, spte)
        await kvm.mmu_lock.unlock()

    @seam
    def mmu_notifier_retry(self, kvm: SecondaryMmu, seq: int) -> bool:
        """Whether the page that a fault has looked up when `seq` invalidations had ended may be another one by now.
        mmu_lock is held."""
        self.conductor.touch(READ, kvm, "in_progress")
        return kvm.in_progress > 0 or kvm.seq != seq

    # -- the guest ------------------------------------------------------------------------------------------------

    @seam
    async def guest_read(self, mm: AddressSpace, address: int) -> Content | None:
        """Read a page as a guest does; None if that takes a fault of the guest."""
        kvm = self.kvm_create(mm)
        await self.conductor.point(READ, kvm, address)
        spte = kvm.sptes.get(address)
        if spte is None:
            return None
        self.conductor.touch(YIELD, spte.frame, "content")
        spte.frame.must_be_alive("a read by a guest")
        self._accessed(mm, address)
        for observer in self.observers:
            observer.read(mm, address, spte.frame)
        return spte.frame.content

    @seam
    async def guest_write(self, mm: AddressSpace, address: int, content: Content) -> bool:
        """Overwrite a page as a guest does; False if that takes a fault of the guest."""
        kvm = self.kvm_create(mm)
        await self.conductor.point(WRITE, kvm, address)
        spte = kvm.sptes.get(address)
        if spte is None or not spte.write:
            return False
        page = spte.frame
        page.must_be_alive("a write by a guest")
        self.memory_epoch += 1
        self._accessed(mm, address)
        self.conductor.touch(RELEASE, page, "content")  # no order: a guest stores at any time
        page.content = content
        page.writer = self.conductor.turn.number
        kvm.sptes[address] = spte._replace(dirty=True)
        for observer in self.observers:
            observer.wrote(mm, address, page)
        return True

    def _accessed(self, mm: AddressSpace, address: int) -> None:
        if self.aging:
            self.conductor.touch(RELEASE, mm, ("young", address))
            mm.young.add(address)
