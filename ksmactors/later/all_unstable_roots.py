"""A repair for H2; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


class AllUnstableRoots(Ksm):
    """Every scan starts with all unstable trees empty, those not in use included.

    v3.9 resets only the trees in use. After a scan with merge_across_nodes=1 the other nodes' trees still name the
    items of the scan before, which may have been freed; a switch back to 0 in the middle of a scan lets ksmd walk them.
    """

    @override
    def reset_unstable_roots(self) -> None:
        super().reset_unstable_roots()
        for root in self.root_unstable_tree[self.ksm_nr_node_ids :]:
            self.reset_unstable_root(root)
