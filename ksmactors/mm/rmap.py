"""Reverse mapping: from a page to the page table entries that map it (mm/rmap.c)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import READ, WRITE
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.hooks import RmapOne
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import seam


class Rmap(MmCore):
    """anon_vmas and the walks over them. KSM pages are walked by `rmap_walk_ksm`."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.anon_vmas: list[AnonVma] = []
        """All that were ever made, for observers."""

    def _new_anon_vma(self, root: AnonVma | None) -> AnonVma:
        anon_vma = AnonVma(self.conductor, len(self.anon_vmas) + 1, root)
        self.anon_vmas.append(anon_vma)
        return anon_vma

    @override
    @seam
    def anon_vma_prepare(self, vma: Vma) -> bool:
        """Give a vma its anon_vma before its first page; False when out of memory. Other actors see it with the page
        table entry."""
        if vma.anon_vma is None:
            if self.inject("alloc_anon_vma"):
                return False
            vma.anon_vma = self._new_anon_vma(None)
            self._link(vma, vma.anon_vma)
        return True

    @override
    @seam
    async def anon_vma_clone(self, vma: Vma, source: Vma) -> bool:
        """Link a copy of a vma to all the anon_vmas of its source, under their root's lock; False: no memory."""
        if source.anon_vma is None:
            return True
        if self.inject("alloc_anon_vma"):
            return False
        await source.anon_vma.rwsem.down_write()
        for anon_vma in source.chain:
            self.conductor.touch(WRITE, anon_vma, "vmas")
            self._link(vma, anon_vma)
        await source.anon_vma.rwsem.up_write()
        return True

    @override
    @seam
    async def anon_vma_fork(self, vma: Vma, parent: Vma) -> bool:
        """Link a child's vma to its parent's anon_vmas, and to one of its own for the pages it will get; False: no
        memory, nothing is linked."""
        if parent.anon_vma is None:
            return True
        if not await self.anon_vma_clone(vma, parent):
            return False
        vma.anon_vma = self._new_anon_vma(parent.anon_vma.root)
        await vma.anon_vma.rwsem.down_write()
        self.conductor.touch(WRITE, vma.anon_vma, "vmas")
        self._link(vma, vma.anon_vma)
        await vma.anon_vma.rwsem.up_write()
        return True

    @override
    @seam
    async def unlink_anon_vmas(self, vma: Vma) -> None:
        """Take a vma that goes away out of its anon_vmas; the last one to leave drops their first reference."""
        if vma.anon_vma is None:
            return
        rwsem = vma.anon_vma.rwsem
        await rwsem.down_write()
        for anon_vma in vma.chain:
            self.conductor.touch(WRITE, anon_vma, "vmas")
            anon_vma.unlink(vma)
            if not anon_vma.vmas:
                anon_vma.put()
        vma.chain = []
        await rwsem.up_write()

    @staticmethod
    def _link(vma: Vma, anon_vma: AnonVma) -> None:
        anon_vma.link(vma)
        vma.chain.append(anon_vma)

    # -- mappings of a page -------------------------------------------------------------------------------------

    @override
    @seam
    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        """A new page gets its first mapping: it belongs to the vma's anon_vma from now on."""
        self._page_set_anon_rmap(page, vma, address, exclusive=True)
        page.mapcount = 1
        if vma.locked:
            page.node.mark_mlocked(page, True)
        self.lru_cache_add(page)

    @override
    @seam
    def page_add_anon_rmap(self, page: Frame, vma: Vma, address: int, *, exclusive: bool) -> None:
        """A page from the swap cache gets a mapping. One that has no mapping yet, fresh from the device, belongs to
        the vma's anon_vma from now on, or to its root if others may map it, too; a KSM page stays what it is."""
        page.change_mapcount(1)
        if not page.is_anon:
            self._page_set_anon_rmap(page, vma, address, exclusive=exclusive)

    @override
    @seam
    def page_move_anon_rmap(self, page: Frame, vma: Vma) -> None:
        """A locked page that only this vma maps belongs to its anon_vma from now on."""
        page.mapping = vma.anon_vma

    @seam
    def page_anon_exclusive(self, page: Frame) -> bool:
        """PageAnonExclusive: whether an anonymous page is known to be one process's alone. Never, before v5.19."""
        return False

    def _page_set_anon_rmap(self, page: Frame, vma: Vma, address: int, *, exclusive: bool) -> None:
        """Where the page is to be found from now on (__page_set_anon_rmap)."""
        anon_vma = vma.anon_vma
        if anon_vma is not None:
            page.mapping = anon_vma if exclusive else anon_vma.root
            self.conductor.touch(WRITE, page, "index")
            page.index = vma.index_of(address)

    def _vma_address(self, page: Frame, vma: Vma) -> int | None:
        """Where an ordinary anonymous page would be in a vma, None outside it (__vma_address)."""
        self.conductor.touch(READ, page, "index")
        return vma.address_of(page.index)

    @override
    @seam
    def page_remove_rmap(self, page: Frame) -> None:
        """A page loses a mapping; with the last one it is mlocked no more.

        So it is when a migration unmaps it. The page table lock is held.
        """
        page.change_mapcount(-1)
        if not page.page_mapcount():
            page.node.mark_mlocked(page, False)

    @override
    @seam
    def page_address_in_vma(self, page: Frame, vma: Vma) -> int | None:
        """Where an ordinary anonymous page would be mapped in a vma, or None for "not here".

        Always "not here" for a KSM page: it has no anon_vma. Source: mm/rmap.c, v3.9.
        """
        vma.must_be_alive()
        anon_vma = page.mapping
        if not isinstance(anon_vma, AnonVma) or vma.anon_vma is None or vma.anon_vma.root is not anon_vma.root:
            return None
        return self._vma_address(page, vma)

    @override
    @seam
    async def page_check_address(self, page: Frame, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address if it is present and maps `page`: then the page table lock is held on return."""
        await mm.page_table_lock.lock()
        pte = mm.ptes.get(address)
        if pte is not None and not pte.migration and pte.frame is page:
            return pte
        await mm.page_table_lock.unlock()
        return None

    @override
    @seam
    async def rmap_walk(self, page: Frame, rmap_one: RmapOne, *, mapped: bool = True) -> None:
        """Call `rmap_one(vma, address)` for each place that may map the page, until one says True.

        The page is locked. What keeps its anon_vma is that it is `mapped`: if it is not any more, there is nothing to
        walk (page_lock_anon_vma_read); who walks an unmapped page has a reference of his own on the anon_vma. Source:
        rmap_walk(), try_to_unmap(), v3.9.
        """
        if page.is_ksm:
            await self.rmap_walk_ksm(page, rmap_one)
            return
        anon_vma = page.mapping
        if not isinstance(anon_vma, AnonVma):
            return
        await anon_vma.rwsem.down_read()
        if mapped and not page.page_mapcount():
            await anon_vma.rwsem.up_read()
            return
        anon_vma.must_be_alive()
        self.conductor.touch(READ, anon_vma, "vmas")
        for vma in anon_vma.vmas:
            address = self._vma_address(page, vma)
            if address is not None and await rmap_one(vma, address):
                break
        await anon_vma.rwsem.up_read()

    @override
    @seam
    async def try_to_unmap(self, page: Frame, *, reclaim: bool = False) -> None:
        """Replace the entries that map the locked page: by swap entries if it is in the swap cache, else by migration
        entries (TTU_MIGRATION). With `reclaim` (TTU_UNMAP) an entry that was accessed lately, or is in a VM_LOCKED vma,
        ends it."""
        if not page.page_mapcount():
            return

        async def unmap_one(vma: Vma, address: int) -> bool:
            failed = not await self.try_to_unmap_one(page, vma, address, reclaim)
            return failed or page.page_mapcount() == 0

        await self.rmap_walk(page, unmap_one)

    @seam
    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int, reclaim: bool) -> bool:
        """Unmap the page at one place, if it is mapped there; False: it was accessed lately or is locked there, or may
        not be unmapped, and stays (SWAP_FAIL, SWAP_MLOCK)."""
        mm = vma.mm
        pte = await self.page_check_address(page, mm, address)
        if pte is None:
            return True
        if reclaim and vma.locked:
            await mm.page_table_lock.unlock()
            return not await self.mlock_if_locked(page, vma)
        if reclaim and self.ptep_clear_flush_young(mm, address):
            await mm.page_table_lock.unlock()
            return False
        if not self.may_be_unmapped(page):
            await mm.page_table_lock.unlock()
            return False
        if self.unmapped_as_poisoned(page, reclaim):
            before = await self.set_hwpoison_pte(mm, address, page)
        elif (slot := self.slot_of_unmapped(page, reclaim)) is not None:
            await self.swap_duplicate(slot)
            before = await self.set_swap_pte(mm, address, slot)
        else:
            before = await self.set_pte(mm, address, Pte(page, write=pte.write, migration=True))
        await self._unmapped(page, mm, address, before)
        return True

    async def _unmapped(self, page: Frame, mm: AddressSpace, address: int, before: Pte | None) -> None:
        """What follows when an entry that mapped a page has been replaced. The page table lock is released."""
        self.memory_epoch += 1
        page.dirty = page.dirty or (before is not None and before.dirty)
        self.page_remove_rmap(page)
        await page.put()
        await mm.page_table_lock.unlock()
        await self.mmu_notifier_invalidate_page(mm, address, address + PAGE_SIZE)

    @seam
    def unmapped_as_poisoned(self, page: Frame, reclaim: bool) -> bool:
        """Whether entries that have mapped a page are to name a frame whose memory has failed, so that a fault ends in
        SIGBUS: in v3.9 when migration or reclaim unmaps such a page, too."""
        return self.page_hwpoison(page)

    @override
    @seam
    async def unmap_poisoned(self, page: Frame) -> bool:
        """Unmap a locked page whose memory has failed (TTU_UNMAP with TTU_IGNORE_MLOCK and TTU_IGNORE_ACCESS): whether
        no entry that could be found maps it any more, and none is left.

        The entries name the frame, so that a fault ends in SIGBUS. Those of a page in the swap cache become swap
        entries (TTU_IGNORE_HWPOISON): a fault finds the page there, or reads a good copy from the device.
        """

        async def unmap_one(vma: Vma, address: int) -> bool:
            mm = vma.mm
            if await self.page_check_address(page, mm, address) is not None:
                slot = page.swap
                if slot is None:
                    before = await self.set_hwpoison_pte(mm, address, page)
                else:
                    await self.swap_duplicate(slot)
                    before = await self.set_swap_pte(mm, address, slot)
                await self._unmapped(page, mm, address, before)
            return page.page_mapcount() == 0

        await self.rmap_walk(page, unmap_one)
        return page.page_mapcount() == 0

    @seam
    def may_be_unmapped(self, page: Frame) -> bool:
        """Whether an entry that maps a page may be replaced by a swap or migration entry: always, before v5.19. The
        page table lock is held."""
        return True

    @seam
    def slot_of_unmapped(self, page: Frame, reclaim: bool) -> SwapSlot | None:
        """The slot that entries which have mapped a page are to name; None: they become migration entries."""
        return page.swap

    @override
    @seam
    async def page_referenced(self, page: Frame) -> int:
        """Count the entries through which the locked page was accessed since the last call; 0 if one of them is in a
        VM_LOCKED vma, so that reclaim goes on to unmap it and detects the lock."""
        referenced, locked = 0, False

        async def referenced_one(vma: Vma, address: int) -> bool:
            nonlocal referenced, locked
            if await self.page_check_address(page, vma.mm, address) is not None:
                locked = vma.locked
                referenced += not locked and self.ptep_clear_flush_young(vma.mm, address)
                await vma.mm.page_table_lock.unlock()
            return locked

        if page.page_mapcount():
            await self.rmap_walk(page, referenced_one)
        return 0 if locked else referenced
