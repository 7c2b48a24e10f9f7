"""Later kernels that break one promise each: see `tests/watch/test_later_promises.py`."""

from __future__ import annotations

from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.later.anon_exclusive import AnonExclusive
from ksmactors.later.chain_nodes import Chain, ChainNodes, DupNode, dup_of
from ksmactors.later.chains import Chains
from ksmactors.later.fork_copies_pinned import ForkCopiesPinned
from ksmactors.later.lazy_free import LazyFree
from ksmactors.later.memory_failure import HwpoisonResult
from ksmactors.later.merge_any import MergeAny
from ksmactors.later.merge_any_kept import MergeAnyExec
from ksmactors.later.mlock_batch import MlockBatch
from ksmactors.later.mlock_migrated import MlockMigrated
from ksmactors.later.pageout import Pageout
from ksmactors.later.per_mm import PerMm
from ksmactors.later.skip_swap_cache import SkipSwapCache
from ksmactors.later.trylock_search import TrylockSearch
from ksmactors.later.unshare_on_pin import UnshareOnPin
from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.later.zero_pages import ZeroPages
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EBUSY, EHWPOISON, MADV_FREE, MADV_MERGEABLE, MADV_UNMERGEABLE
from ksmactors.mm.frame import Frame
from ksmactors.mm.memory_hotplug import MEM_CANCEL_OFFLINE
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.mm.vmscan import FREED


class KeepsExclusiveMark(AnonExclusive):
    """Neither fork nor ksmd takes the mark off a page."""

    def clear_page_anon_exclusive(self, page: Frame) -> None:
        """The mark stays."""


class CountsNoItemOff(PerMm):
    """ksm_rmap_items of a process never falls."""

    def free_rmap_item(self, item: RmapItem) -> None:
        super().free_rmap_item(item)
        self.mm_rmap_items[item.mm.number] += 1


class CountsNoMappingOff(PerMm):
    """ksm_merging_pages of a process never falls."""

    def item_left_node(self, item: RmapItem) -> None:
        super().item_left_node(item)
        self.mm_merging_pages[item.mm.number] += 1


class LeavesZeroPages(ZeroCounted):
    """Unmerging leaves the zero page where ksmd has put it."""

    def placed_by_ksm(self, pte: Pte) -> bool:
        return pte.frame.is_ksm


class CountsZeroPage(ZeroPages):
    """The zero page gets a reference for each of its entries."""

    async def map_kpage(self, mm: AddressSpace, kpage: Frame) -> Pte:
        if kpage is self.zero_page:
            await kpage.get()
        return await super().map_kpage(mm, kpage)


class SharesOneMore(ChainNodes):
    """A KSM page may have one item more than max_page_sharing."""

    def is_page_sharing_candidate(self, node: DupNode, offset: int = 0) -> bool:
        return super().is_page_sharing_candidate(node, offset - 1)


class ForgetsMisplacedDup(Chains):
    """A dup that has left its node is taken off its chain, and put nowhere."""

    async def stable_node_to_migrate_nodes(self, node: StableNode) -> None:
        """The node stays where it is."""


class ChecksFirstDup(ChainNodes):
    """MEM_OFFLINE looks at the first dup of a chain only."""

    async def check_stable_entry(self, node: StableNode, pfns: range) -> bool:
        if isinstance(node, Chain) and node.dups[1:]:
            return False
        return await super().check_stable_entry(node, pfns)


class KeepsMutex(ChainNodes):
    """max_page_sharing returns an error with ksm_thread_mutex held."""

    async def max_page_sharing_store(self, text: str) -> int:
        result = await super().max_page_sharing_store(text)
        if result:
            await self.ksm_thread_mutex.lock()
        return result


class AnnouncesNothing(AnonExclusive):
    """No change of an entry is announced to guests."""

    async def mmu_notifier_invalidate_range_start(self, mm: AddressSpace, start: int, end: int) -> None:
        """No announcement."""

    async def mmu_notifier_invalidate_range_end(self, mm: AddressSpace, start: int, end: int) -> None:
        """No announcement."""


class DropsDirty(LazyFree):
    """Reclaim does not look whether a page that was given up has been written since."""

    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int, reclaim: bool) -> bool:
        pte = vma.mm.ptes.get(address)
        if reclaim and page.swap is None and pte is not None:
            vma.mm.ptes[address] = pte._replace(dirty=False)
        return await super().try_to_unmap_one(page, vma, address, reclaim)


