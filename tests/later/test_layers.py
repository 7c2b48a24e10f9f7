"""For each layer of `series` on scanning, trees and nodes, by one directed schedule: the defect that it repairs, and
its absence."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE
from ksmactors.kernels import KERNELS
from ksmactors.mm.const import EFAULT, ENOMEM, PAGE_SIZE
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Stage, about_to, perform


def without(name: str) -> dict[str, Any]:
    """A machine with the series, but for one layer."""
    return {"kernel": "series", "without": (name,)}


def only(name: str) -> list[dict[str, Any]]:
    """Two machines: v3.9 as it was, and with one layer."""
    return [{"kernel": "v3.9"}, {"kernel": "v3.9", "with_": (name,)}]


async def met_by_a_stale_node(s: Stage) -> None:
    """An equal KSM page exists, but a stale node is on the way to it."""
    a = await s.process("A", 9)
    await s.process("B", 1, 1)
    c = await s.process("C", 2, 2)
    await s.process("D", 3, 3)
    await s.scan(2)
    await s.kernel.munmap(c.mm, c.start, 2 * PAGE_SIZE)  # the root of the stable tree
    await s.write(a, 0, 3)
    await s.scan(1)


def test_restart_on_stale() -> None:
    """v3.9 gives the search up at a stale node, so a page misses its equal; later the search starts again."""
    assert perform(met_by_a_stale_node, **without("restart-on-stale")).counters == (2, 2, 0, 1)
    assert perform(met_by_a_stale_node).counters == (2, 3, 0, 0)


async def reinserted_by_another_mapping(s: Stage) -> None:
    """The mappings of a moved node are taken off it in vain, one by one; then its place becomes free, and each is met
    again."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 1, 1)
    b = await s.process("B", 1, 1, nid=1)
    await s.scan(3)
    await s.migrate(a, 0, 1)
    await s.scan(1)
    await s.kernel.munmap(b.mm, b.start, 2 * PAGE_SIZE)
    await s.quiesce()


def test_head_cleared() -> None:
    """v3.9 takes an item whose head was never cleared for "already in", for ever; with head cleared it is put back."""
    v39, with_layer = only("head-cleared")
    with pytest.raises(Finding) as found:
        perform(reinserted_by_another_mapping, **v39)
    assert found.value.signature == "rmap/lost_mapping@rmap_walk_ksm"
    assert perform(reinserted_by_another_mapping, **with_layer).counters == (1, 1, 0, 0)


async def freed_before_up_read(s: Stage) -> None:
    """An address space without any item exits while ksmd is about to release its mmap_sem for good."""
    a = await s.process("A")
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(RELEASE, a.mm.mmap_sem))
    await s.go(s.start("exit", s.kernel.mmput(a.mm)))
    await s.finish(ksmd)


def test_mmap_sem_first() -> None:
    """v3.9 releases a semaphore in an mm that an exit has freed, since the spinlock was released first."""
    with pytest.raises(Finding) as found:
        perform(freed_before_up_read, **without("mmap-sem-first"))
    assert found.value.signature == "lifetime/use_after_free_mm@unlock_left_mm"
    perform(freed_before_up_read)


async def mapped_anew(s: Stage) -> None:
    """ksmd holds a KSM page that a fork maps; the address is unmapped, and mapped anew, not touched."""
    a = await s.process("A", 1, 1)
    await s.scan(2)
    b = await s.fork(a, "B")
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.kernel.munmap(b.mm, b.start, 2 * PAGE_SIZE)
    assert await s.kernel.mmap(b.mm, 1, 0, b.start) == b.start
    await s.finish(ksmd)
    await s.farewell()


def test_find_mergeable_vma() -> None:
    """v3.9 takes a reference on the anon_vma of a vma that has none (H6)."""
    with pytest.raises(Finding) as found:
        perform(mapped_anew, **without("find-mergeable-vma"))
    assert found.value.signature == "lifetime/null_dereference@try_to_merge_with_ksm_page"
    perform(mapped_anew)


async def unmerged_while_exiting(s: Stage) -> None:
    """run=2 while a process that has left KSM's list has not torn its page tables down yet."""
    a = await s.process("A", 1, 1)
    await s.process("B", 2)
    await s.scan(2)
    await s.set("run", 1)
    leaving = s.start("exit", s.kernel.mmput(a.mm))
    await s.until(leaving, about_to(inside="exit_mmap"))
    await s.scan(1)
    assert await s.set("run", 2) == 0
    await s.finish(leaving)
    await s.farewell()


