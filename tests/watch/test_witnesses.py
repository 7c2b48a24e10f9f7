"""Each witness convicts a kernel that breaks its promise, and is silent about the same program on an unbroken one."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors import watch
from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.ksm.index import ContentTree, Place
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.scan import Scanning
from ksmactors.ksm.structs import FREED, MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import MADV_DONTNEED, MADV_MERGEABLE, PAGE_SIZE, VM_FAULT_WRITE
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Play, Proc, Stage, about_to, perform


async def life(s: Stage) -> None:
    """Two processes on two nodes: merged, written, migrated to where an equal page is and to where none is, forked,
    unmapped, ended; nobody moves at the same time."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 1, 1, 2, 3, 6)
    b = await s.process("B", 4, 1, 2, 3, 6)
    c = await s.process("C", 2, 2, 5, 5, nid=1)
    await s.scan(3)
    await s.set("run", 1)
    await s.migrate(a, 2, 1)  # an equal page is there
    await s.migrate(b, 3, 1)  # none is there
    await s.batch(2)
    await s.write(b, 1, 9)
    await s.write(c, 0, 9)
    await s.scan(2)
    d = await s.fork(a, "D")
    await s.write(d, 0, 1)
    assert await s.read(a, 0) is s.kernel.contents.token(1)
    await s.kernel.munmap(a.mm, a.at(1), 2 * PAGE_SIZE)
    await s.kernel.mmput(b.mm)
    await s.quiesce()
    await s.farewell()


async def written_before_the_comparison(s: Stage) -> None:
    """A page is written after ksmd has found it equal, and before it is write-protected."""
    await s.process("A", 1, 1)
    b = await s.process("B", 2)
    await s.scan(3)
    await s.write(b, 0, 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(inside="try_to_merge_with_ksm_page"))
    await s.write(b, 0, 3)
    await s.finish(ksmd)
    await s.read(b, 0)


async def last_mapping_faulted(s: Stage) -> None:
    """The last process that maps a KSM page has a write fault, and does not write yet."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(3)
    await s.kernel.mmput(b.mm)
    assert await s.kernel.fault(a.mm, a.at(0), True) == 0
    await s.set("run", 1)


async def last_mapping_written(s: Stage) -> None:
    """The last process that maps a KSM page writes it."""
    a = await s.process("A", 1, 1)
    await s.scan(3)
    await s.kernel.munmap(a.mm, a.at(1), PAGE_SIZE)
    await s.write(a, 0, 2)


async def forked_while_merging(s: Stage) -> None:
    """The second half of a merge fails, and the first process has forked since the first half."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.fork(b, "C")
    await s.write(a, 0, 2)
    await s.finish(ksmd)
    await s.quiesce()


async def moved_and_touched_anew(s: Stage) -> None:
    """A process moves a region, gives its page back and touches it again."""
    a = await s.process("A", 1)
    moved = Proc(a.mm, await s.kernel.mremap(a.mm, a.start, PAGE_SIZE))
    await s.kernel.madvise(a.mm, moved.start, PAGE_SIZE, MADV_DONTNEED)
    await s.write(moved, 0, 2)
    await s.quiesce()


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
    async def stable_tree_walk(self, root: ContentTree[StableNode], page: Frame, *, prune: bool = True) -> Place:
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

    def link(self, node: Any, place: Place, content: Any, epoch: int) -> None:
        super().link(node, place, content, epoch)
        node.rb_tree = None


CONVICTED: dict[str, tuple[type[Ksm], Play]] = {
    "shadow/lost_write@user_read": (MergesUnequal, written_before_the_comparison),
    "shadow/lost_write@none": (CopiesNothing, life),
    "lifetime/leaked_frame@none": (ForgetsToPut, life),
    "lifetime/leaked_rmap_item@none": (LosesItems, life),
    "lifetime/leaked_mm@none": (HoldsMmForEver, life),
    "lifetime/leaked_anon_vma@none": (HoldsAnonVmaForEver, life),
    "lifetime/leaked_stable_node@none": (UnlinksNodesOnly, life),
    "structure/bad_migrate_nodes@none": (StaysOnMigrateNodes, life),
    "structure/wrong_tree@none": (NodeWithoutNid, life),
    "structure/bad_order@none": (TurnsTheWrongWay, life),
    "structure/bad_hlist@none": (AppendsWithoutHead, life),
    "structure/not_mutual@none": (ForgetsKpfn, life),
    "references/too_few_references@none": (MapsWithoutReference, life),
    "references/wrong_count@none": (ForgetsToPut, life),
    "counters/wrong_pages_shared@none": (MiscountsShared, life),
    "counters/wrong_pages_sharing@none": (MiscountsSharing, life),
    "counters/wrong_pages_unshared@none": (MiscountsUnshared, life),
    "counters/wrong_rmap_items@none": (MiscountsItems, life),
    "writable/writable_ksm_page@run_store": (ReusesKsmPages, last_mapping_faulted),
    "writable/ksm_page_written@user_write": (ReusesKsmPages, last_mapping_written),
    "rmap/lost_mapping@rmap_walk_ksm": (AppendsNothing, life),
    "rmap/half_ksm_page@rmap_walk_ksm": (MakesTheNodeLast, forked_while_merging),
    "rmap/lost_anon_mapping@rmap_walk": (IndexByAddress, moved_and_touched_anew),
    "warning/kernel_warning@remove_rmap_item_from_tree": (CountsScansTwice, life),
}
"""By signature: a kernel that one witness convicts by it, and in which program."""

