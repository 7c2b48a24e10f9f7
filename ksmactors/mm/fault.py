"""Page faults: first touch, copy on write, waiting for a migration (mm/memory.c)."""

from __future__ import annotations

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EFAULT, ENOMEM, VM_FAULT_OOM, VM_FAULT_WRITE
from ksmactors.mm.frame import Frame
from ksmactors.mm.rmap import Rmap


class Faults(Rmap):
    """handle_mm_fault and what it calls. Faults of one address space run concurrently: mmap_sem is shared."""

    async def fault(self, mm: AddressSpace, address: int, write: bool) -> int:
        """Serve one page fault of a thread: 0 (try the access again), -EFAULT (SIGSEGV) or -ENOMEM."""
        await mm.down_read()
        vma = mm.vma_at(address)
        result = await self.handle_mm_fault(mm, vma, address, write) if vma is not None else 0
        await mm.up_read()
        if vma is None:
            return -EFAULT
        return -ENOMEM if result & VM_FAULT_OOM else 0

    async def handle_mm_fault(self, mm: AddressSpace, vma: Vma, address: int, write: bool) -> int:
        """Make an access possible, or find that somebody else just did: VM_FAULT_ bits. mmap_sem is held."""
        await self.conductor.point(READ, mm, address)
        entry = mm.ptes.get(address)
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

    async def do_anonymous_page(self, mm: AddressSpace, vma: Vma, address: int, write: bool) -> int:
        """First touch: the zero page for a read, a new page of the region's node for a write."""
        if not write:
            await mm.page_table_lock.lock()
            if address not in mm.ptes:
                await self.set_pte(mm, address, Pte(self.zero_page))
            await mm.page_table_lock.unlock()
            return 0
        self.anon_vma_prepare(vma)
        page = await self.alloc_page(vma.nid)
        if page is None:
            return VM_FAULT_OOM
        await mm.page_table_lock.lock()
        if address in mm.ptes:
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

    def reuse_swap_page(self, page: Frame) -> bool:
        """Whether a write fault may keep the locked page for itself: never a KSM page (v3.9)."""
        return not page.is_ksm and page.mapcount <= 1

    async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        """A write to a read-only entry: make it writable in place, or copy. The page table lock is held on entry,
        released on return.

        A KSM page is never locked here and never reused, always copied; neither its rmap_item nor its stable node
        is told. Returns VM_FAULT_WRITE, VM_FAULT_OOM, or 0 if the entry changed meanwhile.
        """
        page = entry.frame
        if page is not self.zero_page and not page.is_ksm:
            if not await page.trylock():
                await page.get()
                await mm.page_table_lock.unlock()
                await page.lock()
                await mm.page_table_lock.lock()
                if mm.ptes.get(address) != entry:
                    self.pte_changed(mm, page)
                    await page.unlock()
                    await mm.page_table_lock.unlock()
                    await page.put()
                    return 0
                await page.put()
            if self.reuse_swap_page(page):
                page.mapping = vma.anon_vma
                await page.unlock()
                await self.set_pte(mm, address, entry._replace(write=True, dirty=True))
                self.memory_epoch += 1
                self.emit(ev.DO_WP_PAGE, mm.name, address, page.pfn, page.pfn, page.nid)
                await mm.page_table_lock.unlock()
                return VM_FAULT_WRITE
            await page.unlock()
        return await self.wp_page_copy(mm, vma, address, entry)

    async def wp_page_copy(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        """The copying half of do_wp_page: the copy comes from the region's node."""
        old = entry.frame
        counted = old is not self.zero_page
        if counted:
            await old.get()
        await mm.page_table_lock.unlock()
        self.anon_vma_prepare(vma)
        new = await self.alloc_page(vma.nid)
        if new is None:
            if counted:
                await old.put()
            return VM_FAULT_OOM
        await new.write_content(await old.read_content())
        await mm.page_table_lock.lock()
        result = 0
        if mm.ptes.get(address) == entry:
            self.page_add_new_anon_rmap(new, vma, address)
            await self.set_pte(mm, address, Pte(new, write=True, dirty=True))
            self.memory_epoch += 1
            self.emit(ev.DO_WP_PAGE, mm.name, address, new.pfn, old.pfn, new.nid)
            result = VM_FAULT_WRITE
            if counted:
                old.mapcount -= 1
        else:
            self.pte_changed(mm, old)
        await mm.page_table_lock.unlock()
        if not result:
            await new.put()
        elif counted:
            await old.put()
        if counted:
            await old.put()
        return result