class GivesUpSharedPage(LazyFree):
    """MADV_FREE cleans a page whatever maps it."""

    async def madvise(self, mm: AddressSpace, start: int, length: int, advice: int) -> int:
        pte = mm.ptes.get(start)
        if advice == MADV_FREE and pte is not None and await self.trylock_page(pte.frame):
            await self.try_to_free_swap(pte.frame)
            pte.frame.dirty = False
            await pte.frame.unlock()
        return await super().madvise(mm, start, length, advice)


class CopiesPinnedTwice(ForkCopiesPinned):
    """The copy of a pinned page gets a reference too many."""

    async def copy_present_page(self, mm: AddressSpace, address: int, new: Frame, page: Frame) -> None:
        await super().copy_present_page(mm, address, new, page)
        await new.get()


class KeepsIsolated(Pageout):
    """Reclaim gives a page back to the LRU without putting it."""

    async def putback_inactive_page(self, page: Frame) -> None:
        await page.get()
        await super().putback_inactive_page(page)


class FreesUnfrozen(LazyFree):
    """Reclaim drops the references of a page that it frees, and does not freeze them."""

    async def shrink_locked_page(self, page: Frame) -> str:
        outcome = await super().shrink_locked_page(page)
        if outcome == FREED:
            page.refcount = 0
        return outcome


class KeepsOnMigrateNodes(Chains):
    """A moved node that joins a chain stays on migrate_nodes."""

    async def stable_node_from_migrate_nodes(self, node: StableNode) -> None:
        """It stays."""


class KeepsOnChain(Chains):
    """A dup that has left its node goes to migrate_nodes, and stays on its chain."""

    async def replace_dup(self, dup: DupNode, page: Frame, page_node: StableNode | None) -> Frame | None:
        await self.stable_node_to_migrate_nodes(dup)
        return None


class LooksOnce(TrylockSearch):
    """The page that a search has found is not locked, and not looked at again."""

    async def second_look(self, node: StableNode) -> Frame | None:
        page = self.pfn_to_page(node.kpfn)
        await page.get()
        return page


class CopiesWhatWasPinned(ForkCopiesPinned):
    """fork does not look again what is pinned when it has the memory for the copy."""

    async def copy_one_pte(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma, address: int) -> int:
        page = self._pinned_page(oldmm, address)
        if page is None:
            return await super().copy_one_pte(mm, oldmm, vma, address)
        await oldmm.page_table_lock.unlock()
        await mm.page_table_lock.unlock()
        new = await self.alloc_page(vma.nid)
        await mm.page_table_lock.lock()
        await oldmm.page_table_lock.lock()
        assert new is not None
        await self.copy_present_page(mm, address, new, page)
        return 0


class CancelsNothing(Ksm):
    """KSM is not told that memory stays."""

    async def ksm_memory_callback(self, action: str, pfns: range) -> None:
        if action != MEM_CANCEL_OFFLINE:
            await super().ksm_memory_callback(action, pfns)


class MapsWhatWasGivenUp(SkipSwapCache):
    """A page that was read past the swap cache is mapped whatever its entry is by then."""

    def swap_pte_same(self, mm: AddressSpace, address: int, slot: SwapSlot, page: Frame) -> bool:
        return True


class RestoresNoAdvice(MergeAny):
    """prctl that fails to take the setting back leaves what has lost the advice without it."""

    async def ksm_disable_merge_any(self, mm: AddressSpace) -> int:
        failed = await self._advise_all(mm, MADV_UNMERGEABLE)
        if not failed:
            self._merging_any.discard(mm.number)
        return failed


class ChangesUnderReadLock(MergeAny):
    """prctl holds mmap_sem for read only."""

    async def prctl_set_memory_merge(self, mm: AddressSpace, on: bool) -> int:
        await mm.down_read()
        failed = await (self.ksm_enable_merge_any(mm) if on else self.ksm_disable_merge_any(mm))
        for listener in self.merge_any_listeners:
            listener(mm, on, failed)
        await mm.up_read()
        return failed


class KeepsAdvice(MergeAny):
    """prctl takes the setting back, and the advice stays."""

    async def ksm_disable_merge_any(self, mm: AddressSpace) -> int:
        self._merging_any.discard(mm.number)
        return 0


class ForgetsSetting(MergeAny):
    """A child does not inherit the setting."""

    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        failed = await super().ksm_fork(mm, oldmm)
        self._merging_any.discard(mm.number)
        return failed


