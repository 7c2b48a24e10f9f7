"""A repair for H8; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import ENOMEM, VM_FAULT_OOM, VM_FAULT_SIGBUS


class BreakSwapped(Ksm):
    """Unmerging breaks KSM pages that are swapped out, too, for as long as they are in the swap cache.

    v3.9 breaks what is present. mremap then moves the swap entry of a KSM page to an address for which there is no
    rmap_item, and a fault there maps the KSM page: until ksmd comes past, reverse mapping does not find it. Here it is
    brought back and copied. (What has left memory is an ordinary page when it comes back.) The look at the swap cache
    comes last, and all is done again after it: reclaim may take the page at any time, and so may who brings it back.
    """

    @override
    async def break_ksm(self, vma: Vma, address: int) -> int:
        while True:
            failed = await super().break_ksm(vma, address)
            if failed or not await self._is_merged_in_swap(vma.mm, address):
                return failed
            result = await self.handle_mm_fault(vma.mm, vma, address, True)
            if result & (VM_FAULT_OOM | VM_FAULT_SIGBUS):
                return -ENOMEM if result & VM_FAULT_OOM else 0

    @override
    async def unmerge_ksm_pages(self, vma: Vma, start: int, end: int) -> int:
        """A kernel that walks page tables passes over swap entries: these are looked at one by one."""
        failed = await super().unmerge_ksm_pages(vma, start, end)
        for address in sorted(address for address in vma.mm.swap_ptes if start <= address < end):
            failed = failed or await self.break_ksm(vma, address)
        return failed

    async def _is_merged_in_swap(self, mm: AddressSpace, address: int) -> bool:
        """Whether the entry at an address is a swap entry, and the swap cache has a KSM page for it."""
        slot = mm.swap_ptes.get(address)
        page = await self.lookup_swap_cache(slot) if slot is not None else None
        if page is None:
            return False
        merged = page.is_ksm
        await page.put()
        return merged
