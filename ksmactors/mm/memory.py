"""Page faults: first touch, copy on write, swap-in; and entries that go or are copied (mm/memory.c)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, YIELD
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import PAGE_SIZE, VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_WRITE
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import part, seam


class Memory(MmCore):
    """handle_mm_fault and what it calls. Faults of one address space run concurrently: mmap_sem is shared."""

    @override
    @seam
    async def handle_mm_fault(self, mm: AddressSpace, vma: Vma, address: int, write: bool) -> int:
        """Make an access possible, or find that another actor has done so: VM_FAULT_ bits. mmap_sem is held."""
        vma.must_be_alive()
        await self.conductor.point(READ, mm, address)
        entry = mm.ptes.get(address)
        if entry is None and (slot := mm.swap_ptes.get(address)) is not None:
            return await self.do_swap_page(mm, vma, address, slot, write)
        if entry is None and address in mm.hwpoison_ptes:
            return VM_FAULT_HWPOISON
        if entry is None:
            return await self.do_anonymous_page(mm, vma, address, write)
        if entry.migration:
            await self.migration_entry_wait(mm, address)
            return 0
        await mm.page_table_lock.lock()
        if mm.ptes.get(address) == entry and write and not entry.write:
            return await self.do_wp_page(mm, vma, address, entry)
        await mm.page_table_lock.unlock()
        return 0

    @seam
    async def do_anonymous_page(self, mm: AddressSpace, vma: Vma, address: int, write: bool) -> int:
        """First touch: the zero page for a read, a new page of the region's node for a write."""
        if not write:
            await mm.page_table_lock.lock()
            if self.pte_none(mm, address):
                await self.set_pte(mm, address, Pte(self.zero_page))
            await mm.page_table_lock.unlock()
            return 0
        page = await self.alloc_page(vma.nid) if self.anon_vma_prepare(vma) else None
        if page is None:
            return VM_FAULT_OOM
        await mm.page_table_lock.lock()
        if not self.pte_none(mm, address):
            self.pte_changed(mm, page)
            await mm.page_table_lock.unlock()
            await page.put()
            return 0
        self.page_add_new_anon_rmap(page, vma, address)
        await self.set_pte(mm, address, Pte(page, write=True, dirty=True))
        self.memory_epoch += 1
        self.emit(ev.DO_ANONYMOUS_PAGE, mm.name, address, page.pfn, page.nid)
        await mm.page_table_lock.unlock()
        return 0

    # -- swap ---------------------------------------------------------------------------------------------------

    @seam
    async def do_swap_page(self, mm: AddressSpace, vma: Vma, address: int, slot: SwapSlot, write: bool) -> int:
        """Bring a page back that is in the swap cache or on the device: VM_FAULT_ bits, 0 if the entry changed.

        A KSM page that is still in the cache is mapped as such, without an rmap_item, unless KSM wants a copy; what
        was read from the device is an ordinary page of the first that faults on it. mmap_sem is held. Source:
        do_swap_page(), v3.9.
        """
        swapcache = await self.lookup_swap_cache(slot)
        if swapcache is None:
            swapcache = await self.read_swap_cache(slot, vma.nid)
        elif self.page_hwpoison(swapcache):  # memory_failure has left it in the cache for this
            await swapcache.put()
            return VM_FAULT_HWPOISON
        if swapcache is None:
            return VM_FAULT_OOM if mm.swap_ptes.get(address) is slot else 0
        await swapcache.lock()
        if swapcache.swap is not slot:
            await swapcache.unlock()
            await swapcache.put()
            return 0
        page = await self.ksm_might_need_to_copy(swapcache, vma, address)
        if page is None:
            await swapcache.unlock()
            await swapcache.put()
            return VM_FAULT_OOM
        result, pte = await self.map_swapped_page(vma, address, slot, page, swapcache, write)
        if pte is None or not write or result & VM_FAULT_WRITE:
            if pte is not None:
                await mm.page_table_lock.unlock()
            return result
        return result | await self.do_wp_page(mm, vma, address, pte)

    @seam
    async def map_swapped_page(
        self, vma: Vma, address: int, slot: SwapSlot, page: Frame, swapcache: Frame, write: bool
    ) -> tuple[int, Pte | None]:
        """The part of do_swap_page under the page table lock, which stays held if it returns the new entry.

        `page` is `swapcache` or a copy of it; both are unlocked on return, and what is not mapped is put.
        """
        mm = vma.mm
        await mm.page_table_lock.lock()
        result, pte = 0, None
        if not self.swap_pte_same(mm, address, slot, page):
            self.pte_changed(mm, page)
        elif page is swapcache and not slot.uptodate:
            result = VM_FAULT_SIGBUS
        else:
            self.memory_epoch += 1
            exclusive = await self.is_swapped_exclusive(mm, address, page, write)
            writable = write and exclusive
            if writable:
                result = VM_FAULT_WRITE
            pte = Pte(page, write=writable, dirty=writable)
            await self.set_pte(mm, address, pte)
            if page is swapcache:
                self.page_add_anon_rmap(page, vma, address, exclusive=exclusive)
            else:
                self.page_add_new_anon_rmap(page, vma, address)
            self.emit(ev.DO_SWAP_PAGE, mm.name, address, page.pfn, swapcache.pfn, page.nid)
            await self.swap_free(slot)
            if self.swap.full or vma.locked or page.mlocked:
                await self.try_to_free_swap(page)
        if pte is None:
            await mm.page_table_lock.unlock()
        await page.unlock()
        if page is not swapcache:
            await swapcache.unlock()
            await swapcache.put()
        if pte is None:
            await page.put()
        return result, pte

    @seam
    async def is_swapped_exclusive(self, mm: AddressSpace, address: int, page: Frame, write: bool) -> bool:
        """Whether a page that is to be mapped in the place of a swap entry is this process's alone: only asked for a
        write, in v3.9. Page and page table are locked."""
        return write and await self.reuse_swap_page(page)

    # -- copy on write ------------------------------------------------------------------------------------------

    @seam
    async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        """Handle a write to a read-only entry: make it writable in place, or copy the page. The page table lock is held
        on entry, released on return.

        A KSM page is never locked here and never reused, always copied; neither its rmap_item nor its stable node is
        updated. Returns VM_FAULT_WRITE, VM_FAULT_OOM, or 0 if the entry changed meanwhile.
        """
        self.conductor.touch(YIELD, entry.frame, "mapping")
        own = await self.wp_page_becomes_own(mm, vma, address, entry)
        if own is None:
            return 0
        return await (self.wp_page_reuse(mm, address, entry) if own else self.wp_page_copy(mm, vma, address, entry))

    @part
    async def wp_page_becomes_own(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> bool | None:
        """Whether the page of a read-only entry is, from now on, the process's own; if not it must be copied: the zero
        page and KSM pages always. The page table lock is held on entry and on return, unless the entry has changed
        meanwhile (None).

        What a write fault and an unsharing fault (v5.19) have in common.
        """
        page = entry.frame
        if page is self.zero_page or page.is_ksm:
            return False
        reusable = await self.wp_can_reuse(mm, address, entry)
        if reusable:
            self.page_move_anon_rmap(page, vma)
            await page.unlock()
        return reusable

    @seam
    async def wp_can_reuse(self, mm: AddressSpace, address: int, entry: Pte) -> bool | None:
        """Whether a write fault may keep an ordinary page, which is locked then. None: the entry has changed while the
        page lock was waited for, and the page table lock is released."""
        page = entry.frame
        if not await self.trylock_page(page):
            await page.get()
            await mm.page_table_lock.unlock()
            await page.lock()
            await mm.page_table_lock.lock()
            if mm.ptes.get(address) != entry:
                self.pte_changed(mm, page)
                await page.unlock()
                await mm.page_table_lock.unlock()
                await page.put()
                return None
            await page.put()
        if await self.reuse_swap_page(page):
            return True
        await page.unlock()
        return False

    @seam
    async def wp_page_reuse(self, mm: AddressSpace, address: int, entry: Pte) -> int:
        """The other half of do_wp_page: the page, which only this entry maps, becomes writable where it is. The page
        table lock is released."""
        page = entry.frame
        await self.set_pte(mm, address, entry._replace(write=True, dirty=True))
        self.memory_epoch += 1
        self.emit(ev.DO_WP_PAGE, mm.name, address, page.pfn, page.pfn, page.nid)
        await mm.page_table_lock.unlock()
        return VM_FAULT_WRITE

    @seam
    async def wp_page_copy(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte, *, write: bool = True) -> int:
        """The copying half of do_wp_page: the copy comes from the region's node, and is mapped for a write unless not
        wanted. The page table lock is held on entry, released on return."""
        old = entry.frame
        counted = old is not self.zero_page
        if counted:
            await old.get()
        await mm.page_table_lock.unlock()
        new = await self.alloc_page(vma.nid) if self.anon_vma_prepare(vma) else None
        if new is None:
            if counted:
                await old.put()
            return VM_FAULT_OOM
        await new.write_content(await old.read_content())
        await self.mmu_notifier_invalidate_range_start(mm, address, address + PAGE_SIZE)
        await mm.page_table_lock.lock()
        result = 0
        if mm.ptes.get(address) == entry:
            self.page_add_new_anon_rmap(new, vma, address)
            await self.set_pte(mm, address, Pte(new, write=write, dirty=write))
            self.memory_epoch += 1
            self.emit(ev.DO_WP_PAGE, mm.name, address, new.pfn, old.pfn, new.nid)
            result = VM_FAULT_WRITE
            if counted:
                self.page_remove_rmap(old)
        else:
            self.pte_changed(mm, old)
        await mm.page_table_lock.unlock()
        await self.mmu_notifier_invalidate_range_end(mm, address, address + PAGE_SIZE)
        if not result:
            await new.put()
        elif counted:
            await self.page_was_copied(old)
            await old.put()
            if vma.locked:
                await self.munlock_copied_page(old)
        if counted:
            await old.put()
        return result

    @seam
    async def page_was_copied(self, old: Frame) -> None:
        """A write fault has mapped a copy in the place of a page, which still has the reference of that mapping."""

    @part
    async def munlock_copied_page(self, old: Frame) -> None:
        """A write fault in a VM_LOCKED vma has copied a page: that vma does not keep it in memory any more. The caller
        has a reference."""
        await old.lock()
        await self.munlock_vma_page(old)
        await old.unlock()

    # -- munmap and exit ----------------------------------------------------------------------------------------

    @override
    @seam
    async def zap_page_range(self, mm: AddressSpace, start: int, end: int, step: int) -> None:
        """Empty the entries in [start, end); the pages are put when the page table lock is free again."""
        self.lru_add_drain()
        gone: list[Frame] = []
        await self.mmu_notifier_invalidate_range_start(mm, start, end)
        await mm.page_table_lock.lock()
        for address in range(start, end, step):
            pte = mm.ptes.get(address)
            if pte is None:
                if address in mm.swap_ptes:
                    await self.zap_swap_pte(mm, address)
                elif address in mm.hwpoison_ptes:
                    await self.zap_hwpoison_pte(mm, address)
                continue
            await self.set_pte(mm, address, None)
            self.memory_epoch += 1
            for observer in self.observers:
                observer.zapped(mm, address)
            if pte.migration:
                self.migration_entry_to_page(pte)
            elif pte.frame is not self.zero_page:
                self.page_remove_rmap(pte.frame)
                gone.append(pte.frame)
        await mm.page_table_lock.unlock()
        await self.mmu_notifier_invalidate_range_end(mm, start, end)
        for page in gone:
            await self.free_swap_cache(page)
            await page.put()

    @seam
    async def zap_swap_pte(self, mm: AddressSpace, address: int) -> None:
        """Empty a swap entry. The page table lock is held."""
        slot = mm.swap_ptes[address]
        await self.set_swap_pte(mm, address, None)
        for observer in self.observers:
            observer.zapped(mm, address)
        await self.free_swap_and_cache(slot)

    @part
    async def zap_hwpoison_pte(self, mm: AddressSpace, address: int) -> None:
        """Empty an entry that names a frame whose memory has failed. The page table lock is held."""
        await self.set_pte(mm, address, None)
        for observer in self.observers:
            observer.zapped(mm, address)

    # -- fork ---------------------------------------------------------------------------------------------------

    @override
    @seam
    async def copy_page_range(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma) -> int:
        """Copy the entries of one vma: 0 or -ENOMEM. Of a vma without an anon_vma nothing is copied: a fault finds the
        same zero page again."""
        if vma.anon_vma is None:
            return 0
        failed = 0
        self.memory_epoch += 1
        await self.mmu_notifier_invalidate_range_start(oldmm, vma.start, vma.end)
        await mm.page_table_lock.lock()
        await oldmm.page_table_lock.lock()
        for address in range(vma.start, vma.end, PAGE_SIZE):
            failed = await self.copy_one_pte(mm, oldmm, vma, address)
            if failed:
                break
            if not self.pte_none(mm, address):
                for observer in self.observers:
                    observer.copied(mm, oldmm, address)
        await oldmm.page_table_lock.unlock()
        await mm.page_table_lock.unlock()
        await self.mmu_notifier_invalidate_range_end(oldmm, vma.start, vma.end)
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
        elif (page := oldmm.hwpoison_ptes.get(address)) is not None:
            await self.set_hwpoison_pte(mm, address, page)
        return 0

    async def _copy_pte_of_frame(self, mm: AddressSpace, oldmm: AddressSpace, address: int, pte: Pte) -> None:
        if pte.write:
            pte = await self.ptep_set_wrprotect(oldmm, address)
        if not pte.migration and pte.frame is not self.zero_page:
            await pte.frame.get()
            pte.frame.change_mapcount(1)
        await self.set_pte(mm, address, pte)
