"""Kernels that break one promise each: what the watchers are tested by, see `plays`."""

from __future__ import annotations

from typing import Any

from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.scan import Scanning
from ksmactors.ksm.structs import MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EBUSY, PAGE_SIZE, VM_FAULT_WRITE
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame


class MergesUnequal(Ksm):
    """Does not compare again when the page is write-protected."""

    async def try_to_merge_one_page(self, vma: Vma, page: Frame, kpage: Frame | None) -> int:
        if page is kpage or kpage is None:
            return await super().try_to_merge_one_page(vma, page, kpage)
        await page.lock()
        result, expected = await self.write_protect_page(vma, page)
        if expected is not None:
            result = await self.replace_page(vma, page, kpage, expected)
        await page.unlock()
        return result


class CopiesNothing(Ksm):
    async def migrate_page_copy(self, new: Frame, page: Frame) -> None:
        await self.ksm_migrate_page(new, page)


class ReusesKsmPages(Ksm):
    """N6: a write fault keeps a KSM page that nobody else maps."""

    async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        if not entry.frame.is_ksm or entry.frame.mapcount > 1:
            return await super().do_wp_page(mm, vma, address, entry)
        await self.set_pte(mm, address, entry._replace(write=True, dirty=True))
        await mm.page_table_lock.unlock()
        return VM_FAULT_WRITE


class ForgetsToPut(Ksm):
    async def merge_with_found(self, item: RmapItem, page: Frame, kpage: Frame, node: StableNode | None) -> None:
        await kpage.get()
        await super().merge_with_found(item, page, kpage, node)


class MapsWithoutReference(Ksm):
    async def replace_page_at(self, vma: Vma, address: int, page: Frame, kpage: Frame, expected: Pte) -> int:
        result = await super().replace_page_at(vma, address, page, kpage, expected)
        if result == 0:
            await kpage.put()
        return result


class LosesItems(Ksm):
    async def remove_trailing_rmap_items(self, link: MmSlot | RmapItem) -> None:
        link.rmap_list = None


class HoldsMmForEver(Ksm):
    async def ksm_enter(self, mm: AddressSpace) -> int:
        mm.count += 1
        return await super().ksm_enter(mm)


class HoldsAnonVmaForEver(Ksm):
    async def try_to_merge_with_ksm_page(self, item: RmapItem, page: Frame, kpage: Frame | None) -> int:
        result = await super().try_to_merge_with_ksm_page(item, page, kpage)
        if result == 0:
            item.anon_vma.get()
        return result


class UnlinksNodesOnly(Ksm):
    def free_stable_node(self, node: StableNode) -> None:
        """Nothing."""


class IndexByAddress(Ksm):
    """A new page is numbered by where it is, not by where its vma's pages are counted from."""

    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        super().page_add_new_anon_rmap(page, vma, address)
        page.index = address // PAGE_SIZE


class FreesAnonVmaTooEarly(Ksm):
    """The last vma takes its anon_vma with it when it is moved, although another takes its place."""

    async def unlink_anon_vmas(self, vma: Vma) -> None:
        anon_vma = vma.anon_vma
        await super().unlink_anon_vmas(vma)
        if anon_vma is not None and anon_vma.vmas:
            anon_vma.alive = False


class StaysOnMigrateNodes(Ksm):
    async def stable_node_from_migrate_nodes(self, node: StableNode) -> None:
        node.migrating = False


class NodeWithoutNid(Ksm):
    async def stable_tree_insert(self, kpage: Frame) -> StableNode | None:
        node = await super().stable_tree_insert(kpage)
        if node is not None:
            node.nid = 0
        return node


class TurnsTheWrongWay(Ksm):
    async def stable_tree_walk(
        self, root: ContentTree[StableNode], page: Frame, *, prune: bool = True
    ) -> InsertPosition:
        place = await super().stable_tree_walk(root, page, prune=prune)
        return place._replace(left=not place.left)


class AppendsWithoutHead(Ksm):
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        await super().stable_tree_append(item, node)
        item.head = None


class ForgetsKpfn(Ksm):
    """S5 without W3: the node does not learn of its new page."""

    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        self.ksm_epoch += 1


