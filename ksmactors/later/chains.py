"""max_page_sharing, v4.13 (2c653d0ee2ae): a KSM page has a limited number of mappings; equal ones stand in a chain."""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import override

from ksmactors.interleave.durations import NS_PER_MS
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.ksm.trees import Visit
from ksmactors.later.chain_nodes import Chain, ChainNodes, DupNode, dup_of
from ksmactors.mm.const import EBUSY
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.reports import misuse
from ksmactors.seams import part, seam


class Choice(NamedTuple):
    """What a look at a chain found: the dup to share with, the entry that is in the tree now, and a page with a
    reference whose content is the chain's (None: start again)."""

    dup: DupNode | None
    entry: StableNode
    page: Frame | None


class Chains(ChainNodes):
    """A KSM page has at most `max_page_sharing` rmap_items, so that no reverse mapping walk takes for ever.

    Before, a page may be mapped a million times, and unmapping it walks a million items with the page locked. Now
    equal pages may stand side by side in a tree: their nodes are the dups of a chain. A page merges with a dup that has
    room; one without a dup to merge with goes to the unstable tree, where it finds a partner, and the two become a new
    dup. A KSM page that was migrated to where an equal one is stays as a second dup of the chain instead of being
    merged, unless it is mapped just once. This is the form up to v6.10: only a usable dup is chosen.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._chosen: DupNode | None = None
        self._may_exceed = False
        """Whether the item in hand may go on a node that has no room."""

    # -- looking at an entry ----------------------------------------------------------------------------------------

    @override
    async def visit_stable_entry(self, root: ContentTree[StableNode], entry: StableNode, prune: bool) -> Visit:
        if isinstance(entry, Chain):
            was_empty = not entry.dups
            choice = await self.stable_node_dup(root, entry, self._prune_now(entry, prune))
            if was_empty and entry.alive:
                raise misuse("left_in_tree", f"a search has met {entry}, and leaves it in {root.name}", entry)
        else:
            choice = Choice(self.choose_plain(dup_of(entry)), entry, await self.get_ksm_page(entry, lock=False))
        self._chosen = choice.dup
        return Visit(choice.entry, choice.page)

    @part
    def choose_plain(self, node: DupNode) -> DupNode | None:
        """What a look at a plain node finds to share with."""
        return node if self.is_page_sharing_candidate(node) else None

    def _prune_now(self, chain: Chain, prune: bool) -> bool:
        """Whether this look prunes the chain: asked for, and the last time was long enough ago."""
        now = self.conductor.now
        if not prune or now < chain.chain_prune_time + self.ksm_stable_node_chains_prune_millisecs * NS_PER_MS:
            return False
        chain.chain_prune_time = now
        return True

    @seam
    async def stable_node_dup(self, root: ContentTree[StableNode], chain: Chain, prune: bool) -> Choice:
        """Choose the usable dup with most items, the first of equals; without pruning, the first usable one.

        Stale dups that are met go. With pruning, a single dup that is left takes the chain's place.
        """
        found: DupNode | None = None
        found_page: Frame | None = None
        live = 0
        for dup in list(chain.dups):
            page = await self.get_ksm_page(dup, lock=False)
            if page is None:
                continue
            live += 1
            most = 0 if found is None else found.rmap_hlist_len
            if not self.is_page_sharing_candidate(dup) or dup.rmap_hlist_len <= most:
                await page.put()
                continue
            if found_page is not None:
                await found_page.put()
            found, found_page = dup, page
            if not prune:
                break
        if found is None:
            return await self._none_usable(root, chain)
        if prune and live == 1:
            await self._collapse(root, chain, found)
            return Choice(found, found, found_page)
        await self._move_to_front(chain, found)
        return Choice(found, chain, found_page)

    async def _none_usable(self, root: ContentTree[StableNode], chain: Chain) -> Choice:
        """No dup has room: any page of the chain will do to go on by its content."""
        if not chain.dups:
            await self.free_stable_node_chain(root, chain)
            return Choice(None, chain, None)
        return Choice(None, chain, await self.get_ksm_page(chain.dups[0], lock=False))

    async def _move_to_front(self, chain: Chain, dup: DupNode) -> None:
        """Move a dup that will still have room after this merge to the front, where the next search finds it."""
        if dup is not chain.dups[0] and self.is_page_sharing_candidate(dup, 1):
            chain.dups.remove(dup)
            chain.dups.insert(0, dup)

    # -- stable_tree_search -----------------------------------------------------------------------------------------

    @override
    async def equal_in_stable_tree(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> tuple[bool, Frame | None]:
        dup = self._chosen if isinstance(entry, Chain) else self.choose_plain(dup_of(entry))
        if page_node is not None and page.page_mapcount() > 1:
            return True, await self._keep_both(root, entry, page, dup_of(page_node))
        if dup is None or not self.is_page_sharing_candidate(dup):
            return True, None
        tree_page = await self.second_look(dup)
        if tree_page is None:
            return False, None
        if self.get_kpfn_nid(dup.kpfn) != dup.nid:
            await tree_page.put()
            if dup is entry:
                return True, await self.replace_misplaced(root, entry, page, page_node)
            return True, await self.replace_dup(dup, page, page_node)
        if page_node is not None:
            self.emit_collided(root, page, page_node, tree_page)
        return True, tree_page

    async def _keep_both(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: DupNode
    ) -> Frame | None:
        """ST7: a moved page that is mapped more than once joins the chain of the page that it is equal to."""
        chain = await self._chain_of(root, entry)
        if chain is None:
            return None
        await self._join(chain, page_node)
        return await self._page_if_usable(page, page_node)

    async def _chain_of(self, root: ContentTree[StableNode], entry: StableNode) -> Chain | None:
        """The chain that an entry of the tree is, or becomes the first dup of; None: no memory."""
        return entry if isinstance(entry, Chain) else await self.alloc_stable_node_chain(root, dup_of(entry))

    async def _join(self, chain: Chain, page_node: DupNode) -> None:
        await self.stable_node_from_migrate_nodes(page_node)
        await self.stable_node_chain_add_dup(page_node, chain)
        self.emit_reslotted(page_node)

    @part
    async def replace_dup(self, dup: DupNode, page: Frame, page_node: StableNode | None) -> Frame | None:
        """ST6 on a chain: its dup has left this node; a moved node in hand takes its place on the chain."""
        self.race_misplaced(dup)
        chain = dup.chain
        assert chain is not None, "it was found on a chain, and no other actor changes it"
        await self.stable_tree_erase(dup)
        result = None
        if page_node is not None:
            await self._join(chain, dup_of(page_node))
            result = await self._page_if_usable(page, page_node)
        await self.stable_node_to_migrate_nodes(dup)
        self.emit_misplaced(dup)
        return result

    async def _page_if_usable(self, page: Frame, page_node: StableNode) -> Frame | None:
        if not self.is_page_sharing_candidate(dup_of(page_node)):
            return None
        await page.get()
        return page

    @override
    async def stable_tree_search(self, page: Frame) -> Frame | None:
        """A moved page that was given its place is the result only if its own node has room (or was not moved)."""
        page_node = await self.page_stable_node(page)
        moved = page_node is not None and page_node.migrating
        result = await super().stable_tree_search(page)
        if result is page and moved and page_node is not None and not self.is_page_sharing_candidate(dup_of(page_node)):
            await page.put()
            return None
        return result

    # -- appending --------------------------------------------------------------------------------------------------

    @override
    async def merge_with_found(self, item: RmapItem, page: Frame, kpage: Frame, node: StableNode | None) -> None:
        """A page that is a KSM page already, since its process was forked, may exceed the limit
        (max_page_sharing_bypass)."""
        self._may_exceed = node is not None
        await super().merge_with_found(item, page, kpage, node)
        self._may_exceed = False

    @override
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        await super().stable_tree_append(item, node)
        if not self._may_exceed and node is not None and dup_of(node).rmap_hlist_len > self.ksm_max_page_sharing:
            length = dup_of(node).rmap_hlist_len
            self.warn("stable_tree_append", f"WARN_ON: {node} has {length} items: over max_page_sharing", node)

    # -- stable_tree_insert -----------------------------------------------------------------------------------------

    @override
    async def insert_equal(self, root: ContentTree[StableNode], entry: StableNode, kpage: Frame) -> StableNode | None:
        """The new node becomes a dup beside the equal ones; None: no memory. The page's mapping is set last."""
        node = self.alloc_stable_node()
        if node is None:
            return None
        chain = await self._chain_of(root, entry)
        if chain is None:
            self.free_stable_node(node)
            return None
        node.kpfn = kpage.pfn
        await self.stable_node_chain_add_dup(dup_of(node), chain)
        await kpage.set_mapping(node.mapping)
        self.emit_inserted(node)
        return node

    # -- removing all -----------------------------------------------------------------------------------------------

    @override
    async def remove_stable_node_chain(self, node: StableNode) -> int:
        """Of a chain: all its dups up to the first that is busy, then the chain."""
        if not isinstance(node, Chain):
            return await self.remove_stable_node(node)
        for dup in list(node.dups):
            if await self.remove_stable_node(dup):
                return -EBUSY
        await self.free_stable_node_chain(self.root_stable_tree[node.nid], node)
        return 0

    @override
    def refresh_stable_index(self) -> None:
        """A walk over chains changes them, so as long as there is one every search walks."""
        if not self.stable_node_chains:
            super().refresh_stable_index()


