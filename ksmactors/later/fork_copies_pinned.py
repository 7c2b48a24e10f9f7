"""fork copies a page that may be pinned, v5.9 (70e806e4e645)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import YIELD
from ksmactors.later.anon_exclusive import AnonExclusive
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import ENOMEM
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam


class ForkCopiesPinned(AnonExclusive):
    """The child gets a copy at once, and the pinned page stays the parent's, writable as it was.

    v3.9 shares it: the process that writes first gets a copy. If that is the parent, what a device stores to the page
    goes to the child. That an address space has never pinned anything (MMF_HAS_PINNED) is not emulated: the count of
    references says the same.
    """

    @override
    async def copy_one_pte(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma, address: int) -> int:
        """The page for the copy is allocated without the page table locks, and all is looked at again (-EAGAIN of
        copy_pte_range)."""
        if self._pinned_page(oldmm, address) is None:
            return await super().copy_one_pte(mm, oldmm, vma, address)
        await oldmm.page_table_lock.unlock()
        await mm.page_table_lock.unlock()
        new = await self.alloc_page(vma.nid)
        await mm.page_table_lock.lock()
        await oldmm.page_table_lock.lock()
        if new is None:
            return -ENOMEM
        page = self._pinned_page(oldmm, address)
        if page is None:
            await new.put()
            return await super().copy_one_pte(mm, oldmm, vma, address)
        await self.copy_present_page(mm, address, new, page)
        return 0

    def _pinned_page(self, oldmm: AddressSpace, address: int) -> Frame | None:
        """page_try_dup_anon_rmap fails: the exclusive page at an address, if it may be pinned."""
        pte = oldmm.ptes.get(address)
        if pte is None or pte.migration or not self.page_anon_exclusive(pte.frame):
            return None
        return pte.frame if self.page_maybe_dma_pinned(pte.frame) else None

    @seam
    async def copy_present_page(self, mm: AddressSpace, address: int, new: Frame, page: Frame) -> None:
        """Give the child `new` as its own copy of `page`. Both page table locks are held."""
        vma = mm.vma_at(address)
        assert vma is not None, "the child's vma is there before its entries"
        new.content = await page.read_content()
        self.page_add_new_anon_rmap(new, vma, address)
        await self.set_pte(mm, address, Pte(new, write=True, dirty=True))
        self.conductor.touch(YIELD, page, "content")
        new.content = page.content  # a store since the copy counts as one before: nothing else distinguishes the two