class EntersNoProgram(MergeAnyExec):
    """exec keeps the setting, and does not register the new program."""

    async def ksm_execve(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        if self.merges_any(oldmm):
            self._merging_any.add(mm.number)
        return 0


class EntersNobody(Ksm):
    """madvise makes memory mergeable, and does not register the process."""

    async def ksm_madvise(self, vma: Vma, start: int, end: int, advice: int) -> tuple[int, bool]:
        if advice == MADV_MERGEABLE:
            return 0, True
        return await super().ksm_madvise(vma, start, end, advice)


class LeavesChain(Chains):
    """A chain whose dups have all been removed stays in its tree."""

    async def remove_stable_node_chain(self, node: StableNode) -> int:
        if not isinstance(node, Chain):
            return await super().remove_stable_node_chain(node)
        for dup in list(node.dups):
            if await self.remove_stable_node(dup):
                return -EBUSY
        return 0


class FreesBusyChain(Chains):
    """A chain is freed, though a page of it is mapped."""

    async def remove_stable_node_chain(self, node: StableNode) -> int:
        if not isinstance(node, Chain):
            return await super().remove_stable_node_chain(node)
        for dup in list(node.dups):
            await self.remove_stable_node(dup)
        await self.free_stable_node_chain(self.root_stable_tree[node.nid], node)
        return 0


class DropsPinned(LazyFree):
    """Reclaim does not look who else uses a page that a process has given up."""

    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int, reclaim: bool) -> bool:
        if page.swap is not None or not self._is_marked(page):
            return await super().try_to_unmap_one(page, vma, address, reclaim)
        mm = vma.mm
        if await self.page_check_address(page, mm, address) is None:
            return True
        await self.set_pte(mm, address, None)
        self.page_remove_rmap(page)
        for observer in self.observers:
            observer.zapped(mm, address)
        await page.put()
        await mm.page_table_lock.unlock()
        return True


class ReplacesFirst(ChainNodes):
    """The only dup of a chain takes the chain's place in the tree before it leaves the chain."""

    async def stable_tree_erase(self, node: StableNode) -> None:
        dup = dup_of(node)
        if dup.chain is not None and len(dup.chain.dups) == 1 and dup.kpfn >= 0:
            await self._replace_entry(self.root_stable_tree[dup.nid], dup.chain, dup)
        await super().stable_tree_erase(node)


class SearchesEmptyChain(Chains):
    """A chain that a search has emptied stays, and is searched again."""

    async def free_stable_node_chain(self, root: ContentTree[StableNode], chain: Chain) -> None:
        """It stays."""


class UnmapsPinned(AnonExclusive):
    """A page that a device has pinned is unmapped like any other."""

    def may_be_unmapped(self, page: Frame) -> bool:
        return True


class PinsShared(UnshareOnPin):
    """A page that others may use, too, is pinned for reading."""

    def can_follow_pte(self, pte: Pte, *, write: bool, pin: bool) -> bool:
        return super().can_follow_pte(pte, write=write, pin=False)


class DropsLastReference(MlockBatch):
    """A batch drops the last reference on a page, and does not free it."""

    async def lru_add_drain_all(self) -> None:
        for cpu in list(self.mlock_batches):
            for page in self.mlock_batches.pop(cpu):
                self._new_to_lru.discard(page.pfn)
                page.lru = True
                page.refcount -= 1
        await super().lru_add_drain_all()


class LosesLockByMoving(MlockMigrated):
    """A migrated page is not marked as Mlocked."""

    def page_add_migrated_rmap(self, new: Frame, vma: Vma) -> None:
        super().page_add_migrated_rmap(new, vma)
        new.node.mark_mlocked(new, False)


class KeepsReference(HwpoisonResult):
    """A failure that is known keeps the caller's reference."""

    async def known_failure(self, page: Frame, *, counted: bool) -> int:
        return -EHWPOISON


class FreesBeforeFlag(HwpoisonResult):
    """A frame that soft offline has emptied is freed before it is flagged."""

    async def release_migrated(self, page: Frame) -> None:
        await super(HwpoisonResult, self).release_migrated(page)


class MovesUnlocked(Ksm):
    """What mremap has moved is not locked any more."""

    async def move_vma(self, mm: AddressSpace, start: int, end: int) -> int:
        target = await super().move_vma(mm, start, end)
        if (vma := mm.vma_at(target)) is not None:
            vma.locked = False
        return target
