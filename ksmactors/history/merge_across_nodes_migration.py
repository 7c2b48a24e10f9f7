"""S6, *ksm: make !merge_across_nodes migration safe*: a stable node knows which tree it is in, and can be moved."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import STABLE_FLAG, RmapItem, StableNode
from ksmactors.mm.frame import Frame, KsmMapping


class BeforeMergeAcrossNodesMigration(Ksm):
    """The tree of a stable node is derived from the node of its page, so a moved page goes unnoticed.

    Before: the tree to erase a node from was computed from its frame number. A search that found an equal page used it,
    wherever it was. ksmd did not look at pages that were merged already.

    After: a node remembers its tree (`nid`). A node whose page is on another NUMA node than its tree's is moved to the
    list migrate_nodes, and from there into the right tree when ksmd visits one of its mappings. The list is pruned once
    a scan, and every function that goes through the trees goes through it, too. Without the commit that list is always
    empty, and loops over it do nothing.

    What a user would have seen with merge_across_nodes=0: two processes on node 0 share P; P is migrated to Q on node
    1, and its stable node stays in tree 0. A third process on node 0 with an equal page is merged into Q, across nodes,
    against the knob. Or the two exit and Q is freed: ksmd finds the stale node in tree 0 and erases it from tree 1. If
    it was the root, tree 0 still points at freed memory: an oops at the next search.
    """

    @override
    async def cmp_and_merge_page(self, page: Frame, item: RmapItem) -> None:
        """ksm_do_scan asked first whether the page was merged already, and did not call this if so."""
        if isinstance(await page.read_mapping(), KsmMapping) and item.flag == STABLE_FLAG:
            return
        await self.remove_rmap_item_from_tree(item)
        kpage = await self.stable_tree_search(page)
        await self._merge_or_insert(item, page, kpage, None)

    @override
    def is_misplaced(self, node: StableNode) -> bool:
        return False

    @override
    async def stable_tree_erase(self, node: StableNode) -> None:
        root = self.root_stable_tree[self.get_kpfn_nid(node.kpfn)]
        await self.conductor.point(WRITE, root)
        root.unlink(node, self.ksm_epoch)
