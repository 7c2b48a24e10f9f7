"""What no recording of a real kernel decides: each point against the protocol's own description."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.const import EAGAIN, ENOENT, MADV_DONTNEED, MADV_MERGEABLE, PAGE_SIZE
from ksmactors.mm.frame import KSM_WITHOUT_NODE
from tests.helpers.directed import Proc, Puppet, Stage, about_to, perform

V39 = {"kernel": "v3.9"}


def tree(s: Stage, nid: int = 0) -> Any:
    """A stable tree as nested (token's frame, left, right)."""

    def below(node: Any) -> Any:
        return None if node is None else (node.kpfn, below(node.rb_left), below(node.rb_right))

    return below(s.kernel.root_stable_tree[nid].root)


def node_of(s: Stage, proc: Proc, index: int) -> StableNode:
    """The stable node of a page."""
    node = s.frame(proc, index).stable_node
    assert isinstance(node, StableNode)
    return node


def test_trees_are_balanced() -> None:
    """Stable and unstable trees rebalance as red-black trees: ascending contents give no chain."""

    async def play(s: Stage) -> None:
        a = await s.process("A", *[token for token in range(1, 8) for _ in range(2)])
        b = await s.process("B", *range(11, 18))
        await s.scan(2)
        pfn = [s.frame(a, 2 * i).pfn for i in range(7)]
        leaf = [(number, None, None) for number in pfn]
        assert tree(s) == (pfn[1], leaf[0], (pfn[3], leaf[2], (pfn[5], leaf[4], leaf[6])))
        await s.batch(14 + 7)
        root = s.kernel.root_unstable_tree[0].root
        assert (root.mm, root.address, root.rb_right.address) == (b.mm, b.at(1), b.at(3))

    perform(play)


def test_a_moved_node_takes_its_equals_place() -> None:
    """ST6: the node in hand replaces the equal, misplaced entry where that is in the tree; nothing else moves."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        b = await s.process("B", 2, 2)
        a = await s.process("A", *[token for token in range(1, 8) for _ in range(2)], nid=1)
        await s.scan(2)
        before, old, new = tree(s, 1), node_of(s, a, 2), node_of(s, b, 0)
        assert before[0] == old.kpfn, "the root has children on both sides"
        await s.migrate(a, 2, 0)
        await s.migrate(b, 0, 1)
        await s.batch(1)
        assert tree(s, 1) == (new.kpfn, *before[1:])
        assert (s.kernel.migrate_nodes, new.nid) == ([old], 1)
        await s.quiesce()
        assert tree(s, 0) == (old.kpfn, None, None)

    perform(play)


def test_a_private_page_exiles_its_misplaced_equal() -> None:
    """ST6 without a node in hand: the entry leaves the tree, and the page is not merged this time."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        b = await s.process("B", 9)
        a = await s.process("A", 1, 1)
        await s.scan(2)
        await s.migrate(a, 0, 1)
        await s.write(b, 0, 1)
        await s.batch(1)
        assert (tree(s), s.kernel.migrate_nodes) == (None, [node_of(s, a, 0)])
        assert s.counters == (1, 1, 0, 1)
        await s.quiesce()
        assert (s.kernel.migrate_nodes, s.counters) == ([], (1, 1, 1, 0))

    perform(play)


def test_order_of_migrate_nodes() -> None:
    """New entries go to the front."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        b = await s.process("B", 8, 9)
        a = await s.process("A", 1, 1, 2, 2)
        await s.scan(2)
        for index, token in ((0, 1), (1, 2)):
            await s.migrate(a, 2 * index, 1)
            await s.write(b, index, token)
        await s.batch(2)
        assert s.kernel.migrate_nodes == [node_of(s, a, 2), node_of(s, a, 0)]

    perform(play)


@pytest.mark.parametrize("knob", [0, 1])
def test_pruning_at_scan_start(knob: int) -> None:
    """Stale nodes on migrate_nodes go at the start of a scan with merge_across_nodes=0; with 1 nobody looks."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        a = await s.process("A", 1, 1)
        await s.process("B", 5)
        await s.scan(2)
        node = node_of(s, a, 0)
        await s.kernel.stable_tree_erase(node)
        await s.kernel.stable_node_to_migrate_nodes(node)
        await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_DONTNEED)
        s.kernel.ksm_merge_across_nodes = knob
        s.kernel.ksm_mm_head.next.rmap_list = None  # so that nothing else meets the node
        await s.batch(1)
        assert s.kernel.migrate_nodes == ([node] if knob else [])

    perform(play, watchers=())


