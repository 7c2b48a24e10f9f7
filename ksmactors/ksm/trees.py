"""Searching and growing the stable and unstable trees."""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.ksm.index import NOWHERE, ContentTree, InsertPosition
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.content import memcmp_pages
from ksmactors.mm.frame import Frame
from ksmactors.seams import part, seam


class Visit(NamedTuple):
    """What a walk found at an entry: the entry as it is now, and a page with a reference whose content stands for the
    entry; None: the entry was stale, and is gone."""

    entry: StableNode
    page: Frame | None


class Trees(SharedState):
    """Both kinds of tree, partitioned by node when merge_across_nodes is 0. All under ksm_thread_mutex."""

    @part
    async def visit_stable_entry(self, root: ContentTree[StableNode], entry: StableNode, prune: bool) -> Visit:
        """ST3a: the page of one entry on a walk. `prune` is for kernels whose entries are more than one node."""
        return Visit(entry, await self.get_ksm_page(entry, lock=False))

    @seam
    async def stable_tree_walk(
        self, root: ContentTree[StableNode], page: Frame, *, prune: bool = True
    ) -> InsertPosition:
        """Descend to the content of `page`, visiting each entry's page; ends at a stale entry, which is freed."""
        if root.root is None:
            return NOWHERE
        if self.undisturbed and root.usable(self.ksm_epoch):
            return root.find(page.content)
        entry, parent, left = root.root, None, False
        while entry is not None:
            entry, tree_page = await self.visit_stable_entry(root, entry, prune)
            if tree_page is None:
                return InsertPosition(None, None, False, stale=True)
            order = memcmp_pages(await page.read_content(), await tree_page.read_content())
            await tree_page.put()
            if order == 0:
                return InsertPosition(entry, None, False)
            parent, left = entry, order < 0
            entry = entry.rb_left if left else entry.rb_right  # type: ignore[assignment]  # a tree of StableNodes
        return InsertPosition(None, parent, left)

    @override
    @seam
    def refresh_stable_index(self) -> None:
        """Restart the stable trees' indices if no entry is stale; else walk until the stale ones are pruned."""
        for root in self.root_stable_tree:
            if root.usable(self.ksm_epoch):
                continue
            fresh = True
            for node in root:
                page = self.pfn_to_page(node.kpfn)
                fresh = fresh and page.mapping is node.mapping and page.refcount > 0
                node.indexed = page.content
            if fresh:
                root.restart_index(self.ksm_epoch)

    @override
    @seam
    async def stable_tree_search(self, page: Frame) -> Frame | None:
        """The KSM page equal to `page`, with a reference; or `page` itself if it is one already and has its place.

        A page whose node is on migrate_nodes gets a place in the tree of its node here (ST5, ST6). None: there is no
        equal page, or it is misplaced, or a stale entry ended the search (K3). `page` has a caller's reference and is
        not locked. Source: stable_tree_search(), v3.9.
        """
        page_node = await self.page_stable_node(page)
        if page_node is not None and not page_node.migrating:  # ST1: forked
            await page.get()
            return page
        nid = self.get_kpfn_nid(page.pfn)
        root = self.root_stable_tree[nid]
        while True:
            place = await self.stable_tree_walk(root, page)
            if place.stale:
                return None
            if place.entry is None:
                return await self.take_tree_position(root, place, page, page_node)
            entry = place.entry
            assert isinstance(entry, StableNode), "a tree of StableNodes"
            found, kpage = await self.equal_in_stable_tree(root, entry, page, page_node)
            if found or self.stale_ends_search(page_node):
                return kpage

    @part
    def stale_ends_search(self, page_node: StableNode | None) -> bool:
        """ST3d: whether an equal entry that turns out stale at the second look ends the search (K3)."""
        return page_node is None

    @part
    async def equal_in_stable_tree(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> tuple[bool, Frame | None]:
        """ST3d to ST6 for an equal entry: (True, the search's result), or (False, None) if it is stale by now."""
        tree_page = await self.second_look(entry)
        if tree_page is None:
            return False, None
        if self.is_misplaced(entry):
            await tree_page.put()
            return True, await self.replace_misplaced(root, entry, page, page_node)
        if page_node is not None:
            self.emit_collided(root, page, page_node, tree_page)
        return True, tree_page

    @part
    def is_misplaced(self, node: StableNode) -> bool:
        """Whether a node's page has left the node of the tree that it is linked in. Its page's lock was cycled."""
        return self.get_kpfn_nid(node.kpfn) != node.nid

    @part
    async def second_look(self, node: StableNode) -> Frame | None:
        """ST3d: a node's page once more, with a reference; None if it is stale.

        Its lock is taken and released: then no migration of it is half done.
        """
        page = await self.get_ksm_page(node, lock=True)
        if page is not None:
            await page.unlock()
        return page

    def emit_collided(
        self, root: ContentTree[StableNode], page: Frame, page_node: StableNode, tree_page: Frame
    ) -> None:
        """A moved page has met an equal one in the tree of the node it came to."""
        self.emit(ev.NODE_COLLIDED, page_node.number, page.pfn, root.nid, tree_page.pfn)
        self.race(ev.RACE_NODE_COLLIDED, self.actor_name(page_node.moved_by), page, tree="stable", tree_nid=root.nid)

    @part
    async def take_tree_position(
        self, root: ContentTree[StableNode], place: InsertPosition, page: Frame, page_node: StableNode | None
    ) -> Frame | None:
        """ST4, ST5: no equal entry; a moved node is linked where the search fell off."""
        if page_node is None:
            return None
        await self.leave_migrate_nodes(page_node, root)
        await self.stable_tree_link(root, page_node, place, page.content)
        self.emit_reslotted(page_node)
        await page.get()
        return page

    @part
    async def replace_misplaced(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> Frame | None:
        """ST6: the equal entry's page has left this node: the entry goes to migrate_nodes.

        A moved node, if there is one in hand, takes the entry's place in the tree.
        """
        self.race_misplaced(entry)
        result = None
        if page_node is not None:
            await self.leave_migrate_nodes(page_node, root)
            await self.stable_tree_replace(root, entry, page_node)
            self.emit_reslotted(page_node)
            await page.get()
            result = page
        else:
            await self.stable_tree_erase(entry)
        await self.move_replaced_to_migrate_nodes(entry)
        return result

    @part
    async def leave_migrate_nodes(self, page_node: StableNode, root: ContentTree[StableNode]) -> None:
        """A moved node is about to be linked in a tree: first off the list, whose links lie where the tree's are."""
        await self.stable_node_from_migrate_nodes(page_node)
        page_node.nid = root.nid

    @part
    async def move_replaced_to_migrate_nodes(self, entry: StableNode) -> None:
        """The end of ST6: an entry that has left its tree."""
        await self.stable_node_to_migrate_nodes(entry)
        self.emit_misplaced(entry)

    def race_misplaced(self, node: StableNode) -> None:
        """A search has met an equal node whose page has left the tree's node."""
        self.race(
            ev.RACE_NODE_MISPLACED, self.actor_name(node.moved_by), self.pfn_to_page(node.kpfn),
            tree="stable", tree_nid=node.nid,
        )  # fmt: skip

    def emit_reslotted(self, node: StableNode) -> None:
        """A moved node has got a place in the tree of the node that its page is on."""
        self.emit(ev.NODE_RESLOTTED, node.number, node.kpfn, node.nid)

    @override
    def emit_misplaced(self, node: StableNode) -> None:
        """A node has been taken out of the tree `node.nid` because its page is on another node."""
        self.emit(ev.NODE_MISPLACED, node.number, node.kpfn, node.nid, node.kpfn // self.frames_per_node)

    @override
    @seam
    async def stable_tree_insert(self, kpage: Frame) -> StableNode | None:
        """A new node for a locked KSM page without one; None if an equal page got there first, or an entry was stale.

        Source: stable_tree_insert(), v3.9.
        """
        root = self.root_stable_tree[self.get_kpfn_nid(kpage.pfn)]
        place = await self.stable_tree_walk(root, kpage, prune=False)
        if place.stale:
            self.emit_insert_lost(root, kpage)
            return None
        if place.entry is not None:
            assert isinstance(place.entry, StableNode), "a tree of StableNodes"
            return await self.insert_equal(root, place.entry, kpage)
        node = self.alloc_stable_node()
        if node is None:
            return None
        await self.add_new_node(root, node, place, kpage)
        self.emit_inserted(node)
        return node

    @part
    async def add_new_node(
        self, root: ContentTree[StableNode], node: StableNode, place: InsertPosition, kpage: Frame
    ) -> None:
        """Fill a new node, have its page name it, then link it where the search ended."""
        node.kpfn = kpage.pfn
        node.nid = root.nid
        await kpage.set_mapping(node.mapping)
        await self.stable_tree_link(root, node, place, kpage.content)

    def emit_inserted(self, node: StableNode) -> None:
        """A new stable node is in its tree."""
        self.emit(ev.STABLE_TREE_INSERT, node.number, node.kpfn, node.nid)

    @part
    async def insert_equal(self, root: ContentTree[StableNode], entry: StableNode, kpage: Frame) -> StableNode | None:
        """An equal page is in the tree already: there is no second one (v3.9)."""
        self.emit_insert_lost(root, kpage)
        return None

    def emit_insert_lost(self, root: ContentTree[StableNode], kpage: Frame) -> None:
        """Log that an equal page or a stale node kept a new KSM page out of the tree."""
        self.race(ev.RACE_INSERT_LOST, "unknown", kpage, tree="stable", tree_nid=root.nid)

    @override
    @seam
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        """Put an item on a node's hlist. The KSM page is locked; the item holds an anon_vma reference."""
        if node is None:  # S5e: the page was migrated after the search had found it
            about = (item, *(pte.frame for pte in (item.mm.ptes.get(item.address),) if pte is not None))
            message = f"{item} is appended to no node"
            raise Finding("lifetime", "null_dereference", "stable_tree_append", message, about=about)
        await self.hlist_add_head(node, item)
        if item.hnext is not None:
            self.ksm_pages_sharing += 1
        else:
            self.ksm_pages_shared += 1
        self.emit(ev.STABLE_TREE_APPEND, item.number, node.number, node.kpfn, item.mm.name, item.address)

    # -- unstable -------------------------------------------------------------------------------------------------

    @override
    @seam
    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None:
        """An equal page in the unstable tree, as (its item, it with a reference); else the item is inserted: None.

        None without insertion, too: an entry on the path is gone or is this very page, or the equal page is on
        another node. Source: unstable_tree_search_insert(), v3.9.
        """
        nid = self.get_kpfn_nid(page.pfn)
        root = self.root_unstable_tree[nid]
        if self.undisturbed and root.usable(self.memory_epoch):
            place = root.find(page.content)
            equal = place.entry
            if isinstance(equal, RmapItem):
                return await self._equal_unstable(equal, page, nid)
        else:
            entry, parent, left = root.root, None, False
            while entry is not None:
                tree_page = await self.visit_unstable_entry(entry, page, nid)
                if tree_page is None:
                    return None
                order = memcmp_pages(await page.read_content(), await tree_page.read_content())
                if order == 0:
                    return await self._if_on_node(entry, tree_page, nid)
                await tree_page.put()
                parent, left = entry, order < 0
                entry = entry.rb_left if left else entry.rb_right  # type: ignore[assignment]  # a tree of RmapItems
            place = InsertPosition(None, parent, left)
        await self.unstable_tree_link(root, item, place, page.content)
        self.ksm_pages_unshared += 1
        self.emit(ev.UNSTABLE_TREE_INSERT, item.mm.name, item.address, page.pfn, item.number, nid)
        return None

    async def _equal_unstable(self, entry: RmapItem, page: Frame, nid: int) -> tuple[RmapItem, Frame] | None:
        tree_page = await self.visit_unstable_entry(entry, page, nid)
        return await self._if_on_node(entry, tree_page, nid) if tree_page is not None else None

    @part
    async def visit_unstable_entry(self, entry: RmapItem, page: Frame, nid: int) -> Frame | None:
        """The page of one entry on the way, with a reference; None: it is gone, or is `page`, and the search ends."""
        tree_page = await self.get_mergeable_page(entry)
        if tree_page is None:
            self.race(ev.RACE_UNSTABLE_GONE, "unknown", page, tree="unstable", tree_nid=nid)
        elif tree_page is page:
            await tree_page.put()
            return None
        return tree_page

    async def _if_on_node(self, entry: RmapItem, tree_page: Frame, nid: int) -> tuple[RmapItem, Frame] | None:
        if self.get_kpfn_nid(tree_page.pfn) == nid:
            return entry, tree_page
        self.race(ev.RACE_UNSTABLE_MOVED, "unknown", tree_page, tree="unstable", tree_nid=nid)
        await tree_page.put()
        return None
