"""Each watcher, watching alone, reports a kernel that breaks its promise, and acquits the same program on an unbroken
one. Without any one of them a test fails here."""

from __future__ import annotations

import pytest

from ksmactors import watch
from ksmactors.errors import Finding
from ksmactors.history.mutants.beyond import NeverWoken
from ksmactors.history.mutants.guests import ReplacementNotAnnounced
from ksmactors.ksm.kernel import Ksm
from ksmactors.watch import progress
from tests.helpers import broken, failing, plays
from tests.helpers.directed import Play, perform
from tests.helpers.plays import life

CASES: dict[str, tuple[type[Ksm], Play, str]] = {
    "shadow": (broken.MergesUnequal, plays.written_before_the_comparison, "lost_write@user_read"),
    "lifetime": (broken.LosesItems, life, "leaked_rmap_item@none"),
    "trees": (broken.NodeWithoutNid, life, "wrong_tree@mutex_unlock"),
    "naming": (broken.ForgetsKpfn, life, "not_mutual@mutex_unlock"),
    "references": (broken.MapsWithoutReference, life, "too_few_references@mutex_unlock"),
    "hlist": (broken.UnlinksUnlocked, life, "changed_unlocked@remove_rmap_item_from_tree"),
    "counters": (broken.MiscountsSharing, life, "wrong_pages_sharing@mutex_unlock"),
    "writable": (broken.ReusesKsmPages, plays.last_mapping_faulted, "writable_ksm_page@do_wp_page"),
    "migration": (
        broken.UnlinksUnlocked, plays.passed_over_during_a_migration, "stranded_entry@remove_migration_ptes",
    ),
    "locality": (broken.SearchesTheFirstTree, plays.a_third_on_another_node, "merged_across_nodes@replace_page"),
    "unmerge": (broken.BreaksNothing, plays.unmerged, "ksm_page_left@run_store"),
    "knob": (broken.RemovesNoNodes, plays.switched_while_a_child_maps, "node_in_tree@merge_across_nodes_store"),
    "pruning": (
        broken.PrunesNothing, plays.last_mapper_exits_before_its_turn, "stale_node_kept@scan_get_next_rmap_item",
    ),
    "rmap": (broken.AppendsNothing, life, "lost_mapping@rmap_walk_ksm"),
    "convergence": (broken.FindsNoTwins, plays.twins, "pages_unmerged@cmp_and_merge_page"),
    "progress": (broken.SpinsForEver, plays.twins, "livelock@stable_tree_search"),
    "liveness": (NeverWoken, plays.registered_while_ksmd_sleeps, "asleep_with_work@ksm_scan_thread"),
    "offline": (broken.ChecksNoTrees, plays.memory_goes_offline, "node_of_absent_frame@ksm_check_stable_tree"),
    "wasted_work": (broken.ChecksFromTheFirstTree, plays.memory_goes_offline, "tree_revisited@ksm_check_stable_tree"),
    "secondary": (ReplacementNotAnnounced, plays.guest_reads_what_is_merged, "stale_mapping@replace_page_at"),
    "memory_failure": (failing.KeepsPoisonedNodes, plays.memory_of_a_ksm_page_fails, "mapped@replace_page_at"),
    "warning": (broken.CountsScansTwice, life, "kernel_warning@remove_rmap_item_from_tree"),
}  # fmt: skip
"""By watcher: a broken kernel, a program, and what is found."""

ELSEWHERE = frozenset({"happens_before", "lockset", "lock_order", "refinement", "mlock", "registration"})
"""Watchers of more than one promise, which have tests of their own."""

MAX_STEPS = 3_000
"""Steps for a short program, with which even a livelock is found in no time."""


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STEPS_MIN", MAX_STEPS // 3)


@pytest.mark.parametrize("name", CASES)
def test_convicts_alone(name: str) -> None:
    """The watcher reports the broken kernel with nobody else watching."""
    layer, play, what = CASES[name]
    with pytest.raises(Finding) as found:
        perform(play, layer=layer, watchers=(name,), max_steps=MAX_STEPS)
    assert found.value.signature == f"{name}/{what}"


@pytest.mark.parametrize("name", CASES)
def test_acquits(name: str) -> None:
    """The watcher is silent about the same program on the unbroken kernel."""
    perform(CASES[name][1], watchers=(name,))


def test_none_is_missing() -> None:
    """Every built-in watcher has its case, here or in a module of its own."""
    assert set(CASES) == set(watch.WATCHERS) - ELSEWHERE
