"""break_ksm walks the page tables of a range, by v7.3. Recordings: races r80, h36."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import READ
from ksmactors.later.unshare_fault import UnshareFault
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import ENOMEM, ERESTARTSYS, PAGE_SIZE, VM_FAULT_OOM

PMD_SIZE = 512 * PAGE_SIZE
"""What one page table maps."""


class UnmergeWalk(UnshareFault):
    """Unmerging finds the next KSM page of a range in one walk of the page tables.

    Before, each address of a vma was looked up, with a test for exit and for a signal before each. Now both tests are
    in the walk, once for each page table, and a range without page tables costs nothing. If the process exits after
    break_ksm has begun, the walk finds nothing: its pages stay mapped, a stable node outlives run=2, and run=2 succeeds
    all the same (K4).
    """

    @override
    async def unmerge_ksm_pages(self, vma: Vma, start: int, end: int) -> int:
        return await self._break_ksm_range(vma, start, end)

    @override
    async def break_ksm(self, vma: Vma, address: int) -> int:
        return await self._break_ksm_range(vma, address, address + PAGE_SIZE)

    async def _break_ksm_range(self, vma: Vma, address: int, end: int) -> int:
        """Unshare all KSM pages in [address, end): 0, -ENOMEM or -ERESTARTSYS."""
        while True:
            found = await self._find_ksm_page(vma, address, end)
            if found <= 0:
                return found
            address = found
            pte = vma.mm.ptes.get(address)
            if pte is None or not self.placed_by_ksm(pte):
                continue  # another actor was faster
            if pte.migration:
                await self.migration_entry_wait(vma.mm, address)
            elif await self._handle_unshare_fault(vma, address, pte) & VM_FAULT_OOM:
                return -ENOMEM

    async def _find_ksm_page(self, vma: Vma, address: int, end: int) -> int:
        """walk_page_range_vma: the address of the next KSM page from `address` on; 0: none, or the process exits;
        -ERESTARTSYS. The page table lock is taken for each page table that there is."""
        mm = vma.mm
        vma.must_be_alive()
        while address < end:
            table_end = min(address - address % PMD_SIZE + PMD_SIZE, end)
            if _has_page_table(mm, address):
                await self.conductor.point(READ, mm, "users")
                if self.ksm_test_exit(mm):
                    return 0
                if self.conductor.turn.signal_pending:
                    return -ERESTARTSYS
                found = await self._find_in_table(mm, address, table_end)
                if found:
                    return found
            address = table_end
        return 0

    async def _find_in_table(self, mm: AddressSpace, address: int, end: int) -> int:
        """break_ksm_pmd_entry: the first address of a KSM page, on its way or not, or of KSM's zero page; 0: none."""
        await mm.page_table_lock.lock()
        found = next((at for at in range(address, end, PAGE_SIZE) if self._is_to_be_broken(mm, at)), 0)
        await mm.page_table_lock.unlock()
        return found

    def _is_to_be_broken(self, mm: AddressSpace, address: int) -> bool:
        pte = mm.ptes.get(address)
        return pte is not None and self.placed_by_ksm(pte)


def _has_page_table(mm: AddressSpace, address: int) -> bool:
    """Whether anything is mapped, or swapped out, in the 2 MiB around an address."""
    start = address - address % PMD_SIZE
    entries = (mm.ptes, mm.swap_ptes, mm.hwpoison_ptes)
    return any(at in kind for at in range(start, start + PMD_SIZE, PAGE_SIZE) for kind in entries)
