"""The repair of G3, v4.4 (f2e5ff85ed8f)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame


class RestartOnStale(Ksm):
    """A stale entry no longer ends a search of the stable tree: the search starts again.

    v3.9 prunes the entry and gives up. A private page then goes on as if no equal KSM page existed; for a KSM page
    that has been migrated it is worse: the rmap_item is taken off its node, and at best goes into the unstable tree, so
    that reverse mapping does not find the mapping.
    """

    @override
    async def stable_tree_walk(
        self, root: ContentTree[StableNode], page: Frame, *, prune: bool = True
    ) -> InsertPosition:
        while True:
            place = await super().stable_tree_walk(root, page, prune=prune)
            if not place.stale:
                return place

    @override
    def stale_ends_search(self, page_node: StableNode | None) -> bool:
        return False
