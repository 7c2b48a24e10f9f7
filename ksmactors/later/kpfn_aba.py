"""A repair for H1; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import YIELD
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame


class KpfnAba(Ksm):
    """A stable node whose page was moved away and back is taken neither for a stale one, nor for one that has stayed.

    get_ksm_page decides by comparing frame numbers: if the page has moved from P to Q by the time its mapping is
    looked at, and back into P by the time kpfn is read again, a live node is freed. A count of migrations beside kpfn
    distinguishes the two.

    And a frame names its node before the content is copied into it (W0, W2). Who has read kpfn while P was the node's,
    and looks at P when the page is on its way back, finds that P names the node, takes a reference, and may compare
    what is not there yet: the search goes astray. So if the node has moved meanwhile, kpfn is read once more: it names
    P only when the copy is complete (W3).
    """

    @override
    def kpfn_of_node(self, node: StableNode) -> tuple[int, ...]:
        return (*super().kpfn_of_node(node), node.moves)

    @override
    async def get_page_if_of_node(self, page: Frame, node: StableNode, lock: bool) -> bool:
        seen = self._glance(node)
        if not await super().get_page_if_of_node(page, node, lock):
            return False
        if lock or self._glance(node) == seen or (await self.read_kpfn(node))[0] == page.pfn:
            return True  # who has the lock has waited for the end of the migration
        await page.put()
        return False

    def _glance(self, node: StableNode) -> tuple[int, ...]:
        """Where the node's page is, as a part of what was done last."""
        self.conductor.touch(YIELD, node, "kpfn")
        return self.kpfn_of_node(node)