PROGRAMS = sorted({program for _, program in CONVICTED.values()}, key=lambda program: program.__name__)


@pytest.mark.parametrize("signature", CONVICTED)
def test_convicts(signature: str) -> None:
    """A witness, watching alone, convicts a kernel that breaks its promise, by this signature."""
    layer, program = CONVICTED[signature]
    with pytest.raises(Finding) as found:
        perform(program, layer=layer, watchers=[signature.partition("/")[0]])
    assert found.value.signature == signature


@pytest.mark.parametrize("which", ["root_stable_tree", "root_unstable_tree"])
@pytest.mark.parametrize("tree", [RedTree, BlackTree, OrphanTree, ForgetfulTree])
def test_convicts_a_bad_tree(tree: type[ContentTree[Any]], which: str) -> None:
    """Colours, balance, parents and membership: whichever is wrong in a tree, the tree is convicted; in an unstable one
    while the scan goes on that filled it."""

    async def play(s: Stage) -> None:
        await s.process("A", *range(1, 8))
        await s.process("B", *range(1, 8) if which == "root_stable_tree" else range(11, 18))
        await s.scan()
        for _ in range(14):
            await s.batch(1)

    with pytest.raises(Finding) as found:
        perform(play, layer=with_trees(which, tree), watchers=["structure"])
    assert found.value.signature == "structure/bad_tree@none"
    assert which in found.value.message


def test_an_anon_vma_that_is_gone_leads_nowhere() -> None:
    """A page whose anon_vma was freed is not found by reverse mapping, although the vma is there."""
    with pytest.raises(Finding) as found:
        perform(moved_and_touched_anew, layer=FreesAnonVmaTooEarly, watchers=["rmap"])
    assert found.value.signature == "rmap/lost_anon_mapping@rmap_walk"


def test_a_stale_node_in_its_tree_is_no_leak() -> None:
    """A node that no search has met since its page went is still in its tree when all have exited: nothing leaks."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1, mergeable=False)
        await s.fork(a, "B")  # without advice, so that ksmd never asks for its pages
        await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_MERGEABLE)
        await s.scan(2)
        node = s.kernel.root_stable_tree[0].root
        await s.kernel.munmap(a.mm, a.start, 2 * PAGE_SIZE)
        await s.scan()
        await s.farewell()
        assert node is not None
        assert s.kernel.root_stable_tree[0].root is node
        assert s.kernel.pfn_to_page(node.kpfn).refcount == 0

    perform(play, kernel="v3.9")


async def unstable_tree_left_behind(s: Stage) -> None:
    """An unstable tree is out of use for the start of a scan; one of its items is freed; it comes into use again."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 2, nid=1)
    await s.process("B", 1, 3, nid=1)
    await s.scan(2)
    await s.set("merge_across_nodes", 1)
    await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
    await s.batch(1)
    await s.set("merge_across_nodes", 0)
    assert any(item.flag == FREED for item in s.kernel.root_unstable_tree[1])


async def unstable_tree_walked_again(s: Stage) -> None:
    """As before, and then ksmd goes on."""
    await unstable_tree_left_behind(s)
    await s.scan()


def test_a_dangling_root_is_convicted_by_the_walk() -> None:
    """v3.9 lets an unstable tree of an old scan name freed items: no witness minds, until ksmd walks it (H2)."""
    perform(unstable_tree_left_behind, kernel="v3.9")
    with pytest.raises(Finding) as found:
        perform(unstable_tree_walked_again, kernel="v3.9")
    assert found.value.signature == "lifetime/use_after_free_rmap_item@get_mergeable_page"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_silent(program: Play) -> None:
    """All witnesses together are silent about the same programs on the unbroken kernel."""
    perform(program)


def test_every_witness_has_its_case() -> None:
    """No witness is without a kernel that it convicts."""
    assert {signature.partition("/")[0] for signature in CONVICTED} == set(watch.WATCHERS)
