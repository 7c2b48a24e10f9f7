"""Page tables: reading and changing entries under the page table lock, follow_page, waiting for migration.

A change of an entry is one operation that also invalidates the TLB: who comes later sees it, on every CPU.
"""

from __future__ import annotations

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame
from ksmactors.mm.pagevec import Pagevecs
from ksmactors.mm.reports import misuse
from ksmactors.seams import seam


class PageTables(Pagevecs):
    """mm/memory.c, the part about entries; and the CPU's own accesses through them."""

    aging = False
    """Whether accessed bits are kept (`AddressSpace.young`): only once somebody reclaims, who else would look?"""

    def page_at(self, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address, for observers: no point, no lock."""
        return mm.ptes.get(address)

    @seam
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        """ptep_clear_flush and set_pte_at in one: the entry before, with the dirty bit it had at that instant.

        The page table lock is held; a CPU may still write through the old entry until the exchange happens.
        """
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes.get(address)
        if mm.swap_ptes:
            mm.swap_ptes.pop(address, None)
        if pte is not None:
            mm.ptes[address] = pte
        elif before is not None:
            del mm.ptes[address]
        for listener in self.pte_listeners:
            listener(mm, address, before, pte)
        return before

    @seam
    async def ptep_set_wrprotect(self, mm: AddressSpace, address: int) -> Pte:
        """Take the write permission of a present entry away; returns the entry as it is now."""
        await self.conductor.point(WRITE, mm, address)
        before = mm.ptes[address]
        pte = mm.ptes[address] = before._replace(write=False)
        for listener in self.pte_listeners:
            listener(mm, address, before, pte)
        return pte

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

    @seam
    async def page_check_address(self, page: Frame, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address if it is present and maps `page`: then the page table lock is held on return."""
        await mm.page_table_lock.lock()
        pte = mm.ptes.get(address)
        if pte is not None and not pte.migration and pte.frame is page:
            return pte
        await mm.page_table_lock.unlock()
        return None

    @seam
    def migration_entry_to_page(self, pte: Pte) -> Frame:
        """The page that a migration entry names. It is locked for as long as the entry exists, or the entry has been
        left behind by its migration (a BUG_ON of the kernel's). The page table lock is held."""
        if pte.frame.owner is None:
            message = f"a migration entry names pfn {pte.frame.pfn}, which is not locked"
            raise misuse("stranded_migration_entry", message, pte.frame)
        return pte.frame

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

    # -- what a CPU does ----------------------------------------------------------------------------------------

    @seam
    async def user_read(self, mm: AddressSpace, address: int) -> Content | None:
        """Read the page at an address as a thread does; None if that takes a page fault."""
        await self.conductor.point(READ, mm, address)
        pte = mm.ptes.get(address)
        if pte is None or pte.migration:
            return None
        self.conductor.touch(YIELD, pte.frame, "content")
        pte.frame.must_be_alive("a read by a thread")
        if self.aging:
            self.conductor.touch(RELEASE, mm, ("young", address))
            mm.young.add(address)
        for observer in self.observers:
            observer.read(mm, address, pte.frame)
        return pte.frame.content

    @seam
    async def user_write(self, mm: AddressSpace, address: int, content: Content) -> bool:
        """Overwrite the page at an address as a thread does; False if that takes a page fault.

        The check of the entry and the store are one operation: whoever write-protects an entry invalidates the
        TLB of every CPU before it goes on.
        """
        await self.conductor.point(WRITE, mm, address)
        pte = mm.ptes.get(address)
        if pte is None or pte.migration or not pte.write:
            return False
        pte.frame.must_be_alive("a write by a thread")
        self.memory_epoch += 1
        if self.aging:
            self.conductor.touch(RELEASE, mm, ("young", address))
            mm.young.add(address)
        self.conductor.touch(RELEASE, pte.frame, "content")  # orders nobody: the CPU stores when it likes
        pte.frame.content = content
        pte.frame.writer = self.conductor.turn.number
        if not pte.dirty:
            mm.ptes[address] = pte._replace(dirty=True)
        for observer in self.observers:
            observer.wrote(mm, address, pte.frame)
        return True
