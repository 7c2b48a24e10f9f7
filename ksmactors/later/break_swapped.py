"""A repair of ours for H8 of the field guide; no kernel has it."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.const import ENOMEM, VM_FAULT_OOM


class BreakSwapped(Ksm):
    """Unmerging breaks KSM pages that are swapped out, too, for as long as they are in the swap cache.

    v3.9 breaks what is present. mremap then moves the swap entry of a KSM page to an address for which there is no
    rmap_item, and a fault there maps the KSM page: until ksmd comes past, reverse mapping does not find it. Here it is
    brought back and copied. (What has left memory is an ordinary page when it comes back.)
    """

    async def break_ksm(self, vma: Vma, address: int) -> int:
        slot = vma.mm.swap_ptes.get(address)
        page = await self.lookup_swap_cache(slot) if slot is not None else None
        if page is not None:
            merged = page.is_ksm
            await page.put()
            if merged and await self.handle_mm_fault(vma.mm, vma, address, True) & VM_FAULT_OOM:
                return -ENOMEM
        return await super().break_ksm(vma, address)
