"""Reach a KSM page through its stable node; remove nodes and items.

A stable node has only the number of its page, and holds no reference: the page may be migrated or freed at any instant.
`get_ksm_page` is the reader's half of the protocol whose writer's half is `migrate_page_copy` and `ksm_migrate_page`.
"""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, RELEASE
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import SEQNR_MASK, STABLE_FLAG, UNSTABLE_FLAG, MmSlot, RmapItem, StableNode
from ksmactors.mm.frame import Frame
from ksmactors.seams import part, seam


class Keyhole(SharedState):
    """get_ksm_page and the removal of nodes and items."""

    @override
    @part
    async def read_kpfn(self, node: StableNode) -> tuple[int, ...]:
        """GK1 and GK2, and the re-read of GK7: read kpfn, which says whether the node's page has moved, before the
        mapping."""
        await self.conductor.point(READ, node, "kpfn")
        node.must_be_alive()
        return self.kpfn_of_node(node)

    @part
    def kpfn_of_node(self, node: StableNode) -> tuple[int, ...]:
        """What is compared, at this instant."""
        return (node.kpfn,)

    @override
    @seam
    async def get_ksm_page(self, node: StableNode, *, lock: bool) -> Frame | None:
        """The page of a stable node with a reference, and locked if wanted.

        None: the node was stale, and **has been freed**; its items are volatile, the counters adjusted. The caller
        holds ksm_thread_mutex. The unlocked page's content stays right for as long as the reference is held, but the
        page may be migrated at any moment; the locked page is the node's until it is unlocked. Blocks only for the
        lock. Source: get_ksm_page(), v3.9 (steps GK1 to GK7).
        """
        while True:
            seen = await self.read_kpfn(node)  # GK1
            page = self.pfn_to_page(seen[0])
            if await self.get_page_if_of_node(page, node, lock):
                return page
            if await self.page_has_moved(node, seen):
                self.race(ev.RACE_PAGE_MIGRATED, self.actor_name(node.moved_by), page, tree="stable", tree_nid=node.nid)
                continue
            gone = page.writer if node.kpfn == page.pfn else node.moved_by  # who freed the page, or moved it after all
            self.race(ev.RACE_STALE_NODE, self.actor_name(gone), page, tree="stable", tree_nid=node.nid)
            await self.remove_node_from_stable_tree(node)
            return None

    @part
    async def page_has_moved(self, node: StableNode, seen: tuple[int, ...]) -> bool:
        """GK7, the stale check: whether the node's page is another one than was `seen` at GK1."""
        self.smp_rmb()
        return await self.read_kpfn(node) != seen

    @part
    async def get_page_if_of_node(self, page: Frame, node: StableNode, lock: bool) -> bool:
        """GK3 to GK6: a reference (and the lock) on `page` if it is the node's before and after each step."""
        expected = node.mapping
        if await page.read_mapping() is not expected:  # GK3
            return False
        if not await page.get_unless_zero() and not await self.get_when_unfrozen(page, node):  # GK4
            return False
        if await page.read_mapping() is not expected:  # GK5: it may have been freed and reused before GK4
            await page.put()
            return False
        return not lock or await self.lock_page_if_of_node(page, node)

    @part
    async def lock_page_if_of_node(self, page: Frame, node: StableNode) -> bool:
        """GK6: the lock of `page` if it is the node's then, too; else the reference is dropped."""
        await page.lock()
        if await page.read_mapping() is not node.mapping:  # a migration may have ended while we waited
            await page.unlock()
            await page.put()
            return False
        return True

    @part
    async def get_when_unfrozen(self, page: Frame, node: StableNode) -> bool:
        """GK4, the spin: a page of the swap cache without references is frozen, by a migration or by reclaim, for a
        moment. False: it has left the cache, and is (about to be) free or has been migrated."""
        spins = 0
        while await page.in_swap_cache():
            if not spins:
                self.race(ev.RACE_PAGE_FROZEN, self.actor_name(page.getter), page, tree="stable", tree_nid=node.nid)
            spins += 1
            await self.conductor.relax(page)
            if await page.get_unless_zero():
                return True
        return False

    @override
    @seam
    async def remove_node_from_stable_tree(self, node: StableNode) -> None:
        """Free a node and make its items volatile. ksm_thread_mutex; and the page lock, or the node is stale.

        The items' `head` goes on naming the node, as in v3.9. The page's mapping is left alone.
        """
        node.must_be_alive()
        for item in node.hlist():
            self._make_volatile(item, last=item.hnext is None)
        if node.migrating:
            await self.stable_node_from_migrate_nodes(node)
        else:
            await self.stable_tree_erase(node)
        self.emit(ev.KSM_REMOVE_KSM_PAGE, node.kpfn)
        self.free_stable_node(node)

    def _make_volatile(self, item: RmapItem, *, last: bool) -> None:
        self.conductor.touch(RELEASE, item, "flag")
        if last:
            self.ksm_pages_shared -= 1
        else:
            self.ksm_pages_sharing -= 1
        item.anon_vma.put()
        item.flag = 0
        self.item_left_node(item)

    @seam
    def item_left_node(self, item: RmapItem) -> None:
        """An item is no longer on its node's hlist. v3.9 does nothing more: `head` keeps naming the node (K1)."""

    @override
    @seam
    async def remove_rmap_item_from_tree(self, item: RmapItem) -> None:
        """Make an item volatile: off its node's hlist, or out of the unstable tree. ksm_thread_mutex.

        May block on the lock of a KSM page; mmap_sem of the item's mm may be held for read.
        """
        item.must_be_alive()
        self.conductor.touch(RELEASE, item, "flag")  # no order, but which actor is first matters
        if item.flag == STABLE_FLAG:
            await self.leave_stable_node(item)
        elif item.flag == UNSTABLE_FLAG:
            age = (self.ksm_scan.seqnr - item.seqnr) & SEQNR_MASK
            if age > 1:
                self.warn("remove_rmap_item_from_tree", f"BUG_ON: {item} has been unstable for {age} scans", item)
            if age == 0:
                await self.unstable_tree_erase(item)
            self.ksm_pages_unshared -= 1
            item.flag = 0

    @part
    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        assert node is not None, "a stable item's head is set, and only the unstable tree overwrites it"
        page = await self.get_ksm_page(node, lock=True)
        if page is None:
            return
        await self.hlist_del(node, item)
        await page.unlock()
        await page.put()
        self._make_volatile(item, last=node.first is None)
        self.emit(ev.KSM_REMOVE_RMAP_ITEM, page.pfn, item.number, item.mm.name)

    @seam
    async def unstable_tree_erase(self, item: RmapItem) -> None:
        """rb_erase of an item that went into the unstable tree in this scan."""
        await self.unstable_tree_unlink(self.root_unstable_tree[item.nid], item)

    @override
    @seam
    async def remove_trailing_rmap_items(self, link: MmSlot | RmapItem) -> None:
        """Free all items from a link cell to the end of the list."""
        link.must_be_alive()
        while link.rmap_list is not None:
            item = link.rmap_list
            link.rmap_list = item.rmap_list
            await self.remove_rmap_item_from_tree(item)
            self.free_rmap_item(item)

    @override
    def warn(self, function: str, message: str, about: object) -> None:
        """Print the kernel's warning with a backtrace; `about` is the object concerned."""
        self.warned_of = about
        self.emit(ev.KSM_WARN, function, message)
