"""A page comes back from a RAM disk without the swap cache, v4.15 (0bcac06f27d7). Recording: guest swapped_pinned."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_WRITE
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot


class SkipSwapCache(Ksm):
    """do_swap_page reads a page that one entry names, and that is not in the swap cache, into a page of the process's.

    Only from a device whose reads have ended when they return (SWP_SYNCHRONOUS_IO). That page is in no cache, so it is
    exclusive to its process: a write is made in place even if the page is pinned meanwhile. One that stays in the swap
    cache is copied then.

    While it is read the entry counts as cached (swapcache_prepare, v6.8 and stable kernels: 13ddaf26be32); another
    fault on it tries again. Up to v6.18; later kernels take the swap cache for all, and leave it once the page is
    mapped.
    """

    @override
    async def do_swap_page(self, mm: AddressSpace, vma: Vma, address: int, slot: SwapSlot, write: bool) -> int:
        if not self.swap.synchronous:
            return await super().do_swap_page(mm, vma, address, slot, write)
        cached = await self.lookup_swap_cache(slot)
        if cached is not None:
            await cached.put()
        if cached is not None or self.swap_count(slot) != 1:
            return await super().do_swap_page(mm, vma, address, slot, write)
        page = await self.alloc_page(vma.nid)
        if page is None:
            return VM_FAULT_OOM if mm.swap_ptes.get(address) is slot else 0
        if not await self.swapcache_prepare(slot):
            await page.put()
            await self.conductor.relax(slot)
            return 0
        await page.lock()
        self.lru_cache_add(page)
        await self.swap_readpage(page, slot)
        await page.lock()
        result, mapped = await self._map_fresh(vma, address, slot, page, write)
        await self.swapcache_free(slot)  # swapcache_clear
        await page.unlock()
        if not mapped:
            await page.put()
        return result

    async def _map_fresh(self, vma: Vma, address: int, slot: SwapSlot, page: Frame, write: bool) -> tuple[int, bool]:
        """The part of do_swap_page under the page table lock: VM_FAULT_ bits, and whether the page was mapped."""
        mm = vma.mm
        await mm.page_table_lock.lock()
        result = 0
        mapped = self.swap_pte_same(mm, address, slot, page)
        if not mapped:
            self.pte_changed(mm, page)
        elif not slot.uptodate:
            result, mapped = VM_FAULT_SIGBUS, False
        else:
            self.memory_epoch += 1
            result = VM_FAULT_WRITE if write else 0
            await self.set_pte(mm, address, Pte(page, write=write, dirty=write))
            self.page_add_anon_rmap(page, vma, address, exclusive=True)
            self.emit(ev.DO_SWAP_PAGE, mm.name, address, page.pfn, page.pfn, page.nid)
            await self.swap_free(slot)
        await mm.page_table_lock.unlock()
        return result, mapped
