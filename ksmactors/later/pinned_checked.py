"""A page that is pinned is not merged, whatever its entry allows: what series has of v5.19 (6c287605fd56)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Pte


class PinnedChecked(Ksm):
    """The references of a page are counted also where its entry is read-only and clean.

    v3.9 counts them only when it has to write-protect or clean the entry. But the entry of a page that has come back
    from swap, and was only read since, is both already. A page is pinned for a device that writes it; reclaim puts it
    in the swap cache and unmaps it, pinned or not; the process reads it, and has it back. Nothing keeps ksmd from
    replacing it then, and what the device stores goes to a page without a mapping.

    Later kernels mark pages that are exclusively one process's (`anon_exclusive`), and take the entry out, and the mark
    off, before they count. Here such pages are those that one entry maps.
    """

    @override
    def must_be_cleaned(self, pte: Pte) -> bool:
        return super().must_be_cleaned(pte) or pte.frame.page_mapcount() == 1
