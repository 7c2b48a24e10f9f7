"""Where the rest of mm comes in: madvise, fork, exit, reverse mapping, migration."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, YIELD
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import KSM_RUN_UNMERGE, MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import ENOMEM, MADV_MERGEABLE
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame, KsmMapping
from ksmactors.mm.hooks import RmapOne
from ksmactors.seams import part, seam


class EntryPoints(SharedState):
    """The functions of include/linux/ksm.h. None of them takes ksm_thread_mutex."""

    @override
    async def ksm_madvise(self, vma: Vma, start: int, end: int, advice: int) -> tuple[int, bool]:
        """Register, or unmerge a range: (0 or -errno, the vma's new VM_MERGEABLE). mmap_sem is held for write.

        After an error of UNMERGEABLE the advice stays, and part of the range may be unmerged.
        """
        if advice == MADV_MERGEABLE:
            if not vma.mm.registered:
                failed = await self.ksm_enter(vma.mm)
                if failed:
                    return failed, vma.mergeable
            return 0, True
        if vma.mergeable and vma.anon_vma is not None:
            failed = await self.unmerge_ksm_pages(vma, start, end)
            if failed:
                return failed, True
        return 0, False

    @seam
    def alloc_mm_slot(self, mm: AddressSpace) -> MmSlot | None:
        """A new slot; None when there is no memory (never, without fault injection)."""
        return None if self.inject("alloc_mm_slot") else self.as_instrumented(MmSlot(mm))

    @seam
    async def ksm_enter(self, mm: AddressSpace) -> int:
        """__ksm_enter: put an address space just behind the cursor, or at the very end while run is 2: 0 or -ENOMEM.

        `ksm_run` is read without the mutex, but while the list is locked: run=2 is stored before unmerging puts the
        cursor on the first slot under the same lock, so a registration that still reads 1 here is visited by unmerging.
        """
        slot = self.alloc_mm_slot(mm)
        if slot is None:
            return -ENOMEM
        self.conductor.touch(YIELD, self.ksm_mm_head, "")
        needs_wakeup = self._nobody_registered()
        await self.ksm_mmlist_lock.lock()
        needs_wakeup = self.needs_wakeup(needs_wakeup)
        self.conductor.touch(READ, self.ksm_scan, "mm_slot")
        at_end = bool(await self.read_ksm_run() & KSM_RUN_UNMERGE)
        await self.insert_slot(slot, at_end=at_end)
        await self.ksm_mmlist_lock.unlock()
        mm.registered = True
        mm.count += 1
        self.emit(ev.KSM_ENTER, mm.name)
        if needs_wakeup:
            self.wake_ksmd()
        return 0

    def _nobody_registered(self) -> bool:
        """Whether the list of address spaces is empty: ksmd may have gone to sleep because of that."""
        return self.ksm_mm_head.next is self.ksm_mm_head

    @part
    def needs_wakeup(self, was_empty: bool) -> bool:
        """Whether a registration wakes ksmd. ksm_mmlist_lock is held; `was_empty` is the result of an earlier, unlocked
        test of the list, which is all that v3.9 uses."""
        return was_empty

    @seam
    def wake_ksmd(self) -> None:
        """The end of a registration on an empty list."""
        self.ksm_thread_wait.wake_all()

    @seam
    async def insert_slot(self, slot: MmSlot, *, at_end: bool) -> None:
        """Hash a slot and put it in its place on the list. ksm_mmlist_lock."""
        await self.mm_list_add(slot, self.ksm_mm_head if at_end else self.ksm_scan.mm_slot)

    @override
    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        """Register the child of a registered parent, before anything is copied."""
        return await self.ksm_enter(mm) if oldmm.registered else 0

    @override
    async def ksm_exit(self, mm: AddressSpace) -> None:
        """__ksm_exit: the last user has gone, the page tables still exist.

        Frees the slot if it has no items and the cursor is elsewhere; else ksmd will, and this waits until the actors
        in the page tables have left them (a cycle of mmap_sem).
        """
        if not mm.registered:
            self.conductor.touch(ACQUIRE, mm, "registered")
            return
        await self.ksm_mmlist_lock.lock()
        self.conductor.touch(READ, self.ksm_scan, "mm_slot")
        slot = self.mm_slots_hash.get(mm.number)
        easy_to_free = False
        if slot is not None and self.ksm_scan.mm_slot is not slot:
            easy_to_free = slot.rmap_list is None
            if easy_to_free:
                await self.mm_list_del(slot)
            else:
                await self.mm_list_move(slot, self.ksm_scan.mm_slot)
        await self.ksm_mmlist_lock.unlock()
        if easy_to_free and slot is not None:
            self.free_mm_slot(slot)
            mm.registered = False
            self.emit(ev.KSM_EXIT, mm.name)
            self.mmdrop(mm)
        elif slot is not None:
            await mm.down_write()
            await mm.up_write()

    @override
    async def rmap_walk_ksm(self, page: Frame, rmap_one: RmapOne) -> None:
        """Visit the places that may map a locked KSM page: first each item's own mm, then those forked from it.

        A page without a node is nowhere to be found.
        """
        node = page.stable_node
        if not isinstance(node, StableNode):
            return
        self.conductor.touch(READ, node, "hlist")
        for search_new_forks in (False, True):
            for item in node.hlist():
                self.conductor.touch(READ, node, "hlist")
                if await self._walk_item(item, rmap_one, search_new_forks):
                    return

    @seam
    def vmas_of_item(self, item: RmapItem) -> list[Vma]:
        """The vmas that a walk for an item asks its anon_vma for. Its lock is held."""
        return item.anon_vma.vmas

    async def _walk_item(self, item: RmapItem, rmap_one: RmapOne, search_new_forks: bool) -> bool:
        anon_vma = item.anon_vma
        await anon_vma.rwsem.down_read()
        anon_vma.must_be_alive()
        done = False
        self.conductor.touch(READ, anon_vma, "vmas")
        for vma in self.vmas_of_item(item):
            if not vma.start <= item.address < vma.end:
                await self.conductor.point(READ, anon_vma, "vmas")  # passing over it takes time, too
            elif (vma.mm is not item.mm) == search_new_forks:
                done = await rmap_one(vma, item.address)
                if done:
                    break
        await anon_vma.rwsem.up_read()
        return done

    @override
    async def ksm_might_need_to_copy(self, page: Frame, vma: Vma, address: int) -> Frame | None:
        """Return the page to map after a fault has found a locked page in the swap cache: itself, or a locked copy.
        None when out of memory.

        A KSM page may be mapped as it is while it has a node and run is not 2; an ordinary page only by processes that
        could have mapped it before. A page that could not be read is returned for the caller to report. The anon_vma of
        an unmapped page may have been freed by now: then it is not the vma's, and is not used further (K6). Source:
        ksm_might_need_to_copy(), v3.9.
        """
        if await self.may_be_mapped_as_it_is(page, vma, address):
            return page
        if self.swap_page_is_unread(page):
            return page
        new = await self.alloc_page(vma.nid)
        if new is not None:
            await new.write_content(await page.read_content())
            new.dirty = True
            await new.lock()
        return new

    @seam
    async def may_be_mapped_as_it_is(self, page: Frame, vma: Vma, address: int) -> bool:
        """Whether a page of the swap cache needs no copy to be mapped in a vma. The page is locked."""
        mapping = await page.read_mapping()
        if isinstance(mapping, KsmMapping):
            return await self.ksm_page_may_be_mapped(mapping)
        if mapping is None:
            return True
        if vma.anon_vma is None or mapping.root is not vma.anon_vma.root:
            return False
        self.conductor.touch(READ, page, "index")
        return page.index == vma.index_of(address)

    @part
    async def ksm_page_may_be_mapped(self, mapping: KsmMapping) -> bool:
        """Whether a KSM page of the swap cache may be mapped as one again: if it has a node, and run is not 2."""
        return mapping.stable_node is not None and not await self.is_unmerging()

    @part
    async def is_unmerging(self) -> bool:
        """Whether a KSM page may not be mapped again because run is 2."""
        return bool(await self.read_ksm_run() & KSM_RUN_UNMERGE)

    @part
    def swap_page_is_unread(self, page: Frame) -> bool:
        """Whether a page of the swap cache could not be read from the device: it is not uptodate."""
        slot = page.swap
        return slot is not None and not slot.uptodate

    @override
    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        """W3 to W5: the node learns of its new page first, then the old page forgets the node. Both are locked."""
        node = newpage.stable_node
        if not isinstance(node, StableNode):
            return
        await self.write_kpfn(node, newpage.pfn)  # W3
        self.smp_wmb()  # W4
        await oldpage.set_mapping(KSM_WITHOUT_NODE)  # W5
        self.emit(ev.KSM_MIGRATE_PAGE, node.number, newpage.pfn, oldpage.pfn, newpage.nid, node.nid)
