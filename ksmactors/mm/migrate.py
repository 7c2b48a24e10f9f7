"""Page migration (mm/migrate.c): unmap to migration entries, move the mapping, copy, restore.

Labels W0 to W8 are those of the barrier protocol: their order is what a reader that comes through a stable
node's kpfn relies on.
"""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, RELEASE, WRITE
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EACCES, EAGAIN, EBUSY, ENOENT, ENOMEM
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import misuse
from ksmactors.seams import part, seam

PASSES: Final = 10
"""migrate_pages tries so often; it blocks on the page lock from the fourth pass on."""

FORCE_AFTER: Final = 2


class Migration(MmCore):
    """Migration of single pages, as move_pages and compaction ask for it. Never takes ksm_thread_mutex."""

    @seam
    async def move_pages(self, mm: AddressSpace, address: int, nid: int, move_all: bool) -> int:
        """Move the page at an address to a node, as move_pages(2) does for one page.

        `move_all` is MPOL_MF_MOVE_ALL: pages that are mapped more than once, too. mmap_sem is held for read
        throughout. Returns the node it is on now, or -ENOENT (nothing there), -EACCES (mapped more than once),
        -EBUSY (another actor isolated it), -ENOMEM, -EAGAIN (a reference or a mapping that was not found).
        """
        await self.lru_add_drain_all()
        await mm.down_read()
        status, page = await self.add_page_for_migration(mm, address, nid, move_all)
        if page is not None:
            status = await self.do_move_page(page, nid)
        await mm.up_read()
        return status

    @seam
    async def add_page_for_migration(
        self, mm: AddressSpace, address: int, nid: int, move_all: bool
    ) -> tuple[int, Frame | None]:
        """The page at an address, isolated to be moved to a node; or None, and the status. mmap_sem is held."""
        if mm.vma_at(address) is None:
            return -ENOENT, None
        page = await self.page_to_move(mm, address)
        if page is None:
            return self.no_page_to_move(mm, address), None
        status = page.nid
        isolated = False
        if page.nid != nid:
            if page.page_mapcount() > 1 and not move_all:
                status = -EACCES
            else:
                isolated = await self.isolate_lru_page(page)
                status = 0 if isolated else -EBUSY
        await page.put()
        return status, page if isolated else None

    @seam
    async def do_move_page(self, page: Frame, nid: int) -> int:
        """Migrate an isolated page: the node it is on now, or -errno."""
        return await self.migrate_pages(page, nid) or nid

    @seam
    def do_pages_stat(self, mm: AddressSpace, address: int) -> int:
        """What move_pages(2) without nodes stores for an address: the node its page is on, or -errno."""
        pte = mm.ptes.get(address)
        if pte is None or pte.migration or pte.frame is self.zero_page:
            return self.no_page_to_move(mm, address)
        return pte.frame.nid

    @part
    async def page_to_move(self, mm: AddressSpace, address: int) -> Frame | None:
        """The page at an address with a reference, or None if there is none that move_pages may have."""
        return await self.follow_page(mm, address)

    @seam
    def no_page_to_move(self, mm: AddressSpace, address: int) -> int:
        """The status of an address at which no page is present."""
        return -ENOENT

    @seam
    def move_pages_answer(self, status: int) -> tuple[int, int | None]:
        """What move_pages(2) for one page returns to its caller, and the status it stores there, if any."""
        return 0, status

    @override
    @seam
    async def migrate_pages(self, page: Frame, nid: int, *, exactly: bool = True) -> int:
        """Migrate an isolated page to a node, or unless `exactly` to the next that has room: 0, -ENOMEM, or -EAGAIN
        after ten passes. Drops the isolation."""
        for attempt in range(PASSES):
            result = await self.unmap_and_move(page, nid, force=attempt > FORCE_AFTER, exactly=exactly)
            if result != -EAGAIN:
                return result
            await self.conductor.relax(page)
        self.emit(ev.MIGRATE_PAGE, page.pfn, page.pfn, page.nid, -EAGAIN)
        await self.putback_lru_page(page)
        return -EAGAIN

    @seam
    async def unmap_and_move(self, page: Frame, nid: int, *, force: bool, exactly: bool) -> int:
        """One try. On anything but -EAGAIN the page is off the caller's hands."""
        new = await self.alloc_page(nid, exactly=exactly)
        if new is None:
            self.emit(ev.MIGRATE_PAGE, page.pfn, page.pfn, page.nid, -ENOMEM)
            await self.putback_lru_page(page)
            return -ENOMEM
        old_pfn, old_nid = page.pfn, page.nid
        if await page.count() == 1:
            result = 0  # all that mapped it has gone: dropping the isolation frees it
            moved = False
        else:
            result = await self.unmap_and_move_locked(page, new, force)
            moved = result == 0
        if result != -EAGAIN:
            if moved:
                self.emit(ev.MIGRATE_PAGE, new.pfn, old_pfn, new.nid, 0)
            else:
                self.emit(ev.MIGRATE_PAGE, old_pfn, old_pfn, old_nid, result)
            await self.release_migrated(page)
        if moved:
            await self.putback_lru_page(new)
        else:
            await new.put()
        return result

    @part
    async def release_migrated(self, page: Frame) -> None:
        """Drop the isolation of a page whose content is elsewhere, or that no process maps any more: it is freed."""
        await self.putback_lru_page(page)

    @seam
    async def unmap_and_move_locked(self, page: Frame, new: Frame, force: bool) -> int:
        """__unmap_and_move: lock, unmap, move or restore, unlock: 0 or -EAGAIN."""
        if not await self.trylock_page(page):
            owner = page.owner
            self.race(ev.RACE_MIGRATION_LOCKED, owner.name if owner is not None else "unknown", page)
            if not force:
                return -EAGAIN
            await page.lock()
        result = await self.move_locked(page, new, force)
        await page.unlock()
        return result

    @part
    async def move_locked(self, page: Frame, new: Frame, force: bool) -> int:
        """The part of __unmap_and_move under the page lock: 0 or -EAGAIN."""
        if (slot := page.swap) is not None and slot.writeback:
            if not force:
                return -EAGAIN
            await self.wait_on_page_writeback(page)
        anon_vma = None
        remap = True
        if page.is_anon and not page.is_ksm:
            if page.page_mapcount():
                anon_vma = page.mapping.get()  # type: ignore[union-attr]  # an ordinary page's mapping is its anon_vma
            elif page.swap is not None:
                remap = False  # nothing keeps its anon_vma, and there is nothing to restore
            else:  # nothing keeps its anon_vma: it is on its way out
                return -EAGAIN
        result = -EAGAIN
        if page.is_anon:
            await self.try_to_unmap(page)
        if page.page_mapcount() == 0:
            result = await self.move_to_new_page(new, page, remap=remap)
        if result:
            self.race(ev.RACE_MIGRATION_BUSY, self.actor_name(page.getter), page)
            if remap:
                await self.remove_migration_ptes(page, page)
        if anon_vma is not None:
            anon_vma.put()
        return result

    @seam
    async def move_to_new_page(self, new: Frame, page: Frame, *, remap: bool) -> int:
        """Make `new` the page that `page` was: 0, or -EAGAIN with nothing changed. `page` is locked, unmapped; `remap`
        says whether entries are to be restored."""
        await new.lock()
        self.conductor.touch(READ, page, "index")
        self.conductor.touch(WRITE, new, "index")
        new.index = page.index
        await new.set_mapping(page.mapping)  # W0
        result = await self.migrate_page_move_mapping(new, page)
        if result == 0:
            await self.migrate_page_copy(new, page)
            if remap:
                await self.remove_migration_ptes(page, new)  # W7
            await page.set_mapping(None)  # W8
        else:
            await new.set_mapping(None)
        await new.unlock()
        return result

    @seam
    async def migrate_page_move_mapping(self, new: Frame, page: Frame) -> int:
        """Check that only the isolation and the swap cache hold references: 0 or -EAGAIN.

        A snapshot, not a freeze, for a page that is in no cache (C1): a reference taken after it goes unnoticed. A page
        in the swap cache is frozen while the cache switches to the new page (C2, W1).
        """
        if self.inject("migrate"):
            return -EAGAIN
        slot = page.swap
        if slot is None:
            if await page.count() != 1:
                return -EAGAIN
            await self.no_turning_back(new, page)
            return 0
        await self.swap.tree_lock.lock()
        frozen = await page.freeze(2)
        if frozen:
            await self.no_turning_back(new, page)
            await new.get()
            self.conductor.touch(RELEASE, new, "swap_cache")
            self.conductor.touch(RELEASE, slot, "page")
            new.node.swap_cache[new.pfn] = slot
            slot.page = new
            await page.unfreeze(1)
        await self.swap.tree_lock.unlock()
        return 0 if frozen else -EAGAIN

    @seam
    async def no_turning_back(self, new: Frame, page: Frame) -> None:
        """The references have been found to be those expected: `new` becomes the page. In v3.9 it has the mapping by
        now (W0)."""

    @seam
    async def migrate_page_copy(self, new: Frame, page: Frame) -> None:
        """W2 to W6: content and flags, then the stable node."""
        await self._copy_content(new, page)
        await self.migrate_page_states(new, page)

    async def _copy_content(self, new: Frame, page: Frame) -> None:
        """copy_highpage."""
        await new.write_content(await page.read_content())

    @seam
    async def migrate_page_states(self, new: Frame, page: Frame) -> None:
        """The part of migrate_page_copy after the content: flags, the stable node (W3 to W5), the cache (W6)."""
        self.smp_wmb()  # SetPageUptodate has one: who sees the flag sees the content, and what was stored before
        new.dirty, new.writer = page.dirty, page.writer
        await self.ksm_migrate_page(new, page)
        if page.swap is not None:
            await self.clear_page_swap_cache(page)

    @seam
    async def clear_page_swap_cache(self, page: Frame) -> None:
        """W6: the old page forgets that it was in the swap cache; a reader of kpfn may spin until it does."""
        await self.conductor.point(WRITE, page, "swap_cache")
        del page.node.swap_cache[page.pfn]

    # -- migration entries --------------------------------------------------------------------------------------

    @seam
    async def remove_migration_ptes(self, old: Frame, new: Frame) -> None:
        """Replace the migration entries that name `old` by entries that map `new` (or `old`, to undo)."""

        async def restore_one(vma: Vma, address: int) -> bool:
            await self.remove_migration_pte(new, vma, address, old)
            return False

        await self.rmap_walk(new, restore_one, mapped=False)

    @seam
    async def remove_migration_pte(self, new: Frame, vma: Vma, address: int, old: Frame) -> None:
        """Restore one entry, if there is a migration entry that names the old page."""
        mm = vma.mm
        await mm.page_table_lock.lock()
        pte = mm.ptes.get(address)
        if pte is not None and pte.migration and pte.frame is old:
            await new.get()
            self.page_add_migrated_rmap(new, vma)
            await self.set_pte(mm, address, Pte(new, write=pte.write))
        await mm.page_table_lock.unlock()

    @seam
    def page_add_migrated_rmap(self, new: Frame, vma: Vma) -> None:
        """A page gets a mapping in the place of a migration entry. It is locked, and so is the page table.

        It is not marked as Mlocked, and the old page lost its mark with its last mapping: a mistake of v3.7's. The next
        reclaim that meets the page puts it right.
        """
        new.change_mapcount(1)

    @override
    @seam
    def migration_entry_to_page(self, pte: Pte) -> Frame:
        """The page that a migration entry names. It is locked for as long as the entry exists, or the entry has been
        left behind by its migration (a BUG_ON of the kernel's). The page table lock is held."""
        if pte.frame.owner is None:
            message = f"a migration entry names pfn {pte.frame.pfn}, which is not locked"
            raise misuse("stranded_migration_entry", message, pte.frame)
        return pte.frame

    @override
    @seam
    async def migration_entry_wait(self, mm: AddressSpace, address: int) -> None:
        """Wait until the page that a migration entry names is unlocked (v3.9). The caller looks again.

        Takes a reference on the page for as long as it waits, which can make that migration back off.
        """
        await mm.page_table_lock.lock()
        pte = mm.ptes.get(address)
        if pte is None or not pte.migration:
            await mm.page_table_lock.unlock()
            return
        page = self.migration_entry_to_page(pte)
        self.emit(ev.MIGRATION_ENTRY_WAIT, mm.name, address, page.pfn)
        got = await page.get_unless_zero()
        await mm.page_table_lock.unlock()
        if not got:
            await self.conductor.relax(page)
            return
        await page.wait_unlocked()
        await page.put()
