"""A read-only pin unshares a page first, v5.19 (a7f226604170)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.later.anon_exclusive import AnonExclusive
from ksmactors.later.unsharing import handle_unshare_fault
from ksmactors.mm.address_space import AddressSpace, Pte, Vma


class UnshareOnPin(AnonExclusive):
    """pin_user_pages for reading gives the process a page of its own if it may share the one that is there.

    Before, a device that read a KSM page for long kept that page; when the process wrote, it got a copy, and the device
    went on with the old one. Plain references (vmsplice) do not unshare.
    """

    @override
    def can_follow_pte(self, pte: Pte, *, write: bool, pin: bool) -> bool:
        """gup_must_unshare: of anonymous pages a pin has only those that are exclusive."""
        shared = pte.frame is not self.zero_page and not self.page_anon_exclusive(pte.frame)
        if pin and not pte.write and shared:
            return False
        return super().can_follow_pte(pte, write=write, pin=pin)

    @override
    async def faultin_page(self, mm: AddressSpace, vma: Vma, address: int, write: bool, pin: bool) -> int:
        pte = mm.ptes.get(address)
        if write or not pin or pte is None or pte.migration or pte.frame is self.zero_page:
            return await super().faultin_page(mm, vma, address, write, pin)
        return await handle_unshare_fault(self, mm, vma, address, pte)
