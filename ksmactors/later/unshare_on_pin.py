"""A read-only pin unshares a page first, v5.19 (a7f226604170)."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.later.unsharing import handle_unshare_fault
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EFAULT
from ksmactors.mm.fault import fault_errno
from ksmactors.mm.frame import Frame


class UnshareOnPin(Ksm):
    """pin_user_pages for reading gives the process a page of its own if it shares the one that is there.

    Before, a device that read a KSM page for long kept that page; when the process wrote, it got a copy, and the device
    went on with the old one. Plain references (vmsplice) do not unshare. That ksmd
    counts the references of such a page although its entry is clean and read-only is `pinned_checked`.
    """

    async def pin_user_pages(self, mm: AddressSpace, address: int, write: bool) -> Frame | int:
        while not write:
            page = await self.get_user_pages(mm, address, False)
            if isinstance(page, int) or not await self._must_unshare(page):
                return page
            await page.put()
            await mm.down_read()
            vma, pte = mm.vma_at(address), mm.ptes.get(address)
            error = -EFAULT if vma is None else 0
            if vma is not None and pte is not None and not pte.migration and pte.frame is page:
                error = fault_errno(await handle_unshare_fault(self, mm, vma, address, pte))
            await mm.up_read()
            if error:
                return error
        return await super().pin_user_pages(mm, address, write)

    async def _must_unshare(self, page: Frame) -> bool:
        """gup_must_unshare: others may map the page, now or through the swap cache."""
        return page.is_ksm or page.page_mapcount() + await self.page_swapcount(page) > 1
