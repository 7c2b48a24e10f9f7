"""R2, *mm,ksm: swapoff might need to copy*: swapoff asks KSM, as a fault does, before it maps a page as it is."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.frame import Frame


class BeforeSwapoffCopy(Ksm):
    """swapoff maps the page of the swap cache wherever a swap entry names it.

    Before: unuse_pte mapped whatever page it was given. After: it calls ksm_might_need_to_copy, as do_swap_page does,
    and maps a copy where the page itself may not be mapped.

    What a user saw: there was no report; it was found during the work on R1. A KSM page is in the swap cache when run=2
    unmerges everything: its rmap_items are freed, its node is removed. swapoff maps it into A and B as it is. They
    share a KSM page without a node, which reverse mapping cannot find: it can be neither migrated nor reclaimed until
    both have written to it. (A page that has become an ordinary one of another process is safe without the repair, too:
    unuse_vma skips a vma that it does not belong to.)
    """

    @override
    async def page_to_unuse(self, swapcache: Frame, vma: Vma, address: int) -> Frame | None:
        return swapcache
