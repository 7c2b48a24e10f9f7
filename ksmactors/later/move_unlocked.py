"""move_pages(2) moves pages without mmap_lock, v4.18 (a49bd4d71637). Recordings: races r15, r31."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace


class MoveUnlocked(Ksm):
    """move_pages holds mmap_lock only during the page's look-up and isolation.

    v3.9 holds it, for read, until the page has been moved. Now madvise, munmap, fork and mremap of the process itself
    find the migration entry: unmerging waits for it, munmap takes it away, fork copies it.
    """

    @override
    async def move_pages(self, mm: AddressSpace, address: int, nid: int, move_all: bool) -> int:
        await self.lru_add_drain_all()
        await mm.down_read()
        status, page = await self.add_page_for_migration(mm, address, nid, move_all)
        await mm.up_read()
        return status if page is None else await self.do_move_page(page, nid)
