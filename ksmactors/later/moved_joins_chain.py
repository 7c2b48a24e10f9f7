"""A repair for moved KSM pages whose equals have no room; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.structs import StableNode
from ksmactors.later.chain_nodes import Chain, dup_of
from ksmactors.later.chains import Chains
from ksmactors.mm.frame import Frame


class MovedJoinsChain(Chains):
    """A KSM page that was moved to where all equal ones are full becomes one more dup of their chain.

    A moved page with two mappings does so already. One with a single mapping is to be merged into an equal page
    instead; if that has no room, the search finds nothing. ksmd has taken the rmap_item off its node for that, and puts
    it into the unstable tree, in this scan and in all that follow: reverse mapping does not find the mapping any more.
    Here such a page is kept beside its equals, however often it is mapped.
    """

    @override
    async def equal_in_stable_tree(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> tuple[bool, Frame | None]:
        dup = self._chosen if isinstance(entry, Chain) else self.choose_plain(dup_of(entry))
        if page_node is not None and (dup is None or not self.is_page_sharing_candidate(dup)):
            return True, await self._keep_both(root, entry, page, dup_of(page_node))
        return await super().equal_in_stable_tree(root, entry, page, page_node)
