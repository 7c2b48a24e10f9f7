"""A patch proposed for the kernel: "mm/ksm: recover from memory failure on KSM page", v2 of 16 October 2025."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.chain_nodes import Chain, DupNode, dup_of
from ksmactors.later.chains import Chains
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam


class RecoverWithinChain(Chains):
    """Where a KSM page is one of a chain, its mappings move to a copy of another one of the chain; none is killed.

    A step of collect_procs_ksm, as the patch has it. It runs with the page locked, and takes ksm_thread_mutex, which
    ksmd holds when it waits for that lock: a deadlock (X11c). An entry is replaced whatever it maps by then: what its
    process has written is lost, and the failed page is unmapped once too often. When all mappings have moved, the node
    is freed while the page names it, and the page is about to be unmapped by that node. The copy has a reference too
    many. The mail archives have the patch (20251016101813.484565-2-xialonglong2025@163.com).
    """

    @override
    def unmaps_poisoned_ksm_pages(self) -> bool:
        return True

    @override
    async def collect_procs(self, page: Frame, victim: AddressSpace | None) -> list[AddressSpace]:
        node = page.stable_node
        if isinstance(node, DupNode) and node.chain is not None and await self.ksm_recover_within_chain(node, page):
            return []
        return await super().collect_procs(page, victim)

    @seam
    async def ksm_recover_within_chain(self, failing: DupNode, page: Frame) -> bool:
        """ksm_recover_within_chain: whether all mappings have moved. The page is locked."""
        await self.ksm_thread_mutex.lock()
        recovered = await self._recover_locked(failing, page)
        await self.ksm_thread_mutex.unlock()
        return recovered

    async def _recover_locked(self, failing: DupNode, page: Frame) -> bool:
        if await self.get_ksm_page(failing, lock=False) is None:
            return False
        chain = failing.chain
        healthy = await self.find_healthy_folio(chain, failing) if chain is not None else None
        if chain is None or healthy is None:
            await page.put()
            return False
        dup, source = healthy
        copy = await self.create_new_stable_node_dup(chain, source)
        await source.unlock()
        await source.put()
        target, kpage = copy if copy is not None else (dup, source)
        await self.migrate_to_target_dup(failing, page, target, kpage)
        await page.put()
        if failing.rmap_hlist_len:
            return False
        await self.stable_tree_erase(failing)
        self.free_stable_node(failing)
        return True

    @seam
    async def find_healthy_folio(self, chain: Chain, failing: DupNode) -> tuple[DupNode, Frame] | None:
        """Another dup, and its page with a reference, locked. Whether its memory has failed too is not asked."""
        for dup in list(chain.dups):
            if dup is failing:
                continue
            page = await self.get_ksm_page(dup, lock=False)
            if page is None:
                continue
            if await self.trylock_page(page):
                if page.stable_node is dup:
                    return dup, page
                await page.unlock()
            await page.put()
        return None

    @seam
    async def create_new_stable_node_dup(self, chain: Chain, source: Frame) -> tuple[DupNode, Frame] | None:
        """A copy of a page, with a node on the chain; None: no memory. The reference of its allocation is never put."""
        page = await self.alloc_page(source.nid)
        if page is None:
            return None
        await page.write_content(await source.read_content())
        node = self.alloc_stable_node()
        if node is None:
            await page.put()
            return None
        dup = dup_of(node)
        dup.kpfn = page.pfn
        await self.stable_node_chain_add_dup(dup, chain)
        await page.set_mapping(dup.mapping)
        self.lru_cache_add(page)
        return dup, page

    @seam
    async def migrate_to_target_dup(self, failing: DupNode, page: Frame, target: DupNode, kpage: Frame) -> None:
        """The items whose process can be locked at once move with their mappings."""
        for item in list(failing.hlist()):
            if not await item.mm.mmap_sem.down_read_trylock():
                continue
            vma = None if self.ksm_test_exit(item.mm) else item.mm.vma_at(item.address)
            if vma is not None and await self.trylock_page(kpage):
                await self.replace_failing_page(vma, item.address, page, kpage)
                await self._move_item(item, failing, target)
                await kpage.unlock()
            await item.mm.up_read()

    async def _move_item(self, item: RmapItem, failing: DupNode, target: DupNode) -> None:
        await self.hlist_del(failing, item)
        item.head = target
        await self.hlist_add_head(target, item)
        self.emit(ev.STABLE_TREE_APPEND, item.number, target.number, target.kpfn, item.mm.name, item.address)

    @seam
    async def replace_failing_page(self, vma: Vma, address: int, page: Frame, kpage: Frame) -> None:
        """Replace an entry, whatever it maps by now."""
        mm = vma.mm
        await self.mmu_notifier_invalidate_range_start(mm, address, address + PAGE_SIZE)
        await mm.page_table_lock.lock()
        await kpage.get()
        kpage.change_mapcount(1)
        await self.set_pte(mm, address, Pte(kpage))
        self.page_remove_rmap(page)
        if not page.page_mapcount():
            await self.try_to_free_swap(page)
        await page.put()
        await mm.page_table_lock.unlock()
        await self.mmu_notifier_invalidate_range_end(mm, address, address + PAGE_SIZE)
