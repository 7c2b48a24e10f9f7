"""Kernels that lack one protection each, where only a litmus test or a careful explanation shows it."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, RmapItem
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EFAULT, PAGE_SIZE
from ksmactors.mm.frame import Frame


class ReplacesWhateverIsThere(Ksm):
    """replace_page does not compare the entry with the one that was write-protected."""

    async def replace_entry(self, mm: AddressSpace, address: int, page: Frame, kpage: Frame, expected: Pte) -> int:
        await mm.page_table_lock.lock()
        await self.set_pte(mm, address, await self.map_kpage(mm, kpage))
        self.page_remove_rmap(page)
        await page.put()
        await mm.page_table_lock.unlock()
        return 0


class ForgetsTheMapCount(Ksm):
    """replace_page drops the reference of the mapping that goes, and does not count it."""

    async def replace_entry(self, mm: AddressSpace, address: int, page: Frame, kpage: Frame, expected: Pte) -> int:
        await mm.page_table_lock.lock()
        if mm.ptes.get(address) != expected:
            await mm.page_table_lock.unlock()
            return -EFAULT
        await self.set_pte(mm, address, await self.map_kpage(mm, kpage))
        await page.put()
        await mm.page_table_lock.unlock()
        return 0


class MapsWithoutAReference(Ksm):
    """replace_page maps the KSM page without a reference for it."""

    async def map_kpage(self, mm: AddressSpace, kpage: Frame) -> Pte:
        kpage.change_mapcount(1)
        return Pte(kpage)


class WaitsOnce(Ksm):
    """wait_while_offlining does not test the bit again once it has the mutex back."""

    async def wait_while_offlining(self) -> None:
        if self.ksm_run & KSM_RUN_OFFLINE:
            await self.ksm_thread_mutex.unlock()
            while self.ksm_run & KSM_RUN_OFFLINE:
                await self.ksm_offlining.wait()
            await self.ksm_thread_mutex.lock()


class WaitsWithTheMutex(Ksm):
    """wait_while_offlining keeps the mutex while it waits."""

    async def wait_while_offlining(self) -> None:
        while self.ksm_run & KSM_RUN_OFFLINE:
            await self.ksm_offlining.wait()


class ChecksTheNodesTree(Ksm):
    """The check at MEM_OFFLINE walks the tree of the memory's node, in which its pages need not be."""

    async def check_trees(self, pfns: range) -> None:
        while await self.check_one_of(pfns.start // self.frames_per_node, pfns):
            pass


class LeavesAnonVmasFirst(Ksm):
    """munmap leaves the anon_vmas before it empties the entries."""

    async def do_munmap(self, mm: AddressSpace, start: int, end: int) -> int:
        for vma in self.vmas_in(mm, start, end):
            mm.forget_vma(vma)
            await self.unlink_anon_vmas(vma)
            await self.zap_page_range(mm, vma.start, vma.end, PAGE_SIZE)
            vma.alive = False
        return 0


class ErasesWhereThePageIs(Ksm):
    """An unstable item is erased from the tree of the node that its page is on by now."""

    async def unstable_tree_erase(self, item: RmapItem) -> None:
        pte = item.mm.ptes.get(item.address)
        nid = self.get_kpfn_nid(pte.frame.pfn) if pte is not None else item.nid
        await self.unstable_tree_unlink(self.root_unstable_tree[nid], item)


class LeavesTheParentWritable(Ksm):
    """fork write-protects a migration entry in the child, and leaves it writable in the parent."""

    async def copy_one_pte(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma, address: int) -> int:
        pte = oldmm.ptes.get(address)
        if pte is not None and pte.write and pte.migration:
            await self.set_pte(mm, address, pte._replace(write=False))
            return 0
        return await super().copy_one_pte(mm, oldmm, vma, address)


class KeepsPrunedReferences(Ksm):
    """Pruning migrate_nodes forgets the reference of each look-up."""

    async def prune_migrate_nodes(self) -> None:
        for node in list(self.migrate_nodes):
            await self.get_ksm_page(node, lock=False)


class KeepsVisitedReferences(Ksm):
    """A search of the unstable tree that ends at the page in hand forgets the reference of the look-up."""

    async def visit_unstable_entry(self, entry: RmapItem, page: Frame, nid: int) -> Frame | None:
        tree_page = await self.get_mergeable_page(entry)
        return None if tree_page is page else tree_page


class PutsVisitedPagesTwice(Ksm):
    """A search of the unstable tree that ends at the page in hand puts the reference of its caller, too."""

    async def visit_unstable_entry(self, entry: RmapItem, page: Frame, nid: int) -> Frame | None:
        tree_page = await self.get_mergeable_page(entry)
        if tree_page is page:
            await page.put()
            await page.put()
            return None
        return tree_page


class StaysRegistered(Ksm):
    """ksmd drops a slot, and the address space stays marked as registered."""

    def forget_registration(self, mm: AddressSpace) -> None:
        pass


class ReadsVmasUnlocked(Ksm):
    """get_mergeable_page does not take mmap_sem."""

    async def get_mergeable_page(self, item: RmapItem) -> Frame | None:
        if self.find_mergeable_vma(item.mm, item.address) is None:
            return None
        return await self.follow_page(item.mm, item.address)


class MapsOverAnything(Ksm):
    """A page from swap is mapped whatever the entry says by now."""

    def swap_pte_same(self, mm: AddressSpace, address: int, slot: object, page: Frame) -> bool:
        return True
