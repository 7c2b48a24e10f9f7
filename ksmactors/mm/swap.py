"""The swap cache: pages that have, or are getting, a place on the swap device (mm/swap_state.c, mm/swapfile.c).

A page in the swap cache has a reference for that, and its slot is what page->private names. A KSM page keeps its
mapping there: it is SwapCache and KSM at once. An entry of a page table that names a slot is kept apart from the
present ones (`AddressSpace.swap_ptes`), so that what is in `ptes` always names a frame.
"""

from __future__ import annotations

from typing import Final

from ksmactors.errors import EmulatorBug
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.page_table import PageTables
from ksmactors.mm.reports import misuse
from ksmactors.mm.swap_device import SwapDevice, SwapSlot
from ksmactors.seams import seam

SWAP_IO_NS: Final = 20_000
"""What a read or a write takes: some steps of everybody else's, far less than a batch of ksmd."""


SWAP_IO_MOMENTS: Final = 4
"""Between the submission of a write and its end, how many moments there are at which the device may read the page."""


class Swap(PageTables):
    """Slots and the swap cache. The page lock protects whether a page is in the cache, `tree_lock` the cache itself."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.swap: Final = SwapDevice(self.conductor)

    # -- entries ------------------------------------------------------------------------------------------------

    @seam
    async def set_swap_pte(self, mm: AddressSpace, address: int, slot: SwapSlot | None) -> Pte | None:
        """Put a swap entry, or nothing, in the place of whatever is there; returns the present entry before, with the
        dirty bit it had at that instant. The page table lock is held."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.pop(address, None)
        if slot is not None:
            mm.swap_ptes[address] = slot
        else:
            mm.swap_ptes.pop(address, None)
        for listener in self.pte_listeners:
            listener(mm, address, before, None)
        return before

    @seam
    async def swap_duplicate(self, slot: SwapSlot) -> None:
        """One more entry names the slot."""
        await self.conductor.point(WRITE, slot, "count")
        slot.count += 1

    @seam
    async def swap_free(self, slot: SwapSlot) -> int:
        """An entry names the slot no more; the last one frees it, unless the cache needs it. How many are left."""
        await self.conductor.point(WRITE, slot, "count")
        if slot.count <= 0:
            raise EmulatorBug(f"{slot} is freed once too often")
        slot.count -= 1
        self.swap.give_back_unused(slot)
        return slot.count

    def swap_count(self, slot: SwapSlot) -> int:
        """How many entries name the slot at this instant: a look at swap_map without swap_lock."""
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

    # -- the cache ----------------------------------------------------------------------------------------------

    @seam
    async def add_to_swap(self, page: Frame) -> bool:
        """Give a locked page a slot and put it in the swap cache, dirty; False if the device is full."""
        slot = None if self.inject("alloc_swap_slot") else self.swap.take()
        if slot is None:
            return False
        await self.add_to_swap_cache(page, slot)
        page.dirty = True
        return True

    @seam
    async def add_to_swap_cache(self, page: Frame, slot: SwapSlot) -> None:
        """__add_to_swap_cache: a reference, the flag, the place in the radix tree. The page is locked."""
        await page.get()
        await self.swap.tree_lock.lock()
        self.conductor.touch(RELEASE, page, "swap_cache")
        self.conductor.touch(RELEASE, slot, "page")
        page.node.swap_cache[page.pfn] = slot
        slot.page = page
        await self.swap.tree_lock.unlock()

    def forget_cached(self, page: Frame) -> SwapSlot:
        """__delete_from_swap_cache: out of the radix tree, flag and private cleared. `tree_lock` is held."""
        self.conductor.touch(RELEASE, page, "swap_cache")
        slot = page.node.swap_cache.pop(page.pfn)
        self.conductor.touch(RELEASE, slot, "page")
        if slot.writeback:
            raise misuse("leaves_cache_under_writeback", f"pfn {page.pfn} leaves the swap cache under writeback", page)
        slot.page = None
        return slot

    @seam
    async def swapcache_free(self, slot: SwapSlot) -> None:
        """The cache needs the slot no more (SWAP_HAS_CACHE is cleared)."""
        await self.conductor.point(WRITE, slot, "count")
        slot.cached = False
        self.swap.give_back_unused(slot)

    @seam
    async def delete_from_swap_cache(self, page: Frame) -> None:
        """Take a locked page out of the swap cache; the caller has a reference of its own."""
        await self.swap.tree_lock.lock()
        slot = self.forget_cached(page)
        await self.swap.tree_lock.unlock()
        await self.swapcache_free(slot)
        await page.put()

    @seam
    async def try_to_free_swap(self, page: Frame) -> bool:
        """Take a locked page out of the swap cache if no swap entry needs it there, nor a write under way."""
        slot = page.swap
        if slot is None or slot.writeback or await self.page_swapcount(page):
            return False
        await self.delete_from_swap_cache(page)
        page.dirty = True
        return True

    @seam
    async def free_swap_cache(self, page: Frame) -> None:
        """The same for a page that has just lost a mapping, if it was the last and nobody holds the lock."""
        self.conductor.touch(YIELD, page, "swap_cache")
        if page.swap is not None and not page.page_mapcount() and await self.trylock_page(page):
            await self.try_to_free_swap(page)
            await page.unlock()

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

    @seam
    async def lookup_swap_cache(self, slot: SwapSlot) -> Frame | None:
        """The page that is cached for a slot, with a reference; spins while its references are frozen."""
        while True:
            await self.conductor.point(READ, slot, "page")
            page = slot.page
            if page is None:
                return None
            if not await page.get_unless_zero():
                await self.conductor.relax(page)
                continue
            if slot.page is page:
                return page
            await page.put()

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

    # -- the device ---------------------------------------------------------------------------------------------

    @seam
    async def read_swap_cache(self, slot: SwapSlot, nid: int) -> Frame | None:
        """read_swap_cache_async and the end of its read: the page of a slot, with a reference.

        A page that is not cached comes into the cache locked, is read, and unlocked; it may turn out not to be
        uptodate. None: no memory, or nobody needs the slot any more.
        """
        new = None
        while True:
            found = await self.lookup_swap_cache(slot)
            if found is None and new is None:
                new = await self.alloc_page(nid)
            if found is not None or new is None:
                break
            await self.conductor.point(WRITE, slot, "count")
            if slot.cached:  # it is on its way into or out of the radix tree
                await self.conductor.relax(slot)
            elif not slot.count:
                break
            else:
                slot.cached = True
                slot.uptodate = False
                await new.lock()
                await self.add_to_swap_cache(new, slot)
                self.lru_cache_add(new)
                await self.swap_readpage(new, slot)
                return new
        if new is not None:
            await new.put()
        return found

    @seam
    async def swap_readpage(self, page: Frame, slot: SwapSlot) -> None:
        """Read a locked page from the device and unlock it; after an error it is not uptodate."""
        if not self.swap.synchronous:
            await self.conductor.sleep(SWAP_IO_NS)
        await page.write_content(slot.content if slot.content is not None else self.contents.zero)
        slot.uptodate = not (slot.bad or self.inject("swap_read"))
        self.emit(ev.SWAP_READPAGE, slot.number, page.pfn, page.nid, not slot.uptodate)
        await page.unlock()

    @seam
    async def swap_writepage(self, page: Frame) -> None:
        """Write a locked page, or start to, as the device does it; or free its slot if no entry needs it. Unlocks the
        page."""
        slot = page.swap
        if slot is None or await self.try_to_free_swap(page):
            await page.unlock()
            return
        if self.swap.synchronous:
            await self._write_slot(slot, page)
        else:
            slot.writeback = True
            self.swap.writes.append(slot)
            self.conductor.touch(RELEASE, self.swap, "writes")
            self.swap.submitted.wake_all()
        await page.unlock()

    @seam
    async def wait_on_page_writeback(self, page: Frame) -> None:
        """Wait until a page is not being written. The caller holds a reference."""
        await self.conductor.point(READ, page, "writeback")
        while (slot := page.swap) is not None and slot.writeback:
            await self.swap.written.wait()

    @seam
    async def end_swap_writes(self) -> None:
        """The body of the device: writes one page after the other. Never returns."""
        device = self.swap
        while True:
            while not device.writes:
                await device.submitted.wait()
            slot = device.writes.popleft()
            self.conductor.touch(ACQUIRE, device, "writes")
            early = self.swap_read_moment() * (SWAP_IO_NS // SWAP_IO_MOMENTS)
            await self.conductor.sleep(SWAP_IO_NS - early)
            page = slot.page
            if page is None:
                raise EmulatorBug(f"{slot} is written, and has no page")
            await self._write_slot(slot, page)
            if early:
                await self.conductor.sleep(early)
            await self.end_page_writeback(page, slot)
            device.written.wake_all()

    async def _write_slot(self, slot: SwapSlot, page: Frame) -> None:
        """Store the content of a page on the device."""
        slot.content = await page.read_content()
        self.emit(ev.SWAP_WRITEPAGE, slot.number, page.pfn, page.nid)

    @seam
    def swap_read_moment(self) -> int:
        """When the device reads a page that it writes, drawn: 0 is just before the end of the write, each one more the
        same time earlier."""
        return self.conductor.draw("swap.read_early", SWAP_IO_MOMENTS)

    @seam
    async def end_page_writeback(self, page: Frame, slot: SwapSlot) -> None:
        """A page has been written: it is under writeback no more."""
        await self.conductor.point(WRITE, page, "writeback")
        slot.writeback = False
