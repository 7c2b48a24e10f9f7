"""Slots of the swap device, and swapoff, which brings everything back into memory (mm/swapfile.c)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.const import EINVAL, ENOMEM, PAGE_SIZE
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import lifetime
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import part, seam


class Swapfile(MmCore):
    """How many entries name a slot (swap_map), when it can go, and try_to_unuse with what it calls."""

    # -- slots --------------------------------------------------------------------------------------------------

    @override
    @seam
    async def swap_duplicate(self, slot: SwapSlot) -> None:
        """One more entry names the slot."""
        await self.conductor.point(WRITE, slot, "count")
        slot.count += 1

    @override
    @seam
    async def swap_free(self, slot: SwapSlot) -> int:
        """An entry names the slot no more; the last one frees it, unless the cache needs it. How many are left."""
        await self.conductor.point(WRITE, slot, "count")
        if slot.count <= 0:
            raise lifetime("swap_slot", f"{slot} loses a user, and has none", slot)
        slot.count -= 1
        self.swap.give_back_unused(slot)
        return slot.count

    def swap_count(self, slot: SwapSlot) -> int:
        """Return how many entries name the slot: swap_map, read without swap_lock."""
        self.conductor.touch(YIELD, slot, "count")
        return slot.count

    @seam
    async def page_swapcount(self, page: Frame) -> int:
        """How many swap entries name the slot of a page; 0 if it is in no cache. The page is locked."""
        slot = page.swap
        if slot is None:
            return 0
        await self.conductor.point(READ, slot, "count")
        return slot.count

    @seam
    async def swapcache_prepare(self, slot: SwapSlot) -> bool:
        """The cache needs a slot that an entry names (SWAP_HAS_CACHE is set); False if it has it, or no entry does."""
        await self.conductor.point(WRITE, slot, "count")
        prepared = slot.count > 0 and not slot.cached
        slot.cached = slot.cached or prepared
        return prepared

    @override
    @seam
    async def swapcache_free(self, slot: SwapSlot) -> None:
        """The cache needs the slot no more (SWAP_HAS_CACHE is cleared)."""
        await self.conductor.point(WRITE, slot, "count")
        slot.cached = False
        self.swap.give_back_unused(slot)

    @override
    @seam
    async def reuse_swap_page(self, page: Frame) -> bool:
        """Whether a write fault may keep the locked page for itself: never a KSM page (v3.9).

        Swap entries count as mappings. A page that is kept leaves the swap cache, unless it is being written.
        """
        self.conductor.touch(YIELD, page, "mapping")
        if page.is_ksm:
            return False
        if page.page_mapcount() > 1 or page.swap is None:
            return page.page_mapcount() <= 1
        count = page.page_mapcount() + await self.page_swapcount(page)
        if count == 1 and not page.swap.writeback:
            await self.delete_from_swap_cache(page)
            page.dirty = True
        return count <= 1

    @override
    @seam
    async def try_to_free_swap(self, page: Frame) -> bool:
        """Take a locked page out of the swap cache if no swap entry needs it there, nor a write under way."""
        slot = page.swap
        if slot is None or slot.writeback or await self.page_swapcount(page):
            return False
        await self.delete_from_swap_cache(page)
        page.dirty = True
        return True

    @override
    @seam
    async def free_swap_and_cache(self, slot: SwapSlot) -> None:
        """A swap entry goes; if it was the last, its page leaves the cache. The page table lock is held."""
        if await self.swap_free(slot) or not slot.cached:
            return
        page = await self.lookup_swap_cache(slot)
        if page is None:
            return
        if await self.trylock_page(page):
            # The kernel tries the lock under swap_lock; here reclaim may have unmapped the page to the slot meanwhile.
            unused = page.swap is slot and not self.swap_count(slot) and not slot.writeback
            if unused and (not page.page_mapcount() or self.swap.full):
                await self.delete_from_swap_cache(page)
                page.dirty = True
            await page.unlock()
        await page.put()

    # -- swapoff ------------------------------------------------------------------------------------------------

    @seam
    async def swapoff(self) -> int:
        """Bring back all pages that are on the device: 0, -ENOMEM, or -EINVAL if that is under way already.

        A page that others need as well, and that cannot be theirs, is written, dropped and read again for the next.
        Meanwhile the device gives out no slot, so reclaim sends nothing new there. It stays: what goes to swap
        afterwards finds it as it was. Source: sys_swapoff() and try_to_unuse(), v3.9.
        """
        result = -EINVAL
        if self.swap.writeok:
            self.swap.set_writeok(False)
            result = await self._empty_device()
            self.swap.set_writeok(True)
        self.emit(ev.SWAPOFF, result)
        return result

    async def _empty_device(self) -> int:
        while (slot := self.swap.first_used()) is not None:
            failed = await self.try_to_unuse(slot)
            if failed:
                return failed
        return 0

    @seam
    async def try_to_unuse(self, slot: SwapSlot) -> int:
        """One round for one slot: 0 (it may still be in use) or -ENOMEM."""
        page = await self.read_swap_cache(slot, 0)
        if page is None:
            if self.swap.used.get(slot.number) is not slot:
                return 0
            if self.swap_count(slot):
                return -ENOMEM
            await self.conductor.relax(slot)
            return 0
        await page.lock()
        await self.wait_on_page_writeback(page)
        result = 0
        for mm in list(self.address_spaces):
            if result or not self.swap_count(slot):
                break
            if mm.users and mm.swap_ptes:
                result = await self.unuse_mm(mm, slot, page)
        if page.swap is slot and self.swap_count(slot) and page.dirty:
            page.dirty = False
            await self.swap_writepage(page)
            await page.lock()
            await self.wait_on_page_writeback(page)
        if page.swap is slot and not slot.writeback:
            await self.delete_from_swap_cache(page)
        page.dirty = True
        await page.unlock()
        await page.put()
        return result

    @seam
    async def unuse_mm(self, mm: AddressSpace, slot: SwapSlot, page: Frame) -> int:
        """Replace the entries of one address space that name the slot: 0 or -ENOMEM. The page is locked; its lock is
        let go while mmap_sem is waited for, which comes first in the order of locks."""
        self.mmget(mm)
        await page.unlock()
        await mm.down_read()
        await page.lock()
        result = 0
        for vma in list(mm.vmas.values()):
            if vma.anon_vma is not None and not result:
                result = await self.unuse_vma(vma, slot, page)
        await mm.up_read()
        await page.unlock()
        await self.mmput(mm)
        await page.lock()
        return result

    @seam
    async def unuse_vma(self, vma: Vma, slot: SwapSlot, page: Frame) -> int:
        """The same for one vma; an ordinary page is looked for only where it belongs."""
        addresses = range(vma.start, vma.end, PAGE_SIZE)
        if isinstance(page.mapping, AnonVma):
            address = self.page_address_in_vma(page, vma)
            if address is None:
                return 0
            addresses = range(address, address + PAGE_SIZE, PAGE_SIZE)
        for address in addresses:
            if vma.mm.swap_ptes.get(address) is slot:
                failed = await self.unuse_pte(vma, address, slot, page)
                if failed:
                    return failed
        return 0

    @seam
    async def unuse_pte(self, vma: Vma, address: int, slot: SwapSlot, swapcache: Frame) -> int:
        """Map the page, or a copy of it, read-only in the place of one swap entry: 0 or -errno.

        As in v3.9, whether the page could be read is not checked.
        """
        mm = vma.mm
        page = await self.page_to_unuse(swapcache, vma, address)
        if page is None:
            return -ENOMEM
        await mm.page_table_lock.lock()
        same = self.swap_pte_same(mm, address, slot, page)
        if same:
            self.memory_epoch += 1
            if page is swapcache:
                await page.get()
            await self.set_pte(mm, address, Pte(page))
            if page is swapcache:
                self.page_add_anon_rmap(page, vma, address, exclusive=False)
            else:
                self.page_add_new_anon_rmap(page, vma, address)
            await self.swap_free(slot)
        await mm.page_table_lock.unlock()
        if page is not swapcache:
            await page.unlock()
            if not same:
                await page.put()
        return 0

    @part
    async def page_to_unuse(self, swapcache: Frame, vma: Vma, address: int) -> Frame | None:
        """The page to map for a locked page of the swap cache: itself or a locked copy; None: no memory."""
        return await self.ksm_might_need_to_copy(swapcache, vma, address)