class AppendsNothing(Ksm):
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        item.anon_vma.put()


class MakesTheNodeLast(Ksm):
    """As v3.9 does: first both processes, then the node."""

    merge_two = Scanning.merge_two


class CountsScansTwice(Ksm):
    async def ksm_do_scan(self, pages: int) -> None:
        await super().ksm_do_scan(pages)
        self.ksm_scan.seqnr += 1


class MiscountsShared(Ksm):
    async def remove_node_from_stable_tree(self, node: StableNode) -> None:
        self.ksm_pages_shared += node.first is not None
        await super().remove_node_from_stable_tree(node)


class MiscountsSharing(Ksm):
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        await super().stable_tree_append(item, node)
        self.ksm_pages_sharing += 1


class MiscountsUnshared(Ksm):
    async def unstable_tree_erase(self, item: RmapItem) -> None:
        await super().unstable_tree_erase(item)
        self.ksm_pages_unshared += 1


class MiscountsItems(Ksm):
    def free_rmap_item(self, item: RmapItem) -> None:
        super().free_rmap_item(item)
        self.ksm_rmap_items += 1


def with_trees(which: str, tree: type[ContentTree[Any]]) -> type[Ksm]:
    """A kernel whose stable or unstable trees are of another kind."""

    def init(self: Ksm, *args: Any, **kwargs: Any) -> None:
        Ksm.__init__(self, *args, **kwargs)
        getattr(self, which)[:] = [tree(which, nid) for nid in range(len(self.nodes))]

    return type("Broken", (Ksm,), {"__init__": init})


class RedTree(ContentTree[Any]):
    __slots__ = ()

    def _insert_color(self, node: Any) -> None:
        pass


class BlackTree(ContentTree[Any]):
    __slots__ = ()

    def _insert_color(self, node: Any) -> None:
        node.rb_red = False


class OrphanTree(ContentTree[Any]):
    __slots__ = ()

    def _insert_color(self, node: Any) -> None:
        super()._insert_color(node)
        for child in (node.rb_left, node.rb_right, node):
            if child is not None and child is not self.root:
                child.rb_parent = child


class ForgetfulTree(ContentTree[Any]):
    __slots__ = ()

    def link(self, node: Any, place: InsertPosition, content: Any, epoch: int) -> None:
        super().link(node, place, content, epoch)
        node.rb_tree = None


class UnlinksUnlocked(Ksm):
    """N7: an item leaves its node without the page lock."""

    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        assert node is not None
        page = await self.get_ksm_page(node, lock=False)
        if page is not None:
            await self.hlist_del(node, item)
            await page.put()
            self._make_volatile(item, last=node.first is None)


class IgnoresNodes(Ksm):
    def get_kpfn_nid(self, kpfn: int) -> int:
        return 0


class SearchesTheFirstTree(Ksm):
    async def stable_tree_search(self, page: Frame) -> Frame | None:
        place = await self.stable_tree_walk(self.root_stable_tree[0], page)
        if not isinstance(place.entry, StableNode) or page.is_ksm:
            return await super().stable_tree_search(page)
        return await self.get_ksm_page(place.entry, lock=False)


class BreaksNothing(Ksm):
    async def break_ksm(self, vma: Vma, address: int) -> int:
        return 0


class RemovesNoNodes(Ksm):
    """S4a."""

    async def remove_all_stable_nodes(self) -> int:
        return 0


class PrunesNothing(Ksm):
    """S6c."""

    async def get_ksm_page(self, node: StableNode, *, lock: bool) -> Frame | None:
        if node.migrating and self.ksm_scan.mm_slot is self.ksm_mm_head:
            return None
        return await super().get_ksm_page(node, lock=lock)


class FindsNoTwins(Ksm):
    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None:
        return None


class InsertsNothing(Ksm):
    """What S6m leads to: the stable tree refuses each new page."""

    async def stable_tree_insert(self, kpage: Frame) -> StableNode | None:
        return None


class SpinsForEver(Ksm):
    async def stable_tree_search(self, page: Frame) -> Frame | None:
        while True:
            await self.conductor.relax(page)


