"""PageAnonExclusive: a page remembers that it is one process's alone, v5.19 (6c287605fd56, a7f226604170)."""

from __future__ import annotations

from typing import Any

from ksmactors.events import catalogue as ev
from ksmactors.later.unshare_on_pin import UnshareOnPin
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import VM_FAULT_WRITE
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot


class AnonExclusive(UnshareOnPin):
    """A new page is marked as exclusive; fork and ksmd take the mark off, a write fault that reuses the page sets it.

    ksmd counts the references of a page that is marked, since it may be pinned, even where the entry is read-only and
    clean. It merges one that is not marked and whose entry is, although somebody has a plain reference (vmsplice). A
    write fault keeps a marked page without a look at its references. A pin for reading copies what is not marked, if
    somebody else has a reference. The mark is kept by migration and by swap entries. All of it is done under the page
    table lock of the one process that maps the page.

    Before, whether a page was exclusive was concluded from its references each time (`wp_by_references`,
    `pinned_checked`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exclusive: set[int] = set()
        """Frame numbers of marked pages."""
        self._exclusive_slots: set[int] = set()
        """Numbers of the slots whose one swap entry is marked (pte_swp_exclusive)."""

    def _freed(self, frame: Frame) -> None:
        super()._freed(frame)
        self._exclusive.discard(frame.pfn)

    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        super().page_add_new_anon_rmap(page, vma, address)
        self._exclusive.add(page.pfn)

    # -- fork ---------------------------------------------------------------------------------------------------------

    async def copy_one_pte(self, mm: AddressSpace, oldmm: AddressSpace, address: int, pte: Pte) -> None:
        """page_try_dup_anon_rmap."""
        self._exclusive.discard(pte.frame.pfn)
        await super().copy_one_pte(mm, oldmm, address, pte)

    async def swap_duplicate(self, slot: SwapSlot) -> None:
        self._exclusive_slots.discard(slot.number)
        await super().swap_duplicate(slot)

    # -- faults -------------------------------------------------------------------------------------------------------

    async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        page = entry.frame
        if page.pfn not in self._exclusive:
            return await super().do_wp_page(mm, vma, address, entry)
        await self.set_pte(mm, address, entry._replace(write=True, dirty=True))
        self.memory_epoch += 1
        self.emit(ev.DO_WP_PAGE, mm.name, address, page.pfn, page.pfn, page.nid)
        await mm.page_table_lock.unlock()
        return VM_FAULT_WRITE

    async def wp_page_reuse(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        self._exclusive.add(entry.frame.pfn)
        return await super().wp_page_reuse(mm, vma, address, entry)

    async def wp_page_copy(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte, *, write: bool = True) -> int:
        """Of a fault that asks for an own page, not for a write: one that nobody else uses is marked and stays."""
        page = entry.frame
        if not write and page is not self.zero_page and not page.is_ksm:
            reusable = await self.wp_can_reuse(mm, address, entry)
            if reusable:
                self._exclusive.add(page.pfn)
                await page.unlock()
                await mm.page_table_lock.unlock()
            if reusable is not False:
                return 0
        return await super().wp_page_copy(mm, vma, address, entry, write=write)

    async def map_swapped_page(
        self, vma: Vma, address: int, slot: SwapSlot, page: Frame, swapcache: Frame, write: bool
    ) -> tuple[int, Pte | None]:
        """Marked: what the swap entry says is, what is mapped for a write, and what has no other reference any more."""
        result, pte = await super().map_swapped_page(vma, address, slot, page, swapcache, write)
        if pte is not None and not page.is_ksm:
            marked = slot.number in self._exclusive_slots or pte.write
            if marked or (page.swap is None and await page.count() == 1):
                self._exclusive.add(page.pfn)
            self._exclusive_slots.discard(slot.number)
        return result, pte

    async def _must_unshare(self, page: Frame) -> bool:
        """gup_must_unshare."""
        return page is not self.zero_page and page.pfn not in self._exclusive

    # -- reclaim and migration ----------------------------------------------------------------------------------------

    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int, reclaim: bool) -> bool:
        marked = page.pfn in self._exclusive
        unmapped = await super().try_to_unmap_one(page, vma, address, reclaim)
        slot = vma.mm.swap_ptes.get(address)
        if marked and slot is not None and slot is page.swap:
            self._exclusive.discard(page.pfn)
            self._exclusive_slots.add(slot.number)
        return unmapped

    async def remove_migration_pte(self, new: Frame, vma: Vma, address: int, old: Frame) -> None:
        marked = old.pfn in self._exclusive
        await super().remove_migration_pte(new, vma, address, old)
        if marked:
            self._exclusive.add(new.pfn)

    # -- ksmd ---------------------------------------------------------------------------------------------------------

    def _must_be_cleaned(self, pte: Pte) -> bool:
        return super()._must_be_cleaned(pte) or pte.frame.pfn in self._exclusive

    async def _has_other_references(self, page: Frame, swapped: bool) -> bool:
        """Without other references the mark goes (page_try_share_anon_rmap)."""
        other = await super()._has_other_references(page, swapped)
        if not other:
            self._exclusive.discard(page.pfn)
        return other
