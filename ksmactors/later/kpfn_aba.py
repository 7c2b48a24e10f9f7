"""A repair of ours for H1 of the field guide; no kernel has it."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode


class KpfnAba(Ksm):
    """A stable node that was moved away and back is not taken for a stale one.

    get_ksm_page decides by comparing frame numbers: if the page has moved from P to Q by the time its mapping is
    looked at, and back into P by the time kpfn is read again, a live node is freed. A count of migrations beside kpfn
    tells the two apart.
    """

    def _kpfn_of(self, node: StableNode) -> tuple[int, ...]:
        return (*super()._kpfn_of(node), node.moves)