class ChainsAnyDup(Chains):
    """A look-up of a chain returns a dup even if none has room, and a chain with one dup is always collapsed.

    Before v6.11 a chain whose last dup was full or empty stayed a chain, and was searched without effect each time.
    """

    @override
    def choose_plain(self, node: DupNode) -> DupNode | None:
        return node

    @override
    async def stable_node_dup(self, root: ContentTree[StableNode], chain: Chain, prune: bool) -> Choice:
        """Choose as before, but any dup before none."""
        found: DupNode | None = None
        found_page: Frame | None = None
        for dup in list(chain.dups):
            page = await self.get_ksm_page(dup, lock=False)
            if page is None:
                continue
            if found is not None and not self._better(dup, found):
                await page.put()
                continue
            if found_page is not None:
                await found_page.put()
            found, found_page = dup, page
            if not prune and self.is_page_sharing_candidate(dup):
                break
        if found is None:
            return await self._none_usable(root, chain)
        if len(chain.dups) == 1:
            await self._collapse(root, chain, found)
            return Choice(found, found, found_page)
        await self._move_to_front(chain, found)
        return Choice(found, chain, found_page)

    def _better(self, dup: DupNode, than: DupNode) -> bool:
        if not self.is_page_sharing_candidate(dup):
            return False
        return not self.is_page_sharing_candidate(than) or dup.rmap_hlist_len > than.rmap_hlist_len
