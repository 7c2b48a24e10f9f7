"""The repair of G9, v5.4 (9a63236f1ad8)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame


class NoWarning(Ksm):
    """Removing the node of a KSM page that is still mapped does not warn.

    v3.9 warns. But a process that exits has left KSM's list before its page tables are torn down, so run=2 passes
    it by and finds its pages mapped. -EBUSY says all there is to say.
    """

    @override
    def warn_still_mapped(self, page: Frame) -> None:
        pass