def test_no_warning() -> None:
    """v3.9 warns about a page that an exiting process still maps; later kernels know that this is no defect."""
    with pytest.raises(Finding) as found:
        perform(unmerged_while_exiting, **without("no-warning"))
    assert found.value.signature == "warning/kernel_warning@remove_stable_node"
    perform(unmerged_while_exiting)


async def moved_to_an_equal_page(s: Stage) -> None:
    """A KSM page is migrated to a node where there is an equal one."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 1, 1)
    await s.process("B", 1, 1, nid=1)
    await s.scan(3)
    await s.migrate(a, 0, 1)
    await s.quiesce()


def test_ksm_into_ksm() -> None:
    """No kernel moves the mappings of a moved KSM page to its equal (H0): they are lost. The commit message says that
    they are moved, and so they are here, with an event for each as for any other merge."""
    for machine in ({"kernel": "v3.9"}, without("ksm-into-ksm")):
        with pytest.raises(Finding) as found:
            perform(moved_to_an_equal_page, **machine)
        assert found.value.signature == "rmap/lost_mapping@rmap_walk_ksm"
    stage = perform(moved_to_an_equal_page)
    assert stage.counters == (1, 3, 0, 0)
    assert merges(stage) == [("A", 0), ("A", 0)]


def merges(s: Stage) -> list[tuple[Any, ...]]:
    """Who was merged into the KSM page that an equal one came to, and with which result."""
    moved = [record for record in s.machine.trace.recent() if record[0] == ev.KSM_MIGRATE_PAGE][-1]
    after = [record for record in s.machine.trace.recent() if record[1:3] > moved[1:3]]
    return [record[-2:] for record in after if record[0] == ev.KSM_MERGE_WITH_KSM_PAGE]


async def moved_page_is_locked(s: Stage) -> None:
    """As before, but the moved page is locked by somebody else when ksmd wants to move its first mapping."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 1, 1)
    await s.process("B", 1, 1, nid=1)
    await s.scan(3)
    await s.migrate(a, 0, 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, s.frame(a, 0), inside="trylock_to_merge"))
    await s.frame(a, 0).lock()
    await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="_back_to_node"))
    await s.frame(a, 0).unlock()
    await s.finish(ksmd)
    assert merges(s)[0] == ("A", -EFAULT)
    assert s.machine.trace.counts[ev.RACE_TRYLOCK_LOST] == 1
    await s.quiesce()


def test_ksm_into_ksm_meets_a_locked_page() -> None:
    """A mapping whose page is locked is not moved this time, which is recorded as a race lost to the lock's holder; it
    goes back to its node, and moves later."""
    assert perform(moved_page_is_locked).counters == (1, 3, 0, 0)


async def moved_away_and_back(s: Stage) -> None:
    """A KSM page is migrated away when get_ksm_page looks at it, and is back when it looks again."""
    a = await s.process("A", 1, 1)
    await s.scan(2)
    pfn = s.frame(a, 0).pfn
    await s.process("B", 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(READ, Frame, "mapping", inside="get_ksm_page"))
    await s.migrate(a, 0, 1)
    await s.until(ksmd, about_to(READ, field="kpfn"))
    await s.migrate(a, 0, 0)
    assert s.frame(a, 0).pfn == pfn, "the frame freed last is the first to be used again"
    await s.finish(ksmd)
    await s.quiesce()


def test_kpfn_aba() -> None:
    """v3.9 frees a live node whose page is back in the frame where it was (H1): the page names a freed node."""
    with pytest.raises(Finding) as found:
        perform(moved_away_and_back, **without("kpfn-aba"))
    assert found.value.signature == "naming/freed_while_named@free_stable_node"
    assert perform(moved_away_and_back).counters == (1, 2, 0, 0)