async def about_to_merge(s: Stage, a: Proc, b: Proc) -> Puppet:
    """ksmd, which has made B's page a KSM page, and is going to merge A's into it."""
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_two_pages"))
    await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="try_to_merge_two_pages"))
    return ksmd


def test_second_half_of_a_merge_fails() -> None:
    """The page of the first half is given a private copy; its item is volatile, the other one stays in the tree."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 1), await s.process("B", 1)
        await s.scan()
        ksmd = await about_to_merge(s, a, b)
        await s.write(a, 0, 2)
        upgraded = s.frame(b, 0)
        assert upgraded.mapping is KSM_WITHOUT_NODE
        await s.finish(ksmd)
        assert (s.frame(b, 0) is upgraded, s.frame(b, 0).is_ksm, upgraded.refcount) == (False, False, 0)
        assert (s.counters, s.machine.trace.counts[ev.BREAK_COW]) == ((0, 0, 1, 1), 1)
        await s.quiesce()
        await s.farewell()

    perform(play, **V39)


def test_an_equal_node_got_there_first() -> None:
    """If the content of both pages is that of a stable node by the time they are merged, both are broken again."""

    async def play(s: Stage) -> None:
        await s.process("K", 3, 3)
        a, b = await s.process("A", 1), await s.process("B", 1)
        await s.scan(2)
        for proc in (a, b):
            await s.write(proc, 0, 2)
        await s.scan()
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(inside="try_to_merge_two_pages"))
        for proc in (a, b):
            await s.write(proc, 0, 3)
        await s.finish(ksmd)
        assert not any(s.frame(proc, 0).is_ksm for proc in (a, b))
        assert (s.counters, s.machine.trace.counts[ev.BREAK_COW]) == ((1, 1, 0, 2), 2)
        await s.quiesce()
        assert s.counters == (1, 3, 0, 0)
        await s.farewell()

    perform(
        play, **V39, watchers=("shadow", "lifetime", "trees", "naming", "references", "writable", "rmap", "warning")
    )


@pytest.mark.parametrize(
    ("machine", "counters"),
    [
        (V39, (0, 0, 0, 4)),
        ({"kernel": "series", "without": ("restart-on-stale",)}, (0, 0, 1, 3)),
        ({"kernel": "series", "without": ("half-ksm",)}, (1, 1, 0, 2)),
        ({}, (1, 1, 0, 2)),
    ],
    ids=["v3.9", "without restart-on-stale", "without half-ksm", "series"],
)
def test_insertion_meets_a_stale_entry(machine: dict[str, Any], counters: tuple[int, ...]) -> None:
    """v3.9 gives an insertion up when it meets a stale node, and breaks both mappings; later it starts again.

    With the node made before the second process, there is but one mapping to break, and the other's item stays in the
    unstable tree.
    """

    async def play(s: Stage) -> None:
        k = await s.process("K", 3, 3)
        await s.scan(2)
        a, b = await s.process("A", 1), await s.process("B", 1)
        await s.scan()
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
        await s.kernel.munmap(k.mm, k.start, 2 * PAGE_SIZE)
        await s.finish(ksmd)
        assert s.counters == counters, "two are K's, which the scan has passed already"
        assert s.frame(a, 0).is_ksm is s.frame(b, 0).is_ksm is bool(counters[0])
        await s.quiesce()
        assert s.counters == (1, 1, 0, 0)

    perform(play, **machine)


def test_a_ksm_page_without_node() -> None:
    """It merges with nothing, keeps equal pages from merging, and is not found by rmap; a write ends all that."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 1), await s.process("B", 1)
        await s.scan()
        ksmd = await about_to_merge(s, a, b)
        c = await s.fork(b, "C")
        await s.write(a, 0, 2)
        await s.finish(ksmd)
        half = s.frame(c, 0)
        assert half.mapping is KSM_WITHOUT_NODE
        await s.process("D", 1, 1)
        await s.scan(4)
        assert (s.frame(c, 0) is half, half.mapping) == (True, KSM_WITHOUT_NODE)
        assert s.counters == (0, 0, 2, 3), "it is found in the unstable tree, so no equal page can merge, either"
        assert await s.migrate(c, 0, 1) == -EAGAIN
        await s.write(c, 0, 1)
        assert half.refcount == 0
        await s.quiesce()
        assert s.counters == (1, 3, 1, 0)
        await s.farewell()

    perform(play, **V39)


