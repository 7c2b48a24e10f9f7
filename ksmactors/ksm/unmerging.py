"""Taking merged pages apart again: break_ksm, break_cow, run=2."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EBUSY, ENOMEM, ERESTARTSYS, PAGE_SIZE, VM_FAULT_OOM, VM_FAULT_WRITE
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame, KsmMapping
from ksmactors.mm.reports import misuse
from ksmactors.seams import part, seam


class Unmerging(SharedState):
    """Unmerging touches page table entries only; items and trees catch up at ksmd's next pass."""

    @seam
    async def break_ksm(self, vma: Vma, address: int) -> int:
        """Make sure that no KSM page is mapped at an address: 0 or -ENOMEM. mmap_sem is held.

        Waits for a migration that is under way there, then breaks what it brought (FOLL_MIGRATION).
        """
        mm = vma.mm
        while True:
            page = await self.page_to_break(mm, address)
            if page is None:
                return 0
            result = VM_FAULT_WRITE  # another actor broke it, or it never was one
            if isinstance(await page.read_mapping(), KsmMapping):
                result = await self.handle_mm_fault(mm, vma, address, True)
                self.emit(ev.BREAK_KSM, mm.name, address, page.pfn)
            await page.put()
            if result & VM_FAULT_OOM:
                return -ENOMEM
            if result & VM_FAULT_WRITE:
                return 0

    @part
    async def page_to_break(self, mm: AddressSpace, address: int) -> Frame | None:
        """The page at an address with a reference, a page under migration when it has come to its place; or None."""
        return await self.follow_page(mm, address, migration=True)

    @seam
    def find_mergeable_vma(self, mm: AddressSpace, address: int) -> Vma | None:
        """The vma at an address if ksmd may merge there. mmap_sem is held."""
        if self.ksm_test_exit(mm):
            return None
        self.conductor.touch(READ, mm, "vmas")
        vma = mm.vma_at(address)
        if vma is None or not vma.mergeable or vma.anon_vma is None:
            return None
        return vma

    @override
    @seam
    async def break_cow(self, item: RmapItem) -> None:
        """Undo a merge that could not be completed: give the mapping a page of its own. ksm_thread_mutex.

        The item has no flag and holds an anon_vma reference, which is dropped. Errors are ignored.
        """
        item.anon_vma.put()
        await self.break_mapping_of(item)

    @part
    async def break_mapping_of(self, item: RmapItem) -> int:
        """Give the process of an item a private copy where it maps a KSM page: 0, or -ENOMEM, and it keeps the page."""
        mm = item.mm
        self.emit(ev.BREAK_COW, item.number, mm.name, item.address)
        await mm.down_read()
        vma = self.find_mergeable_vma(mm, item.address)
        failed = await self.break_ksm(vma, item.address) if vma is not None else 0
        await mm.up_read()
        return failed

    @override
    @seam
    async def get_mergeable_page(self, item: RmapItem) -> Frame | None:
        """The page of an item in the unstable tree, with a reference; None if it is not there or not mergeable now."""
        item.must_be_alive()
        mm = item.mm
        await mm.down_read()
        page = None
        if self.find_mergeable_vma(mm, item.address) is not None:
            page = await self.follow_page(mm, item.address)
            if page is not None:
                self.conductor.touch(YIELD, page, "mapping")
                if not page.is_anon:
                    await page.put()
                    page = None
        await mm.up_read()
        return page

    @override
    @seam
    async def unmerge_ksm_pages(self, vma: Vma, start: int, end: int) -> int:
        """Break the KSM pages in [start, end) of a vma: 0 or the first error, -ERESTARTSYS if a signal waits for the
        caller. mmap_sem is held."""
        for address in range(start, end, PAGE_SIZE):
            if self.ksm_test_exit(vma.mm):
                break
            vma.must_be_alive()
            if self.conductor.turn.signal_pending:
                return -ERESTARTSYS
            failed = await self.break_ksm(vma, address)
            if failed:
                return failed
        return 0

    @seam
    async def remove_stable_node(self, node: StableNode) -> int:
        """Remove a node whose page is not mapped any more: 0, or -EBUSY (and a warning) if it is. ksm_thread_mutex."""
        page = await self.get_ksm_page(node, lock=True)
        if page is None:
            return 0
        result = -EBUSY
        if self.is_still_mapped(page):
            self._tell("kept", node)
            self.warn_still_mapped(page)
        else:
            await self.detach_stable_node(page)
            await self.remove_node_from_stable_tree(node)
            result = 0
        await page.unlock()
        await page.put()
        return result

    @part
    async def remove_stable_node_chain(self, node: StableNode) -> int:
        """Remove an entry of a tree: 0 or -EBUSY. In v3.9 each is a node."""
        return await self.remove_stable_node(node)

    @part
    def is_still_mapped(self, page: Frame) -> bool:
        """page_mapped(): then the node must stay."""
        return page.page_mapcount() > 0

    @part
    async def detach_stable_node(self, page: Frame) -> None:
        """Clear the link from an unmapped page that is alive (in swap, or referenced) to its node. The page is
        locked."""
        await page.set_mapping(KSM_WITHOUT_NODE)

    @seam
    def warn_still_mapped(self, page: Frame) -> None:
        """WARN_ON_ONCE(page_mapped(page)): v3.9 thinks this cannot be."""
        self.warn("remove_stable_node", f"pfn {page.pfn} is still mapped {page.mapcount} times", page)

    @override
    @seam
    async def remove_all_stable_nodes(self) -> int:
        """Remove all nodes, in trees and on migrate_nodes: 0, or -EBUSY if one could not be. ksm_thread_mutex."""
        result = 0
        for nid in range(self.ksm_nr_node_ids):
            result = await self._remove_tree(self.root_stable_tree[nid]) or result
        return await self.remove_migrate_nodes() or result

    async def _remove_tree(self, root: ContentTree[StableNode]) -> int:
        """Remove the nodes of one tree, up to the first that cannot be: 0 or -EBUSY."""
        while (entry := root.root) is not None:
            if await self.remove_stable_node_chain(entry):
                return -EBUSY
            if root.root is entry:
                raise misuse("left_in_tree", f"{entry} has been removed, and is still in {root.name}", entry)
        return 0

    @part
    async def remove_migrate_nodes(self) -> int:
        """Remove the nodes on migrate_nodes, all that can be: 0 or -EBUSY."""
        result = 0
        for node in list(self.migrate_nodes):
            if await self.remove_stable_node(node):
                result = -EBUSY
        return result

    @override
    @seam
    async def unmerge_and_remove_all_rmap_items(self) -> int:
        """run=2: 0, or the first error; then the address spaces not reached keep what they have. ksm_thread_mutex."""
        scan = self.ksm_scan
        await self.ksm_mmlist_lock.lock()
        self.conductor.touch(WRITE, scan, "mm_slot")
        scan.mm_slot = self.ksm_mm_head.next
        await self.ksm_mmlist_lock.unlock()
        while scan.mm_slot is not self.ksm_mm_head:
            slot = scan.mm_slot
            slot.must_be_alive()
            mm = slot.mm
            assert mm is not None, "only the head has no mm"
            await mm.down_read()
            failed = await self._unmerge_mm(mm)
            if failed:
                await mm.up_read()
                await self.ksm_mmlist_lock.lock()
                self.conductor.touch(WRITE, scan, "mm_slot")
                scan.mm_slot = self.ksm_mm_head
                await self.ksm_mmlist_lock.unlock()
                return failed
            await self.remove_trailing_rmap_items(slot)
            await self.leave_mm(mm, self.ksm_test_exit)
        await self.remove_all_stable_nodes()
        scan.seqnr = 0
        return 0

    async def _unmerge_mm(self, mm: AddressSpace) -> int:
        vma = self.first_vma_to_unmerge(mm)
        while vma is not None and not self.ksm_test_exit(mm):
            if vma.mergeable and vma.anon_vma is not None:
                failed = await self.unmerge_ksm_pages(vma, vma.start, vma.end)
                if failed:
                    return failed
            vma = mm.find_vma(vma.end)
        return 0

    @part
    def first_vma_to_unmerge(self, mm: AddressSpace) -> Vma | None:
        """Where the way through an address space begins; None if its last user has gone: exit tears the vmas down."""
        return None if self.ksm_test_exit(mm) else self._find_vma(mm, 0)

    @override
    @seam
    async def leave_mm(self, mm: AddressSpace, gone: Callable[[AddressSpace], bool]) -> None:
        """Put the cursor on the next slot, drop the slot just left if it is `gone`, release mmap_sem.

        v3.9 releases the spinlock first and mmap_sem last: in between, `__ksm_exit` may free the slot and the mm (K2).
        """
        scan = self.ksm_scan
        await self.ksm_mmlist_lock.lock()
        slot = scan.mm_slot
        slot.must_be_alive()
        self.conductor.touch(WRITE, scan, "mm_slot")
        scan.mm_slot = slot.next
        if not gone(mm):
            await self.unlock_left_mm(mm)
            return
        await self.mm_list_del(slot)
        await self.ksm_mmlist_lock.unlock()
        self.free_mm_slot(slot)
        self.forget_registration(mm)
        await mm.up_read()
        self.emit(ev.KSM_EXIT, mm.name)
        self.mmdrop(mm)

    @seam
    def forget_registration(self, mm: AddressSpace) -> None:
        """ksmd has dropped an address space: MMF_VM_MERGEABLE is cleared."""
        self.conductor.touch(RELEASE, mm, "registered")
        mm.registered = False

    @seam
    async def unlock_left_mm(self, mm: AddressSpace) -> None:
        """The end of `leave_mm` for a slot that stays."""
        await self.ksm_mmlist_lock.unlock()
        await mm.up_read()
