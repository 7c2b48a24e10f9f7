"""What each watcher can report of, and that all are silent about the same programs on an unbroken kernel."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import FREED
from ksmactors.mm.const import MADV_MERGEABLE, PAGE_SIZE
from tests.helpers import broken, plays
from tests.helpers.directed import Play, Stage, perform
from tests.helpers.plays import forked_while_merging, life, moved_and_touched_anew

CONVICTED: dict[str, tuple[type[Ksm], Play]] = {
    "shadow/lost_write@user_read": (broken.MergesUnequal, plays.written_before_the_comparison),
    "shadow/lost_write@none": (broken.CopiesNothing, life),
    "lifetime/leaked_frame@none": (broken.ForgetsToPut, life),
    "lifetime/leaked_rmap_item@none": (broken.LosesItems, life),
    "lifetime/leaked_mm@none": (broken.HoldsMmForEver, life),
    "lifetime/leaked_anon_vma@none": (broken.HoldsAnonVmaForEver, life),
    "lifetime/leaked_stable_node@none": (broken.UnlinksNodesOnly, life),
    "trees/bad_migrate_nodes@mutex_unlock": (broken.StaysOnMigrateNodes, life),
    "trees/wrong_tree@mutex_unlock": (broken.NodeWithoutNid, life),
    "trees/bad_order@mutex_unlock": (broken.TurnsTheWrongWay, life),
    "naming/bad_hlist@mutex_unlock": (broken.AppendsWithoutHead, life),
    "naming/not_mutual@mutex_unlock": (broken.ForgetsKpfn, life),
    "naming/freed_while_named@free_stable_node": (broken.StaleAtFirstMismatch, plays.node_freed_during_a_search),
    "hlist/changed_unlocked@remove_rmap_item_from_tree": (broken.UnlinksUnlocked, life),
    "hlist/freed_live@free_stable_node": (broken.StaleAtFirstMismatch, plays.node_freed_during_a_search),
    "references/too_few_references@mutex_unlock": (broken.MapsWithoutReference, life),
    "references/wrong_count@none": (broken.ForgetsToPut, life),
    "counters/wrong_pages_shared@mutex_unlock": (broken.MiscountsShared, life),
    "counters/wrong_pages_sharing@mutex_unlock": (broken.MiscountsSharing, life),
    "counters/wrong_pages_unshared@mutex_unlock": (broken.MiscountsUnshared, life),
    "counters/wrong_rmap_items@mutex_unlock": (broken.MiscountsItems, life),
    "writable/writable_ksm_page@do_wp_page": (broken.ReusesKsmPages, plays.last_mapping_faulted),
    "writable/writable_ksm_page@try_to_merge_with_ksm_page": (broken.UpgradesUnprotected, plays.twins),
    "migration/stranded_entry@remove_migration_ptes": (broken.UnlinksUnlocked, plays.passed_over_during_a_migration),
    "locality/linked_on_wrong_node@unstable_tree_search_insert": (broken.IgnoresNodes, plays.twins_on_node_1),
    "locality/linked_on_wrong_node@stable_tree_insert": (broken.IgnoresNodes, plays.twins_on_two_nodes),
    "locality/merged_across_nodes@replace_page": (broken.SearchesTheFirstTree, plays.a_third_on_another_node),
    "unmerge/ksm_page_left@run_store": (broken.BreaksNothing, plays.unmerged),
    "unmerge/node_left@run_store": (broken.RemovesNoNodes, plays.unmerged_while_pinned),
    "unmerge/items_left@run_store": (broken.LeavesAnItem, plays.unmerged),
    "unmerge/wrong_counter@run_store": (broken.MiscountsSharing, plays.unmerged),
    "knob/node_in_tree@merge_across_nodes_store": (broken.RemovesNoNodes, plays.switched_while_a_child_maps),
    "knob/node_on_migrate_nodes@merge_across_nodes_store": (broken.ForgetsTheList, plays.switched_with_a_listed_node),
    "pruning/stale_node_kept@scan_get_next_rmap_item": (broken.PrunesNothing, plays.last_mapper_exits_before_its_turn),
    "rmap/lost_mapping@rmap_walk_ksm": (broken.AppendsNothing, life),
    "rmap/half_ksm_page@rmap_walk_ksm": (broken.MakesTheNodeLast, forked_while_merging),
    "rmap/lost_anon_mapping@rmap_walk": (broken.IndexByAddress, moved_and_touched_anew),
    "convergence/pages_unmerged@cmp_and_merge_page": (broken.FindsNoTwins, plays.twins),
    "convergence/merged_for_ever@cmp_and_merge_page": (broken.InsertsNothing, plays.twins),
    "convergence/half_ksm_page@cmp_and_merge_page": (
        broken.MakesTheNodeLast, plays.forked_while_merging_beside_an_equal,
    ),
    "convergence/ksm_pages_unmerged@cmp_and_merge_page": (broken.MergesNoKsmPages, plays.moved_to_an_equal),
    "offline/node_of_absent_frame@ksm_check_stable_tree": (broken.ChecksNoTrees, plays.memory_goes_offline),
    "offline/used_while_absent@online_pages": (broken.HoldsAFrame, plays.memory_comes_back),
    "wasted_work/tree_revisited@ksm_check_stable_tree": (broken.ChecksFromTheFirstTree, plays.memory_goes_offline),
    "wasted_work/search_given_up@unstable_tree_search_insert": (
        broken.GivesUpEarly, plays.moved_page_in_the_unstable_tree,
    ),
    "warning/kernel_warning@remove_rmap_item_from_tree": (broken.CountsScansTwice, life),
}  # fmt: skip
"""By signature: a kernel that one watcher reports by it, and in which program."""

PROGRAMS = sorted({program for _, program in CONVICTED.values()}, key=lambda program: program.__name__)


@pytest.mark.parametrize("signature", CONVICTED)
def test_convicts(signature: str) -> None:
    """A watcher, watching alone, reports a kernel that breaks its promise, by this signature."""
    layer, program = CONVICTED[signature]
    with pytest.raises(Finding) as found:
        perform(program, layer=layer, watchers=[signature.partition("/")[0]])
    assert found.value.signature == signature


@pytest.mark.parametrize("which", ["root_stable_tree", "root_unstable_tree"])
@pytest.mark.parametrize("tree", [broken.RedTree, broken.BlackTree, broken.OrphanTree, broken.ForgetfulTree])
def test_convicts_a_bad_tree(tree: type[ContentTree[Any]], which: str) -> None:
    """Colours, balance, parents and membership: whichever is wrong in a tree, the tree is reported; in an unstable one
    while the scan goes on that filled it."""

    async def play(s: Stage) -> None:
        await s.process("A", *range(1, 8))
        await s.process("B", *range(1, 8) if which == "root_stable_tree" else range(11, 18))
        await s.scan()
        for _ in range(14):
            await s.batch(1)

    with pytest.raises(Finding) as found:
        perform(play, layer=broken.with_trees(which, tree), watchers=["trees"])
    assert found.value.signature == "trees/bad_tree@mutex_unlock"
    assert which in found.value.message


def test_an_anon_vma_that_is_gone_leads_nowhere() -> None:
    """A page whose anon_vma was freed is not found by reverse mapping, although the vma is there."""
    with pytest.raises(Finding) as found:
        perform(moved_and_touched_anew, layer=broken.FreesAnonVmaTooEarly, watchers=["rmap"])
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


def test_a_page_in_hand_need_not_be_mapped_any_more() -> None:
    """A search may end at a page that equals the one in hand, whatever the fault of another has mapped in its place."""
    stage = perform(plays.moved_page_is_met_by_one_that_is_replaced, watchers=["wasted_work"])
    assert stage.machine.trace.counts[ev.RACE_UNSTABLE_MOVED] == 1


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
    """v3.9 lets an unstable tree of an old scan name freed items: no watcher minds, until ksmd walks it (H2)."""
    perform(unstable_tree_left_behind, kernel="v3.9")
    with pytest.raises(Finding) as found:
        perform(unstable_tree_walked_again, kernel="v3.9")
    assert found.value.signature == "lifetime/use_after_free_rmap_item@get_mergeable_page"


def test_a_dangling_root_stays_out_of_use_when_the_scans_are_counted_anew() -> None:
    """run=2 puts the number of the scan back to 0, so an old tree may have been reset in a scan of the same number."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await s.process("A", 2, nid=1)
        await s.process("B", 1, 3)
        await s.scan(2)
        await s.set("run", 2)
        await s.set("merge_across_nodes", 1)
        await s.set("run", 1)
        await s.scan()
        await s.batch(1)
        assert s.kernel.ksm_scan.seqnr == 1
        assert any(item.flag == FREED for item in s.kernel.root_unstable_tree[1])

    perform(play, kernel="v3.9")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_silent(program: Play) -> None:
    """All watchers together are silent about the same programs on the unbroken kernel."""
    perform(program)
