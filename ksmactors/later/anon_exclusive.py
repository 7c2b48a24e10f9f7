"""A page is known to be exclusive to its process, v5.19 (6c287605fd56, 1493a1913e34). Recording: races r35."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, YIELD
from ksmactors.later.pin_counted import PinCounted
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import seam

Place = tuple[int, int]
"""The number of a mm, and an address."""


class ExclusiveEntries:
    """The swap and migration entries that are marked as exclusive (pte_swp_exclusive, writable and readable-exclusive
    migration entries); a memory observer, so that the mark goes where mremap moves the entry."""

    def __init__(self) -> None:
        self.places: Final[set[Place]] = set()

    def wrote(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A page is written only where it is present."""

    def read(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A read changes nothing."""

    def zapped(self, mm: AddressSpace, address: int) -> None:
        """The entry goes, and its mark with it."""
        self.places.discard((mm.number, address))

    def copied(self, mm: AddressSpace, oldmm: AddressSpace, address: int) -> None:
        """The mark is off by now (`copy_one_pte`)."""

    def moved(self, mm: AddressSpace, old: int, new: int) -> None:
        """The mark moves with the entry."""
        if (mm.number, old) in self.places:
            self.places.remove((mm.number, old))
            self.places.add((mm.number, new))


class AnonExclusive(PinCounted):
    """PageAnonExclusive: a write fault keeps a page with this flag, whatever its references.

    A new page has it, and one that a write fault has found to be without other references. fork and ksmd take it off.
    Reclaim and migration move it to the swap or migration entry, and back when the page is mapped again; but of a
    pinned page it cannot be taken off, so neither of them unmaps one. Without the mark, references decide
    (`wp_by_references`).

    v3.9 counts mappings, and v5.9 to v5.18 count references: these copy a page at the next write fault because a device
    holds it, and what the device stores is lost. That takes a page that has become read-only since it was pinned: it
    was in the swap cache, and reclaim unmapped it.

    The mark is read and changed under the page table lock. It is kept apart from the frame, by frame number.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._anon_exclusive: set[int] = set()
        self._exclusive_entries = ExclusiveEntries()
        self.observers.append(self._exclusive_entries)

    # -- the mark of a page -------------------------------------------------------------------------------------------

    @override
    def page_anon_exclusive(self, page: Frame) -> bool:
        self.conductor.touch(YIELD, page, "anon_exclusive")
        return page.pfn in self._anon_exclusive and not page.is_ksm

    def has_exclusive_mark(self, page: Frame) -> bool:
        """For observers: whether a page has the mark, which means nothing while it is a KSM page."""
        return page.pfn in self._anon_exclusive

    @property
    def exclusive_places(self) -> AbstractSet[Place]:
        """For observers: where swap and migration entries have the mark."""
        return self._exclusive_entries.places

    @seam
    def set_page_anon_exclusive(self, page: Frame) -> None:
        """SetPageAnonExclusive."""
        self.conductor.touch(RELEASE, page, "anon_exclusive")
        self._anon_exclusive.add(page.pfn)

    @seam
    def clear_page_anon_exclusive(self, page: Frame) -> None:
        """ClearPageAnonExclusive."""
        self.conductor.touch(RELEASE, page, "anon_exclusive")
        self._anon_exclusive.discard(page.pfn)

    @override
    def frame_freed(self, frame: Frame) -> None:
        super().frame_freed(frame)
        self._anon_exclusive.discard(frame.pfn)

    @override
    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        super().page_add_new_anon_rmap(page, vma, address)
        self.set_page_anon_exclusive(page)

    @override
    def page_add_anon_rmap(self, page: Frame, vma: Vma, address: int, *, exclusive: bool) -> None:
        """RMAP_EXCLUSIVE; `set_pte` has marked the page already if the swap entry says so."""
        if exclusive:
            self.set_page_anon_exclusive(page)
        super().page_add_anon_rmap(page, vma, address, exclusive=self.page_anon_exclusive(page))

    @override
    def page_move_anon_rmap(self, page: Frame, vma: Vma) -> None:
        super().page_move_anon_rmap(page, vma)
        self.set_page_anon_exclusive(page)

    # -- faults -------------------------------------------------------------------------------------------------------

    @override
    async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        if entry.frame is not self.zero_page and self.page_anon_exclusive(entry.frame):
            return await self.wp_page_reuse(mm, address, entry)
        return await super().do_wp_page(mm, vma, address, entry)

    @override
    async def is_swapped_exclusive(self, mm: AddressSpace, address: int, page: Frame, write: bool) -> bool:
        """References are counted, too, since then the page may leave the swap cache (should_try_to_free_swap)."""
        counted = await super().is_swapped_exclusive(mm, address, page, write)
        return counted or ((mm.number, address) in self._exclusive_entries.places and not page.is_ksm)

    @override
    async def map_swapped_page(
        self, vma: Vma, address: int, slot: SwapSlot, page: Frame, swapcache: Frame, write: bool
    ) -> tuple[int, Pte | None]:
        """A page that has left the swap cache, since that is full or the page mlocked, is exclusive if only the fault
        has a reference: for a read, too."""
        result, pte = await super().map_swapped_page(vma, address, slot, page, swapcache, write)
        if pte is not None and page.swap is None and not page.is_ksm and await page.count() == 1:
            self.set_page_anon_exclusive(page)
        return result, pte

    # -- entries that are not present ---------------------------------------------------------------------------------

    @override
    def may_be_unmapped(self, page: Frame) -> bool:
        """page_try_share_anon_rmap, as far as it can fail."""
        return not (self.page_anon_exclusive(page) and self.page_maybe_dma_pinned(page))

    @override
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        before = await super().set_pte(mm, address, pte)
        places, place = self._exclusive_entries.places, (mm.number, address)
        if pte is not None and pte.migration:
            self._mark_entry(place, before)
        elif pte is not None and place in places:
            places.remove(place)
            if pte.frame is not self.zero_page and not pte.frame.is_ksm:
                self.set_page_anon_exclusive(pte.frame)
        return before

    @override
    async def set_swap_pte(self, mm: AddressSpace, address: int, slot: SwapSlot | None) -> Pte | None:
        before = await super().set_swap_pte(mm, address, slot)
        if slot is not None:
            self._mark_entry((mm.number, address), before)
        return before

    def _mark_entry(self, place: Place, before: Pte | None) -> None:
        """An entry is a swap or migration entry now: the mark of the page that it mapped goes over to it. One that did
        not map a page was copied, without a mark, or is being moved."""
        self._exclusive_entries.places.discard(place)
        if before is not None and not before.migration and self.page_anon_exclusive(before.frame):
            self.clear_page_anon_exclusive(before.frame)
            self._exclusive_entries.places.add(place)

    # -- fork and ksmd ------------------------------------------------------------------------------------------------

    @override
    async def copy_one_pte(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma, address: int) -> int:
        """page_try_dup_anon_rmap, pte_swp_clear_exclusive, make_readable_migration_entry: shared from now on."""
        self._exclusive_entries.places.discard((oldmm.number, address))
        pte = oldmm.ptes.get(address)
        if pte is not None and not pte.migration and pte.frame is not self.zero_page:
            self.clear_page_anon_exclusive(pte.frame)
        return await super().copy_one_pte(mm, oldmm, vma, address)

    @override
    def must_be_cleaned(self, pte: Pte) -> bool:
        return super().must_be_cleaned(pte) or self.page_anon_exclusive(pte.frame)

    @override
    async def has_other_references(self, page: Frame, swapped: bool) -> bool:
        """Where there are none, the entry is out, and the mark is taken off (page_try_share_anon_rmap)."""
        if await super().has_other_references(page, swapped):
            return True
        self.clear_page_anon_exclusive(page)
        return False
