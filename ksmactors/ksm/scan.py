"""ksmd: the cursor's walk through all address spaces, and the processing of each page."""

from __future__ import annotations

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE, YIELD
from ksmactors.interleave.durations import NS_PER_MS
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.seams import part, seam


class Scanning(SharedState):
    """cmp_and_merge_page, scan_get_next_rmap_item, ksm_do_scan, ksm_scan_thread."""

    @seam
    async def cmp_and_merge_page(self, page: Frame, item: RmapItem) -> None:
        """Try to merge one page that ksmd has come to; steps CM1 to CM12. ksm_thread_mutex, a reference on the page."""
        node = await self.page_stable_node(page)  # CM1
        if node is not None:
            if not node.migrating and self.get_kpfn_nid((await self.read_kpfn(node))[0]) != node.nid:  # CM2a
                await self.move_visited_to_migrate_nodes(node)
            if self.item_is_settled(item, node):  # CM2b
                return
        elif await self.done_before_search(item, page):
            return
        kpage = await self.stable_tree_search(page)  # CM3
        if kpage is page and item.head is node:  # CM4
            await kpage.put()
            return
        await self.remove_rmap_item_from_tree(item)  # CM6
        await self._merge_or_insert(item, page, kpage, node)

    async def _merge_or_insert(self, item: RmapItem, page: Frame, kpage: Frame | None, node: StableNode | None) -> None:
        """CM7 to CM12: what becomes of a volatile item, after the stable tree has been searched and has `kpage`."""
        if kpage is not None:
            await self.merge_with_found(item, page, kpage, node)
            return
        if await self.done_after_search(item, page):  # CM8
            return
        found = await self.unstable_tree_search_insert(item, page)  # CM9
        if found is not None:
            await self.merge_two(item, page, *found)

    @part
    async def move_visited_to_migrate_nodes(self, node: StableNode) -> None:
        """CM2a: the page that ksmd has come to has left the node of its tree."""
        await self.stable_tree_erase(node)
        await self.stable_node_to_migrate_nodes(node)
        self.emit_misplaced(node)

    @part
    def item_is_settled(self, item: RmapItem, node: StableNode) -> bool:
        """CM2b: whether an item is where it should be: nothing is to be done for a page that is merged already."""
        return not node.migrating and item.head is node

    @seam
    async def merge_with_found(self, item: RmapItem, page: Frame, kpage: Frame, node: StableNode | None) -> None:
        """CM7: the stable tree has an equal page. A failure ends the visit, too. `node` is the page's own, if any."""
        if await self.try_to_merge_with_ksm_page(item, page, kpage) == 0:  # CM7a
            await self.append_to_page(item, kpage)
        await kpage.put()  # CM7c

    @part
    async def append_to_page(self, item: RmapItem, kpage: Frame) -> None:
        """CM7b: put an item whose page has been merged on the hlist of the KSM page's node. May block for the lock."""
        await kpage.lock()
        await self.stable_tree_append(item, await self.page_stable_node(kpage))
        await kpage.unlock()

    @part
    async def done_before_search(self, item: RmapItem, page: Frame) -> bool:
        """Whether the visit of an ordinary page ends before the stable tree is searched: never in v3.9."""
        return False

    @part
    async def done_after_search(self, item: RmapItem, page: Frame) -> bool:
        """Whether the visit of a page that the stable tree does not have ends before the unstable one is searched."""
        return await self.checksum_changed(item, page)

    @part
    async def checksum_changed(self, item: RmapItem, page: Frame) -> bool:
        checksum = (await page.read_content()).checksum
        changed = item.oldchecksum != checksum
        self.emit(ev.CALC_CHECKSUM, item.mm.name, item.address, page.pfn, changed)
        if changed:
            if item.oldchecksum:
                self.race(ev.RACE_CHECKSUM_CHANGED, self.actor_name(page.writer), page)
            item.oldchecksum = checksum
        return changed

    @seam
    async def merge_two(self, item: RmapItem, page: Frame, tree_item: RmapItem, tree_page: Frame) -> None:
        """CM10 to CM12: make a KSM page of two equal pages, then its node. Drops the reference on `tree_page`."""
        kpage = await self.try_to_merge_two_pages(item, page, tree_item, tree_page)  # CM10
        await tree_page.put()
        if kpage is None:
            return
        await kpage.lock()  # CM11
        node = await self.stable_tree_insert(kpage)
        if node is not None:
            await self.stable_tree_append(tree_item, node)
            await self.stable_tree_append(item, node)
        await kpage.unlock()
        if node is None:  # CM12
            await self.break_cow(tree_item)
            await self.break_cow(item)

    # -- the cursor -------------------------------------------------------------------------------------------------

    @seam
    async def get_next_rmap_item(self, mm: AddressSpace, link: MmSlot | RmapItem, address: int) -> RmapItem | None:
        """The item for an address, from the cursor's link on: found, or made. Items passed over are freed.

        ksm_thread_mutex, mmap_sem for read; may block on a KSM page's lock. None: no memory.
        """
        link.must_be_alive()
        while link.rmap_list is not None:
            item = link.rmap_list
            item.must_be_alive()
            if item.address == address:
                return item
            if item.address > address:
                break
            link.rmap_list = item.rmap_list
            await self.remove_rmap_item_from_tree(item)
            self.free_rmap_item(item)
        new = self.alloc_rmap_item(mm, address)
        if new is not None:
            new.rmap_list = link.rmap_list
            link.rmap_list = new
        return new

    @part
    async def start_scan(self) -> bool:
        """SC2: the cursor is at the head: drain, prune, reset, go to the first slot; False if there is none left."""
        self.emit(ev.KSM_START_SCAN, self.ksm_scan.seqnr, self.ksm_rmap_items)
        self.ksm_scan.started += 1
        await self.lru_add_drain_all()
        if not self.ksm_merge_across_nodes:
            await self.prune_migrate_nodes()
        self.reset_unstable_roots()
        if self.undisturbed:
            self.refresh_stable_index()
        await self.ksm_mmlist_lock.lock()
        self.conductor.touch(WRITE, self.ksm_scan, "mm_slot")
        slot = self.ksm_scan.mm_slot = self.ksm_mm_head.next
        await self.ksm_mmlist_lock.unlock()
        if self.no_mm_left(slot):
            return False
        self._enter_slot(slot)
        return True

    @part
    def no_mm_left(self, first: MmSlot) -> bool:
        """SC2e: whether the last address space has left the list since SC1 looked at it."""
        return first is self.ksm_mm_head

    @part
    async def prune_migrate_nodes(self) -> None:
        """SC2b: no search meets the nodes on the list, so each is looked up here; those whose page has gone are
        freed."""
        for node in list(self.migrate_nodes):
            page = await self.get_ksm_page(node, lock=False)
            if page is not None:
                await page.put()

    @seam
    def reset_unstable_roots(self) -> None:
        """SC2c: throw the unstable trees away, those in use (H2)."""
        for root in self.root_unstable_tree[: self.ksm_nr_node_ids]:
            self.reset_unstable_root(root)

    @seam
    def reset_unstable_root(self, root: ContentTree[RmapItem]) -> None:
        """Empty one unstable tree; its items keep their links and flags until each is visited."""
        root.reset()
        root.start_index(self.memory_epoch)
        root.reset_in = self.ksm_scan.started

    def _enter_slot(self, slot: MmSlot) -> None:
        self.ksm_scan.address = 0
        self.ksm_scan.rmap_list = slot

    @seam
    async def scan_get_next_rmap_item(self) -> tuple[RmapItem, Frame] | None:
        """The next page in the scan with its item and a reference; None at the end of a full scan, or of memory.

        ksm_thread_mutex. Steps SC1 to SC9; goes on through address spaces until it has a page.
        """
        scan = self.ksm_scan
        if await self.mm_list_empty():  # SC1
            return None
        if scan.mm_slot is self.ksm_mm_head and not await self.start_scan():
            return None
        while True:
            slot = scan.mm_slot
            slot.must_be_alive()
            mm = slot.mm
            if mm is None:  # F5: it is the head of the list, not one on it
                raise Finding("lifetime", "null_dereference", "scan_get_next_rmap_item", "the cursor's slot has no mm")
            await mm.down_read()  # SC3
            vma = None if self.ksm_test_exit(mm) else self._find_vma(mm, scan.address)
            while vma is not None:  # SC4
                page = await self.next_page_in(vma) if vma.mergeable else None
                if page is None:
                    vma = mm.find_vma(vma.end)
                    continue
                item = await self.get_next_rmap_item(mm, scan.rmap_list, scan.address)  # SC4c
                if item is not None:
                    scan.rmap_list = item
                    scan.address += PAGE_SIZE
                    if not await self.should_skip_rmap_item(page, item):
                        await mm.up_read()
                        return item, page
                await page.put()
                if item is None:
                    await mm.up_read()
                    return None
            if self.ksm_test_exit(mm):  # SC5
                self._enter_slot(slot)
            await self.remove_trailing_rmap_items(scan.rmap_list)  # SC6
            await self.leave_mm(mm, lambda _: scan.address == 0)  # SC7
            if scan.mm_slot is self.ksm_mm_head:  # SC8
                break
            self._enter_slot(scan.mm_slot)
        scan.seqnr += 1  # SC9
        self.emit(ev.KSM_STOP_SCAN, scan.seqnr, self.ksm_rmap_items)
        return None

    @part
    async def next_page_in(self, vma: Vma) -> Frame | None:
        """SC4a, b, d: the next anonymous page from the cursor's address on, which is left at it."""
        scan = self.ksm_scan
        if scan.address < vma.start:
            scan.address = vma.start
        if vma.anon_vma is None:
            scan.address = vma.end
        while scan.address < vma.end:
            if self.ksm_test_exit(vma.mm):
                self.race(ev.RACE_MM_EXITED, vma.mm.name, None)
                break
            page = await self.follow_page(vma.mm, scan.address)
            if page is not None:
                self.conductor.touch(YIELD, page, "mapping")
                if page.is_anon:
                    return page
                await page.put()
            scan.address += PAGE_SIZE
        return None

    @seam
    async def should_skip_rmap_item(self, page: Frame, item: RmapItem) -> bool:
        """Whether this scan leaves a page out: never in v3.9."""
        return False

    # -- the thread ---------------------------------------------------------------------------------------------------

    @seam
    async def ksm_do_scan(self, pages: int) -> None:
        """Scan up to so many pages, or to the end of the full scan. ksm_thread_mutex."""
        for _ in range(pages):
            found = await self.scan_get_next_rmap_item()
            if found is None:
                return
            item, page = found
            self.count_scanned(visited=False)
            await self.cmp_and_merge_page(page, item)
            await page.put()
            self.count_scanned(visited=True)

    @seam
    def count_scanned(self, *, visited: bool) -> None:
        """A page is about to be `visited`, or has been: where it is counted."""
        if not visited:
            self.pages_scanned += 1

    @seam
    async def ksm_scan_thread(self) -> None:
        """The body of ksmd: a batch under ksm_thread_mutex, then a sleep. Returns only after `kthread_stop`.

        The timed sleep is not ended by a change of the knob (v3.9); the other one by `ksm_thread_wait`.
        """
        self.ksmd_actor = self.conductor.turn
        while not self.kthread_should_stop:
            await self.ksm_thread_mutex.lock()
            await self.wait_while_offlining()
            if self.ksmd_should_run():
                await self.ksm_do_scan(self.ksm_thread_pages_to_scan)
            await self.ksm_thread_mutex.unlock()
            await self.read_ksm_run()
            if self.ksmd_should_run():
                await self.conductor.sleep(self.ksm_thread_sleep_millisecs * NS_PER_MS)
            else:
                while not self.ksmd_should_run() and not self.kthread_should_stop:
                    await self.ksm_thread_wait.wait()

    def kthread_stop(self) -> None:
        """Have ksmd return when it next comes to the end of a batch; no kernel does so once it is up."""
        self.kthread_should_stop = True
        self.ksm_thread_wait.wake_all()
        if self.ksmd_actor is not None:
            self.conductor.wake_sleeper(self.ksmd_actor)
