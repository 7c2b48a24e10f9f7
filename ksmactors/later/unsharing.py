"""FAULT_FLAG_UNSHARE, v5.19: a fault that asks for a page of the process's own, not for a write."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte, Vma


async def handle_unshare_fault(kernel: Ksm, mm: AddressSpace, vma: Vma, address: int, pte: Pte) -> int:
    """handle_mm_fault(FAULT_FLAG_UNSHARE) on a present entry: VM_FAULT_ bits, 0 if the entry has changed meanwhile, or
    if the page is, or turns out to be, the process's own.

    The copy is neither writable nor dirty. mmap_sem is held. Source: do_wp_page(), v6.1.
    """
    await mm.page_table_lock.lock()
    if mm.ptes.get(address) != pte or kernel.page_anon_exclusive(pte.frame):
        await mm.page_table_lock.unlock()
        return 0
    own = await kernel.wp_page_becomes_own(mm, vma, address, pte)
    if own is None:
        return 0
    if own:
        await mm.page_table_lock.unlock()
        return 0
    return await kernel.wp_page_copy(mm, vma, address, pte, write=False)
