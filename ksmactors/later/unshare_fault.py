"""break_ksm by an unsharing fault, v6.2 (6cce3314b928)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.later.unsharing import handle_unshare_fault
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import ENOMEM, VM_FAULT_OOM
from ksmactors.seams import part


class UnshareFault(Ksm):
    """KSM pages are broken by a fault that asks for an own page, not for a write.

    The former fake write could be answered by userfaultfd, which may handle writes, and then counted as done. The fault
    is repeated until no KSM page is found at the address; the copy is neither writable nor dirty.
    """

    @override
    async def break_ksm(self, vma: Vma, address: int) -> int:
        mm = vma.mm
        while True:
            pte = await self._entry_to_break(mm, address)
            if pte is None:
                return 0
            if pte.migration:
                await self.migration_entry_wait(mm, address)
                continue
            if await self._handle_unshare_fault(vma, address, pte) & VM_FAULT_OOM:
                return -ENOMEM

    async def _entry_to_break(self, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address if KSM has put its page there; the page under migration is seen through its entry."""
        await mm.page_table_lock.lock()
        pte = mm.ptes.get(address)
        await mm.page_table_lock.unlock()
        return pte if pte is not None and self.placed_by_ksm(pte) else None

    @part
    def placed_by_ksm(self, pte: Pte) -> bool:
        """Whether an entry, or the migration entry in its place, maps a KSM page."""
        return pte.frame.is_ksm

    async def _handle_unshare_fault(self, vma: Vma, address: int, pte: Pte) -> int:
        """handle_mm_fault(FAULT_FLAG_UNSHARE): VM_FAULT_ bits; 0 if the entry has changed meanwhile."""
        result = await handle_unshare_fault(self, vma.mm, vma, address, pte)
        if result:
            self.emit(ev.BREAK_KSM, vma.mm.name, address, pte.frame.pfn)
        return result
