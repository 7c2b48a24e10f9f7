"""A repair; v5.19 (9f186f9e5fa9) leaves an entry there whose access gets SIGBUS."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.const import EIO
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot


class SwapoffUnread(Ksm):
    """swapoff gives up on a page that could not be read, instead of mapping it.

    v3.9 asks only whether the page needs a copy, which one that could not be read never does: whatever is in the frame
    is mapped wherever the swap entry was, at different addresses of one process, too. The process reads garbage, and
    reverse mapping finds one of the places. Here the entries stay, and an access to one gets SIGBUS.
    """

    @override
    async def unuse_pte(self, vma: Vma, address: int, slot: SwapSlot, swapcache: Frame) -> int:
        if not slot.uptodate:
            return -EIO
        return await super().unuse_pte(vma, address, slot, swapcache)
