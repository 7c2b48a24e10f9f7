"""R7, *ksm: allocate roots when needed*: tree roots for all nodes only when merge_across_nodes is first changed."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.hardware import Hardware


class BeforeAllocateRoots(Ksm):
    """There are roots for all nodes from the start, and every loop over trees goes through all of them.

    Before: two static arrays of roots, for as many nodes as a kernel can have. After: one root each; arrays for the
    nodes that exist when merge_across_nodes is first changed, with the root of the unstable tree moved over (the stable
    tree is empty then); and loops only over the trees in use.

    Effect: some kilobytes less. Without the commit nothing can go wrong, so this is a control. With it, two things can.
    If the unstable root is not moved over, items of this scan are erased from a tree that they are not in. And H2:
    trees out of use are not reset at the start of a scan.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.roots_allocated = True
        self.ksm_nr_node_ids = len(self.nodes)

    @override
    def set_merge_across_nodes(self, value: int) -> None:
        self.ksm_merge_across_nodes = value