async def knob_there_and_back(s: Stage) -> None:
    """An unstable tree is out of use for the start of a scan, during which its items are freed."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 2, nid=1)
    await s.process("B", 1, 3, nid=1)
    await s.scan(2)
    assert await s.set("merge_across_nodes", 1) == 0
    await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
    await s.batch(1)  # of the next scan
    assert await s.set("merge_across_nodes", 0) == 0
    await s.scan(1)


def test_all_unstable_roots() -> None:
    """v3.9 resets only the unstable trees in use: a switch back and forth lets ksmd walk freed items (H2)."""
    with pytest.raises(Finding) as found:
        perform(knob_there_and_back, **without("all-unstable-roots"), watchers=())
    assert found.value.signature == "lifetime/use_after_free_rmap_item@get_mergeable_page"
    perform(knob_there_and_back)


async def unmerging_without_memory(s: Stage) -> None:
    """run=2 fails half-way for lack of memory in the middle of a scan, then ksmd runs again."""
    await s.process("A", 1, 2, 2, 3)
    await s.scan(1)
    await s.batch(3)
    hog = await s.process("H", *range(10, 10 + 5), mergeable=False)
    assert s.counters == (1, 1, 1, 1)
    assert await s.set("run", 2) == -ENOMEM
    assert s.kernel.sysfs_show("run") == "0"
    await s.kernel.mmput(hog.mm)
    await s.scan(1)


def test_aborted_unmerge() -> None:
    """v3.9 counts no scan when run=2 fails, and then erases items from a tree in which they are not (H3)."""
    with pytest.raises(Finding) as found:
        perform(unmerging_without_memory, **without("aborted-unmerge"), nodes=1, frames_per_node=9)
    assert found.value.signature == "structure/rb_erase_of_nonmember@unstable_tree_erase"
    stage = perform(unmerging_without_memory, nodes=1, frames_per_node=9)
    assert stage.counters == (1, 1, 2, 0)


async def forked_while_merging(s: Stage) -> None:
    """ksmd has made a page a KSM page; its process forks; the other page turns out to be written."""
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


async def no_memory_to_break(s: Stage) -> None:
    """As before, but there is no frame for the copy that would undo it."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.write(a, 0, 2)
    await s.finish(ksmd)
    await s.quiesce()


@pytest.mark.parametrize(
    ("machine", "counters"),
    [({}, (1, 1, 1, 0)), ({"nodes": 1, "frames_per_node": 3}, (1, 0, 1, 0))],
    ids=["forked", "no memory"],
)
def test_half_ksm(machine: dict[str, Any], counters: tuple[int, ...]) -> None:
    """v3.9 leaves a KSM page without a node behind when a merge cannot be undone everywhere (H7); with the node made
    first, whoever still maps the page is found in the end."""
    program = no_memory_to_break if machine else forked_while_merging
    with pytest.raises(Finding) as found:
        perform(program, **without("half-ksm"), **machine)
    assert found.value.signature == "rmap/half_ksm_page@rmap_walk_ksm"
    assert perform(program, **machine).counters == counters


@pytest.mark.parametrize(("machine", "named"), list(zip(only("freed-head"), (True, False), strict=True)))
def test_freed_head(machine: dict[str, Any], named: bool) -> None:
    """The items of a node that is removed as a whole go on naming it, until they do not."""

    async def program(s: Stage) -> None:
        a = await s.process("A", 7, 7)
        await s.scan(3)
        item = s.kernel.mm_slots_hash[a.mm.number].rmap_list
        assert item is not None
        node = item.head
        for index in range(2):
            await s.write(a, index, 20 + index)
        await s.kernel.remove_rmap_item_from_tree(item)
        assert node is not None
        assert not node.alive
        assert (item.head is node) == named

    perform(program, **machine)


@pytest.mark.parametrize(("machine", "nodes"), list(zip(only("poisoned-nodes"), (1, 0), strict=True)))
def test_poisoned_nodes(machine: dict[str, Any], nodes: int) -> None:
    """A KSM page whose memory has failed keeps its node and its mappings, until it loses both (X11a)."""

    async def program(s: Stage) -> None:
        await s.process("A", 7)
        b = await s.process("B", 7)
        await s.scan(2)
        page = s.frame(b, 0)
        await s.memory_failure(page)
        assert len(list(s.kernel.root_stable_tree[0])) == nodes
        assert page.mapcount == 2 * nodes

    perform(program, **machine)


def test_every_layer_has_its_test() -> None:
    """No layer of the series is without a test in the files of this name."""
    parsed = [ast.parse(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("test_layers*.py"))]
    tests = {node.name for tree in parsed for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert len(parsed) == 2
    assert {f"test_{name.replace('-', '_')}" for name in KERNELS["series"]} <= tests