class ChecksNoTrees(Ksm):
    """S2b."""

    async def ksm_check_stable_tree(self, pfns: range) -> None:
        pass


class ChecksFromTheFirstTree(Ksm):
    """S2c: after each removal the check starts from the first tree again."""

    async def ksm_check_stable_tree(self, pfns: range) -> None:
        while any([await self.check_one_of(nid, pfns) for nid in range(self.ksm_nr_node_ids)]):
            pass


class StaleAtFirstMismatch(Ksm):
    """S5a."""

    async def get_ksm_page(self, node: StableNode, *, lock: bool) -> Frame | None:
        page = self.pfn_to_page((await self.read_kpfn(node))[0])
        if await self.get_page_if_of_node(page, node, lock):
            return page
        await self.remove_node_from_stable_tree(node)
        return None


class GivesUpEarly(Ksm):
    """R3: any page on another node ends a search of the unstable tree."""

    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None:
        nid = self.get_kpfn_nid(page.pfn)
        entry = self.root_unstable_tree[nid].root
        if entry is not None:
            tree_page = await self.get_mergeable_page(entry)
            if tree_page is not None and self.get_kpfn_nid(tree_page.pfn) != nid:
                return await self._if_on_node(entry, tree_page, nid)
            if tree_page is not None:
                await tree_page.put()
        return await super().unstable_tree_search_insert(item, page)


class UpgradesUnprotected(Ksm):
    """N1: the merge goes on although write protection failed."""

    async def write_protect_page(self, vma: Vma, page: Frame) -> tuple[int, Pte | None]:
        address = self.page_address_in_vma(page, vma)
        return (0, vma.mm.ptes[address]) if address in vma.mm.ptes else await super().write_protect_page(vma, page)


class LeavesAnItem(Ksm):
    async def remove_trailing_rmap_items(self, link: MmSlot | RmapItem) -> None:
        if isinstance(link, MmSlot) and link.rmap_list is not None:
            await super().remove_trailing_rmap_items(link.rmap_list)


class ForgetsTheList(Ksm):
    """S6d."""

    async def remove_all_stable_nodes(self) -> int:
        kept, self.migrate_nodes[:] = list(self.migrate_nodes), []
        result = await super().remove_all_stable_nodes()
        self.migrate_nodes[:] = kept
        return result


class MergesNoKsmPages(Ksm):
    """As v3.9 does: a KSM page is not merged into another (H0)."""

    merge_with_found = Scanning.merge_with_found


class HoldsAFrame(Ksm):
    async def ksm_memory_callback(self, action: str, pfns: range) -> None:
        await super().ksm_memory_callback(action, pfns)
        if action == "offline":
            self.nodes[pfns.start // self.frames_per_node].frames[0].refcount = 1


class LinksUnderAnotherNid(Ksm):
    async def unstable_tree_link(
        self, root: ContentTree[RmapItem], item: RmapItem, place: InsertPosition, content: Content
    ) -> None:
        await super().unstable_tree_link(root, item, place, content)
        item.nid = 1 - root.nid


class MergesWithoutAdvice(Ksm):
    """The test of VM_MERGEABLE is missing when a page is merged."""

    def find_vma_to_merge(self, item: RmapItem) -> Vma | None:
        return item.mm.vma_at(item.address)

    async def try_to_merge_one_page(self, vma: Vma, page: Frame, kpage: Frame | None) -> int:
        advised, vma.mergeable = vma.mergeable, True
        result = await super().try_to_merge_one_page(vma, page, kpage)
        vma.mergeable = advised
        return result


class StopsAtTheFirstMapped(Ksm):
    """S4g: when a node has to stay, no further tree is looked at."""

    async def remove_all_stable_nodes(self) -> int:
        for nid in range(self.ksm_nr_node_ids):
            if await self._remove_tree(self.root_stable_tree[nid]):
                return -EBUSY
        return await self.remove_migrate_nodes()


class NobodyWaits(Ksm):
    """R5': whoever takes ksm_thread_mutex takes no notice of the OFFLINE bit."""

    async def wait_while_offlining(self) -> None:
        return
