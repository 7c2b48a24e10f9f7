"""get_user_pages and follow_page (mm/memory.c in v3.9, mm/gup.c since v3.16)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import (
    EFAULT,
    EHWPOISON,
    EIO,
    ENOMEM,
    ERESTARTSYS,
    VM_FAULT_HWPOISON,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
)
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam


def fault_errno(result: int) -> int:
    """What the VM_FAULT_ bits of a fault mean to who wanted the page: 0, -EIO, -EHWPOISON or -ENOMEM."""
    if result & VM_FAULT_HWPOISON:
        return -EHWPOISON
    if result & VM_FAULT_SIGBUS:
        return -EIO
    return -ENOMEM if result & VM_FAULT_OOM else 0


class GetUserPages(MmCore):
    """Looks pages up for callers other than the CPU of a thread: devices, ksmd, mlock, migration."""

    @override
    @seam
    async def follow_page(
        self, mm: AddressSpace, address: int, *,
        migration: bool = False, write: bool = False, zero: bool = False, pin: bool = False,
    ) -> Frame | None:  # fmt: skip
        """The page mapped at an address, with a reference taken under the page table lock, or None.

        None for a hole, the zero page unless `zero`, a swap entry and a migration entry; with `migration`
        (FOLL_MIGRATION) the end of a migration is waited for; with `write` (FOLL_WRITE) it must be writable; with `pin`
        (FOLL_PIN) the reference is a pin. The caller holds mmap_sem. Source: follow_page(), v3.9.
        """
        while True:
            await mm.page_table_lock.lock()
            pte = mm.ptes.get(address)
            if pte is not None and not pte.migration:
                refused = (pte.frame is self.zero_page and not zero) or not self.can_follow_pte(
                    pte, write=write, pin=pin
                )
                page = None if refused else pte.frame
                if page is not None:
                    await self.try_grab_page(page, pin=pin)
                await mm.page_table_lock.unlock()
                return page
            await mm.page_table_lock.unlock()
            if pte is None or not migration:
                return None
            await self.migration_entry_wait(mm, address)

    @seam
    def can_follow_pte(self, pte: Pte, *, write: bool, pin: bool) -> bool:
        """Whether get_user_pages may have the page of a present entry as it is; if not, it is faulted in. The page
        table lock is held."""
        return pte.write or not write

    @seam
    async def try_grab_page(self, page: Frame, *, pin: bool) -> None:
        """Take a reference on a mapped page; before v5.7 a pin is one like any other."""
        await page.get()

    @override
    @seam
    async def get_user_pages(self, mm: AddressSpace, address: int, write: bool, *, pin: bool = False) -> Frame | int:
        """Return the page at an address with a reference, for I/O.

        A page that is not there or, for a write, not the process's own, is faulted in. For a read the zero page is
        enough. With `pin` the reference is a pin (FOLL_PIN). -EFAULT, -EIO, -ENOMEM as a fault; -ERESTARTSYS: a signal
        is pending.

        mmap_sem is held for read meanwhile, not afterwards. Source: __get_user_pages(), v3.9.
        """
        await mm.down_read()
        result: Frame | int = -EFAULT
        while (vma := mm.vma_at(address)) is not None:
            page = await self.follow_page(mm, address, write=write, zero=not write, pin=pin)
            if page is not None:
                result = page
                break
            if self.conductor.turn.signal_pending:
                result = -ERESTARTSYS
                break
            error = fault_errno(await self.faultin_page(mm, vma, address, write, pin))
            if error:
                result = -EFAULT if error == -EHWPOISON else error  # no caller asks for FOLL_HWPOISON
                break
        await mm.up_read()
        return result

    @seam
    async def faultin_page(self, mm: AddressSpace, vma: Vma, address: int, write: bool, pin: bool) -> int:
        """The fault of get_user_pages at a page that it could not follow: VM_FAULT_ bits. mmap_sem is held."""
        return await self.handle_mm_fault(mm, vma, address, write)

    @override
    @seam
    async def pin_user_pages(self, mm: AddressSpace, address: int, write: bool) -> Frame | int:
        """Pin the page at an address for DMA (FOLL_PIN): as `get_user_pages`; before v5.7 there is no difference.

        `unpin_user_page` ends it. What takes a plain reference only, such as vmsplice, calls `get_user_pages`, and ends
        with a put.
        """
        return await self.get_user_pages(mm, address, write, pin=True)

    @override
    @seam
    async def unpin_user_page(self, page: Frame) -> None:
        """End a pin that `pin_user_pages` has made."""
        await page.put()
