"""Reverse mapping: from a page to the page table entries that map it (mm/rmap.c)."""

from __future__ import annotations

from typing import Any

from ksmactors.events import catalogue as ev
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame
from ksmactors.mm.hooks import RmapOne
from ksmactors.mm.page_table import PageTables


class Rmap(PageTables):
    """anon_vmas and the walks over them. KSM pages are walked by `rmap_walk_ksm`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.anon_vmas: list[AnonVma] = []
        """All that were ever made, for observers."""

    def _new_anon_vma(self, root: AnonVma | None) -> AnonVma:
        anon_vma = AnonVma(self.conductor, len(self.anon_vmas) + 1, root)
        self.anon_vmas.append(anon_vma)
        return anon_vma

    def anon_vma_prepare(self, vma: Vma) -> None:
        """Give a vma its anon_vma before its first page. Nobody else sees it before the page table entry does."""
        if vma.anon_vma is None:
            vma.anon_vma = self._new_anon_vma(None)
            self._link(vma, vma.anon_vma)

    async def anon_vma_clone(self, vma: Vma, source: Vma) -> None:
        """Link a copy of a vma to all the anon_vmas of its source, under their root's lock."""
        if source.anon_vma is None:
            return
        await source.anon_vma.rwsem.down_write()
        for anon_vma in source.chain:
            self._link(vma, anon_vma)
        await source.anon_vma.rwsem.up_write()

    async def anon_vma_fork(self, vma: Vma, parent: Vma) -> None:
        """Link a child's vma to its parent's anon_vmas, and to one of its own for the pages it will get."""
        if parent.anon_vma is None:
            return
        await self.anon_vma_clone(vma, parent)
        vma.anon_vma = self._new_anon_vma(parent.anon_vma.root)
        await vma.anon_vma.rwsem.down_write()
        self._link(vma, vma.anon_vma)
        await vma.anon_vma.rwsem.up_write()

    async def unlink_anon_vmas(self, vma: Vma) -> None:
        """Take a vma that goes away out of its anon_vmas; the last one to leave drops their first reference."""
        if vma.anon_vma is None:
            return
        rwsem = vma.anon_vma.rwsem
        await rwsem.down_write()
        for anon_vma in vma.chain:
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

    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        """A new page gets its first mapping: it belongs to the vma's anon_vma from now on."""
        page.mapping = vma.anon_vma
        page.index = vma.index_of(address)
        page.mapcount = 1
        page.lru = True

    def page_address_in_vma(self, page: Frame, vma: Vma) -> int | None:
        """Where an ordinary anonymous page would be mapped in a vma, or None for "not here".

        Always "not here" for a KSM page: it has no anon_vma. Source: mm/rmap.c, v3.9.
        """
        anon_vma = page.mapping
        if not isinstance(anon_vma, AnonVma) or vma.anon_vma is None or vma.anon_vma.root is not anon_vma.root:
            return None
        return vma.address_of(page.index)

    async def rmap_walk(self, page: Frame, rmap_one: RmapOne) -> None:
        """Call `rmap_one(vma, address)` for each place that may map the page, until one says True.

        The page is locked. Source: rmap_walk(), try_to_unmap(), v3.9.
        """
        if page.is_ksm:
            await self.rmap_walk_ksm(page, rmap_one)
            return
        anon_vma = page.mapping
        if not isinstance(anon_vma, AnonVma):
            return
        await anon_vma.rwsem.down_read()
        anon_vma.must_be_alive()
        for vma in anon_vma.vmas:
            address = vma.address_of(page.index)
            if address is not None and await rmap_one(vma, address):
                break
        await anon_vma.rwsem.up_read()

    async def try_to_unmap(self, page: Frame) -> None:
        """Replace every entry that maps the locked page by a migration entry (TTU_MIGRATION)."""

        async def unmap_one(vma: Vma, address: int) -> bool:
            await self.try_to_unmap_one(page, vma, address)
            return page.mapcount == 0

        await self.rmap_walk(page, unmap_one)

    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int) -> None:
        """Unmap the page at one place, if it is mapped there."""
        mm = vma.mm
        pte = await self.page_check_address(page, mm, address)
        if pte is None:
            return
        before = await self.set_pte(mm, address, Pte(page, write=pte.write, migration=True))
        self.memory_epoch += 1
        page.dirty = page.dirty or (before is not None and before.dirty)
        page.mapcount -= 1
        await page.put()
        await mm.page_table_lock.unlock()

    async def zap_page_range(self, mm: AddressSpace, start: int, end: int, step: int) -> None:
        """Empty the entries in [start, end); the pages are put when the page table lock is free again."""
        gone: list[Frame] = []
        await mm.page_table_lock.lock()
        for address in range(start, end, step):
            pte = mm.ptes.get(address)
            if pte is None:
                continue
            await self.set_pte(mm, address, None)
            self.memory_epoch += 1
            for observer in self.observers:
                observer.zapped(mm, address)
            if pte.migration:
                self.migration_entry_to_page(pte)
            elif pte.frame is not self.zero_page:
                pte.frame.mapcount -= 1
                gone.append(pte.frame)
        await mm.page_table_lock.unlock()
        for page in gone:
            await page.put()

    def actor_name(self, number: int) -> str:
        """The name of an actor by its number; "unknown" for -1."""
        return self.conductor.actors[number].name if number >= 0 else "unknown"

    def pte_changed(self, mm: AddressSpace, page: Frame) -> None:
        """Record that an entry changed under a fault or a merge, and who was there first."""
        before = mm.page_table_lock.last_owner
        winner = before.name if before is not None else "unknown"
        self.race(ev.RACE_PTE_CHANGED, winner, page)

    def race(self, code: int, winner: str, page: Frame | None, *, tree: str | None = None, tree_nid: int = -1) -> None:
        """Record a race that the protocol handles; the loser is the actor that has the turn."""
        pfn, nid = (page.pfn, page.nid) if page is not None else (-1, -1)
        self.emit(code, winner, self.conductor.turn.name, tree, tree_nid, nid, pfn)
