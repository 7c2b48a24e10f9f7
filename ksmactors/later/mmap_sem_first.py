"""The repair of G5 (K2), v4.7 (7496fea9a6bf)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace


class MmapSemFirst(Ksm):
    """ksmd releases mmap_sem before ksm_mmlist_lock when it leaves an address space.

    v3.9 releases the spinlock first. The cursor is elsewhere by then: if the slot has no items, an exiting process
    frees it and drops the last hold on the mm, and ksmd releases a semaphore in freed memory.
    """

    @override
    async def unlock_left_mm(self, mm: AddressSpace) -> None:
        await mm.up_read()
        await self.ksm_mmlist_lock.unlock()
