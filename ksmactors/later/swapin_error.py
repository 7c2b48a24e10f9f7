"""A page that swapoff cannot read, v5.19 (9f186f9e5fa9)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot


class SwapinError(Ksm):
    """swapoff leaves an entry that says so in the place of a page that could not be read.

    v3.9 maps whatever is in the frame. Here an access gets SIGBUS. The entry stands among those of memory that has
    failed: it is forked, moved, zapped and cleared by MADV_FREE as they are. The kernel's names no frame.
    """

    @override
    async def unuse_pte(self, vma: Vma, address: int, slot: SwapSlot, swapcache: Frame) -> int:
        if slot.uptodate:
            return await super().unuse_pte(vma, address, slot, swapcache)
        mm = vma.mm
        await mm.page_table_lock.lock()
        if self.swap_pte_same(mm, address, slot, swapcache):
            self.memory_epoch += 1
            await self.set_hwpoison_pte(mm, address, swapcache)
            await self.swap_free(slot)
        await mm.page_table_lock.unlock()
        return 0
