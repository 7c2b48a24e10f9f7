"""madvise(MADV_FREE), v4.5 (854e9ed09ded)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, YIELD
from ksmactors.ksm.kernel import Ksm
from ksmactors.later.advised_range import advise_range
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import MADV_FREE, PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.vmscan import FREED


class GivenUp:
    """What processes have said they do not need, as (number of the mm, address): a memory observer."""

    def __init__(self) -> None:
        self.addresses: set[tuple[int, int]] = set()

    def wrote(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A page that is written is needed again."""
        self.addresses.discard((mm.number, address))

    def read(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A read changes nothing."""

    def zapped(self, mm: AddressSpace, address: int) -> None:
        """There is nothing any more that could be given up."""
        self.addresses.discard((mm.number, address))

    def copied(self, mm: AddressSpace, oldmm: AddressSpace, address: int) -> None:
        """A child needs what its parent needs."""
        if (oldmm.number, address) in self.addresses:
            self.addresses.add((mm.number, address))

    def moved(self, mm: AddressSpace, old: int, new: int) -> None:
        """What has moved is given up where it is now."""
        if (mm.number, old) in self.addresses:
            self.addresses.remove((mm.number, old))
            self.addresses.add((mm.number, new))


class LazyFree(Ksm):
    """A process can say that it does not need what is in a range: reclaim may drop these pages instead of writing them.

    The entry is made clean and the page marked, but for one that is dirty itself, or in the swap cache, and mapped
    elsewhere, too; what is in swap goes at once. Until reclaim comes, reads find the old content. A write sets the
    entry's dirty bit, and so has it the entry of a child that has not given the page up: reclaim then takes the mark
    off. The mark is PG_swapbacked cleared
    (v4.12 and later; before, a page that is clean wherever it is mapped was one to drop).

    A KSM page that only one process maps is marked like any other. A page that ksmd merges into it later is dropped
    with it: another process, which has given nothing up, reads zeros. A real 6.18 does so
    (`one_node/lazy_free_drops_what_is_merged`).
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._lazily_freed: set[int] = set()
        """Frame numbers of the pages whose PG_swapbacked is cleared."""
        self._given_up = GivenUp()
        self.observers.append(self._given_up)

    @override
    async def madvise(self, mm: AddressSpace, start: int, length: int, advice: int) -> int:
        if advice != MADV_FREE:
            return await super().madvise(mm, start, length, advice)
        return await advise_range(self, mm, start, length, "MADV_FREE", self._free_range)

    async def _free_range(self, vma: Vma, start: int, end: int) -> None:
        """madvise_free_single_vma."""
        self.lru_add_drain()
        await self.mmu_notifier_invalidate_range_start(vma.mm, start, end)
        for address in range(start, end, PAGE_SIZE):
            await self._free_one(vma.mm, address)
        await self.mmu_notifier_invalidate_range_end(vma.mm, start, end)

    async def _free_one(self, mm: AddressSpace, address: int) -> None:
        """madvise_free_pte_range, for one entry."""
        await mm.page_table_lock.lock()
        pte = mm.ptes.get(address)
        if pte is None and address in mm.swap_ptes:
            await self.zap_swap_pte(mm, address)
        elif pte is None and address in mm.hwpoison_ptes:  # v5.19 (7b49514fa1db): zeros from then on
            await self.zap_hwpoison_pte(mm, address)
        elif pte is not None and not pte.migration and pte.frame is not self.zero_page:
            page = pte.frame
            if self._may_be_given_up(page) and await self._clean(page):
                await self.set_pte(mm, address, pte._replace(dirty=False))
                self.ptep_clear_flush_young(mm, address)
                self._mark(page)
                self._given_up.addresses.add((mm.number, address))
        await mm.page_table_lock.unlock()

    def _may_be_given_up(self, page: Frame) -> bool:
        """Whether reclaim may drop a page that is not written to."""
        return True

    async def _clean(self, page: Frame) -> bool:
        """Take a page out of the swap cache and forget that it is dirty. False: it is busy, or others map it, too."""
        if page.swap is None and not page.dirty:
            return True
        if not await self.trylock_page(page):
            return False
        clean = page.page_mapcount() == 1 and (page.swap is None or await self.try_to_free_swap(page))
        if clean:
            page.dirty = False
        await page.unlock()
        return clean

    def _mark(self, page: Frame) -> None:
        """mark_page_lazyfree."""
        self.conductor.touch(RELEASE, page, "swapbacked")
        self._lazily_freed.add(page.pfn)

    def _is_marked(self, page: Frame) -> bool:
        """Whether a page is anonymous and not PageSwapBacked."""
        self.conductor.touch(YIELD, page, "swapbacked")
        return page.pfn in self._lazily_freed

    @override
    def frame_freed(self, frame: Frame) -> None:
        super().frame_freed(frame)
        self._lazily_freed.discard(frame.pfn)

    @override
    async def migrate_page_states(self, new: Frame, page: Frame) -> None:
        """The mark goes with the page."""
        if self._is_marked(page):
            self._mark(new)
        await super().migrate_page_states(new, page)

    # -- reclaim ------------------------------------------------------------------------------------------------------

    @override
    async def shrink_locked_page(self, page: Frame) -> str:
        """A marked page needs no slot: it is unmapped and freed, if it has not been written since."""
        if page.swap is not None or not self._is_marked(page):
            return await super().shrink_locked_page(page)
        if page.mlocked:
            return "mlocked"
        if await self.page_referenced(page):
            return "referenced"
        await self.try_to_unmap(page, reclaim=True)
        if page.page_mapcount():
            return "mapped"
        return FREED if await page.freeze(1) else "in use"

    @override
    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int, reclaim: bool) -> bool:
        """Of a marked page: the entry is emptied; if the page has been written to it is put back, and the page is
        to be swapped out like any other from now on."""
        if not reclaim or page.swap is not None or not self._is_marked(page):
            return await super().try_to_unmap_one(page, vma, address, reclaim)
        await self.mmu_notifier_invalidate_range_start(vma.mm, address, address + PAGE_SIZE)
        going = await self._drop_one(page, vma, address)
        await self.mmu_notifier_invalidate_range_end(vma.mm, address, address + PAGE_SIZE)
        return going

    async def _drop_one(self, page: Frame, vma: Vma, address: int) -> bool:
        """The part of try_to_unmap_one under the page table lock."""
        mm = vma.mm
        pte = await self.page_check_address(page, mm, address)
        if pte is None:
            return True
        going = not vma.locked and not self.ptep_clear_flush_young(mm, address)
        if going:
            taken = await self.set_pte(mm, address, None)
            page.dirty = page.dirty or (taken is not None and taken.dirty)
            going = await page.count() == 1 + page.page_mapcount() and not page.dirty
            if not going:
                await self.set_pte(mm, address, taken)
        if page.dirty:
            self.conductor.touch(RELEASE, page, "swapbacked")
            self._lazily_freed.discard(page.pfn)
        if going:
            self.memory_epoch += 1
            self.page_remove_rmap(page)
            if (mm.number, address) in self._given_up.addresses:
                for observer in self.observers:
                    observer.zapped(mm, address)
            await page.put()
        await mm.page_table_lock.unlock()
        return going