@pytest.mark.parametrize(("machine", "left"), [(V39, 1), ({}, 0)], ids=["v3.9", "series"])
def test_which_unstable_roots_are_reset(machine: dict[str, Any], left: int) -> None:
    """At scan start v3.9 resets the unstable trees in use; the other nodes' go on naming old items."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await s.process("A", 1, nid=1)
        await s.scan(2)
        await s.set("merge_across_nodes", 1)
        await s.scan(1)
        assert len(list(s.kernel.root_unstable_tree[1])) == left
        assert len(list(s.kernel.root_unstable_tree[0])) == 1

    perform(play, **machine)


@pytest.mark.parametrize(("machine", "cleared"), [(V39, False), ({}, True)], ids=["v3.9", "series"])
def test_head_when_a_node_is_removed(machine: dict[str, Any], cleared: bool) -> None:
    """Removing a whole node leaves its items' head as it is in v3.9, cleared in series."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        node = node_of(s, a, 0)
        items = list(node.hlist())
        await s.write(a, 0, 2)
        await s.write(a, 1, 3)
        assert await s.kernel.get_ksm_page(node, lock=False) is None
        assert [item.head for item in items] == [None if cleared else node] * 2
        assert [item.flag for item in items] == [0, 0]

    perform(play, **machine)


@pytest.mark.parametrize(("run", "order"), [(0, "ACBD"), (2, "ABCD")])
def test_where_a_new_process_goes(run: int, order: str) -> None:
    """Just behind the cursor, so that a whole pass goes by before it is scanned; at the very end while run is 2. With
    the cursor at the start the two are one."""

    async def play(s: Stage) -> None:
        for name in "AB":
            await s.process(name, 1, 2)
        await s.batch(3)  # the cursor is in B
        s.kernel.ksm_run = run
        await s.process("C", 1)
        await s.scan()
        await s.process("D", 1)
        slot, names = s.kernel.ksm_mm_head.next, ""
        while slot.mm is not None:
            names += slot.mm.name
            slot = slot.next
        assert names == order

    perform(play, watchers=())  # run is 2 without anything having been unmerged


def test_when_an_item_of_a_gone_page_goes() -> None:
    """Its item is freed when the scan has got to the next page that is there, not when it passes its address."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3)
        await s.scan()
        await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_DONTNEED)
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, a.mm.page_table_lock))
        await s.until(ksmd, about_to(ACQUIRE, a.mm.page_table_lock))
        assert (s.kernel.ksm_scan.address, s.kernel.ksm_rmap_items) == (a.at(1), 3)
        await s.until(ksmd, about_to(inside="cmp_and_merge_page"))
        assert s.kernel.ksm_rmap_items == 2, "before that page is compared"
        await s.finish(ksmd)

    perform(play)


def test_a_parents_mapping_is_not_found_through_its_child() -> None:
    """The item of a child leads to the child's anon_vma, in which its parent's vma is not."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        await s.process("C", 1)
        b = await s.fork(a, "B")
        await s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_MERGEABLE)
        await s.scan(2)
        page = s.frame(a, 0)
        assert (page.is_ksm, page is s.frame(b, 0), page.mapcount) == (True, True, 3)
        assert await s.migrate(a, 0, 1) == -EAGAIN

    async def the_other_way_round(s: Stage) -> None:
        await s.process("C", 1)
        a = await s.process("A", 1)
        b = await s.fork(a, "B")
        await s.kernel.munmap(b.mm, b.start, PAGE_SIZE)
        await s.scan(2)
        c = await s.fork(a, "D")
        assert await s.migrate(c, 0, 1) == 1, "a child's is found through its parent's"

    perform(play, **V39)
    perform(the_other_way_round, **V39)


def test_copy_of_a_moved_page_shared_by_fork() -> None:
    """A KSM page that a fork shares and that has been moved is copied to the region's node, for parent and child."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        b = await s.fork(a, "B")
        await s.migrate(a, 0, 1)
        for proc in (a, b):
            await s.write(proc, 0, 2)
        assert [s.frame(a, 0).nid, s.frame(b, 0).nid, s.frame(b, 1).nid] == [0, 0, 1]

    perform(play)


def test_pages_that_cannot_be_asked_to_move() -> None:
    """The zero page and an address without a page are -ENOENT; a shared page already there is where it is."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        assert await s.kernel.move_pages(a.mm, a.start, 0, False) == 0
        await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_DONTNEED)
        assert await s.migrate(a, 0, 1) == -ENOENT
        await s.read(a, 0)
        assert await s.migrate(a, 0, 1) == -ENOENT

    perform(play)
