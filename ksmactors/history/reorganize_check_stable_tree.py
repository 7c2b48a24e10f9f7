"""S2, *ksm: reorganize ksm_check_stable_tree*: no tree is walked again for the sake of another one."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


class BeforeReorganizeCheck(Ksm):
    """The check after memory has gone offline starts again from tree 0 whenever it has removed a node.

    Before: ksm_check_stable_tree looked for *one* node whose page was in the offline range. Its caller removed the node
    and asked again, from the first entry of the first tree, until there was none. After: one function removes them all,
    and a removal restarts only the tree it was in.

    What a user saw: offlining a node took longer with each tree before its own; the result is the same. No other actor
    takes part. The commit also documents why a stable node has a frame number and no pointer, and why the check must
    not use get_ksm_page: the struct page no longer exists.
    """

    @override
    async def check_trees(self, pfns: range) -> None:
        while await self._remove_first(pfns):
            pass

    async def _remove_first(self, pfns: range) -> bool:
        """Remove the first node, in the order of trees and contents, whose page was in the range; False: none was."""
        for nid in range(self.ksm_nr_node_ids):
            if await self.check_one_of(nid, pfns):
                return True
        return False
