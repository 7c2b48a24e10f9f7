"""Mutants of "make !merge_across_nodes migration safe" (S6): which tree a node is in, and migrate_nodes."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import STABLE_FLAG, RmapItem, StableNode
from ksmactors.mm.frame import Frame


class RootByKpfn(Ksm):
    """A stable node is erased from the tree of the node that its page is on by now, not from the one it is in (S6a)."""

    @override
    async def remove_node_from_stable_tree(self, node: StableNode) -> None:
        if not node.migrating:
            node.nid = self.get_kpfn_nid(node.kpfn)
        await super().remove_node_from_stable_tree(node)


class MisplacedIsFound(Ksm):
    """A search takes an equal page although it has been migrated to another node (S6b)."""

    @override
    def is_misplaced(self, node: StableNode) -> bool:
        return False


class NoPruning(Ksm):
    """A scan starts without checking the nodes on migrate_nodes (S6c)."""

    @override
    async def prune_migrate_nodes(self) -> None:
        pass


class ListLeft(Ksm):
    """The switch of merge_across_nodes and run=2 remove the nodes in the trees, not those on migrate_nodes (S6d)."""

    @override
    async def remove_migrate_nodes(self) -> int:
        return 0


class ListUnchecked(Ksm):
    """When memory has gone offline the trees are checked, and migrate_nodes is forgotten (S6e)."""

    @override
    async def check_migrate_nodes(self, pfns: range) -> None:
        pass


class NoSecondSearch(Ksm):
    """A moved node is linked below the equal entry, which has turned out stale, without a new search (S6f)."""

    @override
    async def equal_in_stable_tree(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> tuple[bool, Frame | None]:
        found, kpage = await super().equal_in_stable_tree(root, entry, page, page_node)
        if found or page_node is None:
            return found, kpage
        return True, await self.take_tree_position(root, InsertPosition(None, entry, False), page, page_node)


class NeverSettled(Ksm):
    """ksmd searches the stable tree for each merged page that it comes to, its place being right or not (S6g)."""

    @override
    def item_is_settled(self, item: RmapItem, node: StableNode) -> bool:
        return False


class ExileWithoutErase(Ksm):
    """A misplaced node that ksmd comes to goes on migrate_nodes while it is linked in its tree (S6h at CM2a; a search
    that replaces a misplaced entry does it right)."""

    @override
    async def move_visited_to_migrate_nodes(self, node: StableNode) -> None:
        await self.stable_node_to_migrate_nodes(node)
        self.emit_misplaced(node)


class NeverBack(Ksm):
    """A moved node is never put into the tree of the node it came to (S6i)."""

    @override
    async def take_tree_position(
        self, root: ContentTree[StableNode], place: InsertPosition, page: Frame, page_node: StableNode | None
    ) -> Frame | None:
        return None


class OldNid(Ksm):
    """A moved node that is linked in another tree keeps the index of the one it was in (S6j)."""

    @override
    async def leave_migrate_nodes(self, page_node: StableNode, root: ContentTree[StableNode]) -> None:
        await self.stable_node_from_migrate_nodes(page_node)


class LinkBeforeUnlist(Ksm):
    """A moved node is linked in a tree while it is still on migrate_nodes (S6k)."""

    @override
    async def leave_migrate_nodes(self, page_node: StableNode, root: ContentTree[StableNode]) -> None:
        page_node.nid = root.nid


class ReplacedIsNowhere(Ksm):
    """A misplaced entry is taken out of its tree, and not put on migrate_nodes (S6l)."""

    @override
    async def move_replaced_to_migrate_nodes(self, entry: StableNode) -> None:
        pass


class MisplacedStays(Ksm):
    """A misplaced entry that a search has met stays in its tree, if the page in hand has no node (S6m)."""

    @override
    async def replace_misplaced(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> Frame | None:
        if page_node is None:
            return None
        return await super().replace_misplaced(root, entry, page, page_node)


class MergedUnvisited(Ksm):
    """ksmd passes by what is merged already, as before the series: it never sees that a page was moved (S6n)."""

    @override
    async def cmp_and_merge_page(self, page: Frame, item: RmapItem) -> None:
        if page.is_ksm and item.flag == STABLE_FLAG:
            return
        await super().cmp_and_merge_page(page, item)
