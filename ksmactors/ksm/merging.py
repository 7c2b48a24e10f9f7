"""Merging one page into another, step by step under the locks that it takes."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, YIELD
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EFAULT, PAGE_SIZE
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame
from ksmactors.seams import part, seam


class PageMerging(SharedState):
    """write_protect_page, replace_page and what tries them."""

    @seam
    async def write_protect_page(self, vma: Vma, page: Frame) -> tuple[int, Pte | None]:
        """Make the entry that maps an ordinary page read-only and clean: (0, the entry) or (-EFAULT, None).

        -EFAULT also for any KSM page (page_address_in_vma refuses it), and when there are other references. mmap_sem
        for read and the page lock are held.
        """
        address = self.page_address_in_vma(page, vma)
        if address is None:
            return -EFAULT, None
        end = address + PAGE_SIZE
        await self.mmu_notifier_invalidate_range_start(vma.mm, address, end)  # no guest writes from here on, either
        result = await self.write_protect_entry(vma.mm, page, address)
        await self.mmu_notifier_invalidate_range_end(vma.mm, address, end)
        return result

    @part
    async def write_protect_entry(self, mm: AddressSpace, page: Frame, address: int) -> tuple[int, Pte | None]:
        """The part of write_protect_page under the page table lock."""
        pte = await self.page_check_address(page, mm, address)
        if pte is None:
            self.pte_changed(mm, page)
            return -EFAULT, None
        if self.must_be_cleaned(pte):
            taken = await self.set_pte(mm, address, None)  # from here on no access reaches the page through this entry
            swapped = page.swap is not None
            if await self.has_other_references(page, swapped):
                await self.set_pte(mm, address, taken)
                await mm.page_table_lock.unlock()
                self.race(ev.RACE_PAGE_PINNED, self.actor_name(page.getter), page)
                return -EFAULT, None
            if taken is not None and taken.dirty:
                page.dirty = True
            pte = Pte(page)
            await self.set_pte(mm, address, pte)
        await mm.page_table_lock.unlock()
        return 0, pte

    @part
    async def has_other_references(self, page: Frame, swapped: bool) -> bool:
        """Whether a page has references beside those of the entries, the swap cache and ksmd: I/O may be going on."""
        return page.page_mapcount() + 1 + swapped != await page.count()

    @part
    def must_be_cleaned(self, pte: Pte) -> bool:
        """Whether an entry is not read-only and clean yet. Its dirty bit would be lost with the mapping."""
        return pte.write or pte.dirty

    @seam
    async def replace_page(self, vma: Vma, page: Frame, kpage: Frame, expected: Pte) -> int:
        """Map `kpage` where `page` is mapped, if the entry is still the one expected: 0 or -EFAULT.

        kpage is not locked: the caller's reference and its being KSM are relied on.
        """
        address = self.page_address_in_vma(page, vma)
        if address is None:
            return -EFAULT
        return await self.replace_page_at(vma, address, page, kpage, expected)

    @seam
    async def replace_page_at(self, vma: Vma, address: int, page: Frame, kpage: Frame, expected: Pte) -> int:
        """The part of replace_page that knows the address."""
        end = address + PAGE_SIZE
        await self.mmu_notifier_invalidate_range_start(vma.mm, address, end)
        result = await self.replace_entry(vma.mm, address, page, kpage, expected)
        await self.mmu_notifier_invalidate_range_end(vma.mm, address, end)
        return result

    @part
    async def replace_entry(self, mm: AddressSpace, address: int, page: Frame, kpage: Frame, expected: Pte) -> int:
        """The part of replace_page under the page table lock."""
        await mm.page_table_lock.lock()
        if mm.ptes.get(address) != expected:
            await mm.page_table_lock.unlock()
            self.pte_changed(mm, page)
            return -EFAULT
        await self.set_pte(mm, address, await self.map_kpage(mm, kpage))
        self.page_remove_rmap(page)
        if not page.page_mapcount():
            await self.try_to_free_swap(page)
        await page.put()
        await mm.page_table_lock.unlock()
        return 0

    @part
    async def map_kpage(self, mm: AddressSpace, kpage: Frame) -> Pte:
        """The entry that is to map a KSM page, which gets a reference and a mapping for it."""
        await kpage.get()
        kpage.change_mapcount(1)
        return Pte(kpage)

    @seam
    async def try_to_merge_one_page(self, vma: Vma, page: Frame, kpage: Frame | None) -> int:
        """Merge a page into a KSM page, or make it one (kpage None): 0 or -EFAULT.

        ksm_thread_mutex, mmap_sem for read; a reference on each page. Never blocks on the lock of `page`: busy
        pages are for another time.
        """
        if page is kpage:  # reached through a fork
            return 0
        self.conductor.touch(YIELD, page, "mapping")
        if not vma.mergeable or not page.is_anon:
            self.race(ev.RACE_VMA_GONE, "unknown", page)
            return -EFAULT
        if not await self.trylock_to_merge(page):
            return -EFAULT
        result, expected = await self.write_protect_page(vma, page)
        if expected is not None:
            if kpage is None:
                await self.upgrade_page(page)
            elif await page.read_content() is await kpage.read_content():
                result = await self.replace_page(vma, page, kpage, expected)
            else:
                result = -EFAULT
                self.race(ev.RACE_CONTENT_CHANGED, self.actor_name(page.writer), page)
        if vma.locked and result == 0 and kpage is not None and kpage.is_ksm:
            page = await self.hand_mlock_over(page, kpage)
        await page.unlock()
        return result

    @seam
    async def hand_mlock_over(self, page: Frame, kpage: Frame) -> Frame:
        """A locked page of a VM_LOCKED vma has been replaced: its lock in memory goes over to the KSM page. Returns the
        page that is locked now; may block for the lock of `kpage`."""
        await self.munlock_vma_page(page)
        if kpage.mlocked:
            return page
        await page.unlock()
        await kpage.lock()
        await self.mlock_vma_page(kpage)
        return kpage

    @seam
    async def trylock_to_merge(self, page: Frame) -> bool:
        """trylock_page of a page to be merged away: a busy one is for another time."""
        if await self.trylock_page(page):
            return True
        owner = page.owner
        self.race(ev.RACE_TRYLOCK_LOST, owner.name if owner is not None else "unknown", page)
        return False

    @seam
    async def upgrade_page(self, page: Frame) -> None:
        """Make a locked, write-protected page a KSM page; it has no node yet."""
        await page.set_mapping(KSM_WITHOUT_NODE)

    @override
    @seam
    async def try_to_merge_with_ksm_page(self, item: RmapItem, page: Frame, kpage: Frame | None) -> int:
        """TK1 to TK6: merge the page of an item: 0, and the item holds an anon_vma reference; or -EFAULT.

        On success the caller must append the item to a node, or break_cow it. ksm_thread_mutex.
        """
        mm = item.mm
        await mm.down_read()
        vma = self.find_vma_to_merge(item)
        result = -EFAULT
        if vma is not None:
            result = await self.try_to_merge_one_page(vma, page, kpage)
        if result == 0 and vma is not None:
            await self.take_anon_vma(item, vma)
        await mm.up_read()
        if kpage is None:
            self.emit(ev.KSM_MERGE_ONE_PAGE, page.pfn, item.number, mm.name, result)
        else:
            self.emit(ev.KSM_MERGE_WITH_KSM_PAGE, kpage.pfn, page.pfn, item.number, mm.name, result)
        return result

    @part
    async def take_anon_vma(self, item: RmapItem, vma: Vma) -> None:
        """TK5. anon_vma lies over nid: first out of the unstable tree."""
        await self.remove_rmap_item_from_tree(item)
        self._store_anon_vma(item, vma)

    def _store_anon_vma(self, item: RmapItem, vma: Vma) -> None:
        """The item gets a reference on the anon_vma of the vma in which its page was merged."""
        if vma.anon_vma is None:  # H6: not touched since it was mapped
            raise Finding("lifetime", "null_dereference", "try_to_merge_with_ksm_page", f"{item}: no anon_vma")
        item.anon_vma = vma.anon_vma.get()

    @seam
    def find_vma_to_merge(self, item: RmapItem) -> Vma | None:
        """TK2, TK3: any vma at the item's address, its advice not asked for (H6)."""
        if self.ksm_test_exit(item.mm):
            self.race(ev.RACE_MM_EXITED, item.mm.name, None)
            return None
        self.conductor.touch(READ, item.mm, "vmas")
        vma = item.mm.vma_at(item.address)
        if vma is None:
            self.race(ev.RACE_VMA_GONE, item.mm.name, None)
        return vma

    @override
    @seam
    async def try_to_merge_two_pages(
        self, item: RmapItem, page: Frame, tree_item: RmapItem, tree_page: Frame
    ) -> Frame | None:
        """Make `page` a KSM page and merge `tree_page` into it: `page` if both worked, else None, all undone."""
        if await self.try_to_merge_with_ksm_page(item, page, None):
            return None
        if await self.try_to_merge_with_ksm_page(tree_item, tree_page, page):
            await self.break_cow(item)
            return None
        return page
