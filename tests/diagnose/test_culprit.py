"""The step that broke what a finding is about is named: actor, function, what it did, and until when it had held."""

from __future__ import annotations

import re

import pytest
import trio

from ksmactors.campaign.corpus import show, subject_of
from ksmactors.campaign.summary import Found
from ksmactors.cli.report import described
from ksmactors.diagnose.explain import explain
from ksmactors.history.cases import CASES
from ksmactors.kernels import register
from ksmactors.ksm.kernel import Ksm
from ksmactors.run.outcome import Break, Defect, Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from tests.helpers import broken, weakened
from tests.helpers.explained import explained_by_name

SCHEDULES = 20
"""Random schedules in which a broken kernel must be found; each of those below is in the first few."""


def defect_of(outcome: Outcome) -> Defect:
    """The defect of an outcome, which is explained."""
    assert outcome.defect is not None
    assert outcome.defect.broke is not None
    return outcome.defect


def case_explained(name: str) -> Defect:
    """Of the directed schedule of a case."""
    defect = explained_by_name(name)
    assert defect is not None
    assert defect.broke is not None
    return defect


def subject_with(cls: type[Ksm], workload: str, watch: str = "all", **params: object) -> Subject:
    """A workload on a kernel that is broken in a way that no case of the corpus is."""
    register(f"broken-{cls.__name__}", cls, origin="tests")
    return make_subject(workload, params=params, with_=(f"broken-{cls.__name__}",), watch=watch)


def found_with(subject: Subject) -> Outcome:
    """The first schedule that finds something, explained."""

    async def run() -> Outcome:
        for seed in range(SCHEDULES):
            outcome = await run_schedule(subject, seed, "portfolio", keep=True)
            if outcome.verdict is Verdict.FINDING:
                return await explain(outcome, subject)
        raise AssertionError("nothing was found")

    return trio.run(run)


@pytest.mark.parametrize(
    ("case", "function", "operation", "caller"),
    [
        ("F1", "get_ksm_page", "writes refcount", "stable_tree_insert"),  # references
        ("S6i", "remove_rmap_item_from_tree", "writes hlist", "cmp_and_merge_page"),  # rmap
        ("F2", "mremap", "writes pte", ""),  # migration
        ("S4c", "map_swapped_page", "writes pte", "do_swap_page"),  # unmerge
        ("F3", "replace_page_at", "writes pte", "try_to_merge_one_page"),  # shadow
        ("S6a", "remove_node_from_stable_tree", "writes nid", "get_ksm_page"),  # an erasure of what is no member
        ("S5b", "ksm_migrate_page", "writes mapping", "migrate_page_copy"),  # naming
        ("R7", "alloc_roots", "writes unstable_tree", "merge_across_nodes_store"),  # another tree
        ("S6d", "merge_across_nodes_store", "writes ksm_merge_across_nodes", ""),  # knob
        ("X5a", "replace_page_at", "writes pte", "try_to_merge_one_page"),  # mlock
    ],
)
def test_the_step_that_broke_it(case: str, function: str, operation: str, caller: str) -> None:
    """The step of the story: where it was broken, not where it shows, and who called that."""
    broke = case_explained(case).broke

    assert broke.by is not None
    assert broke.held_until is not None
    assert broke.held_until <= broke.by.step
    assert broke.by.function == function
    assert broke.by.operation.startswith(operation)
    assert not caller or caller in broke.by.callers


@pytest.mark.parametrize(
    ("cls", "watch", "function"),
    [
        (broken.MiscountsSharing, "counters", "stable_tree_append"),
        (broken.MiscountsUnshared, "counters", "unstable_tree_erase"),
        (broken.MiscountsItems, "counters", "remove_trailing_rmap_items"),
        (broken.ForgetsToPut, "references", "cmp_and_merge_page"),
        (broken.AppendsWithoutHead, "naming", "stable_tree_append"),
        (broken.HoldsMmForEver, "lifetime", "ksm_enter"),
        (broken.HoldsAnonVmaForEver, "lifetime", "try_to_merge_with_ksm_page"),
        (broken.UnlinksNodesOnly, "lifetime", "remove_node_from_stable_tree"),
    ],
)
def test_watchers_name_the_function_that_is_wrong(cls: type[Ksm], watch: str, function: str) -> None:
    """What each watcher counts or compares leads to the function that was overridden, or to the one that called it."""
    outcome = found_with(subject_with(cls, "litmus.scan_meets_migration", watch, merge_across_nodes=0))

    lines = described(Found(outcome))[:3]
    assert outcome.defect is not None
    assert outcome.defect.watcher == watch
    assert function in re.findall(r"\w+", " ".join(lines))


@pytest.mark.parametrize(
    ("cls", "workload", "signature", "by"),
    [
        (weakened.ForgetsTheMapCount, "exit_race", "references/freed_while_mapped@merge_two", "replace_page_at"),
        (
            weakened.MapsWithoutAReference,
            "exit_race",
            "references/freed_while_locked@zap_page_range",
            "replace_page_at",
        ),
        (weakened.LeavesTheParentWritable, "fork_storm", "refinement/shared_write@user_write", "copy_one_pte"),
        (weakened.KeepsPrunedReferences, "scenario", "references/wrong_count@none", "get_ksm_page"),
        (
            weakened.PutsVisitedPagesTwice,
            "hot_remove",
            "references/too_few_references@mutex_unlock",
            "unstable_tree_search_insert",
        ),
        (weakened.KeepsVisitedReferences, "hot_remove", "references/wrong_count@none", "try_grab_page"),
        (weakened.StaysRegistered, "fork_storm", "liveness/registered_without_slot@ksm_scan_thread", "leave_mm"),
    ],
)
def test_what_others_hold_for_a_while_hides_nothing(cls: type[Ksm], workload: str, signature: str, by: str) -> None:
    """The wrong step is named, not a right one that came after: of a count, of a migration, of a list."""
    defect = defect_of(found_with(subject_with(cls, workload)))

    assert defect.signature == signature
    assert defect.broke.by is not None
    assert defect.broke.by.function == by


@pytest.mark.parametrize(
    ("cls", "kernel", "watch", "workload", "function"),
    [
        (broken.PrunesNothing, "series", "pruning", "numa_pingpong", "scan_get_next_rmap_item"),
        (Ksm, "v3.9", "convergence", "numa_pingpong", "remove_migration_pte"),
    ],
)
def test_a_predicate_over_state_finds_the_step(
    cls: type[Ksm], kernel: str, watch: str, workload: str, function: str
) -> None:
    """Where nothing is wrong at the step that finds it, the state since an earlier step is."""
    subject = make_subject(workload, kernel=kernel, watch=watch)
    broke = defect_of(found_with(subject if cls is Ksm else subject_with(cls, workload, watch))).broke

    assert broke.by is not None
    assert broke.held_until is not None
    assert function in (broke.by.function, *broke.by.callers)


def test_who_looked_before_another_broke_it() -> None:
    """Where one actor broke what another relied on, both are told: S3's ksmd looks, and waits, before the migration."""
    broke = case_explained("S3").broke

    assert broke.by is not None
    assert broke.by.actor == "migrationd/1"
    assert broke.looked is not None
    assert broke.looked.actor == "ksmd"
    assert broke.looked.step <= broke.by.step
    assert broke.came_back is not None
    assert broke.came_back.step > broke.by.step
    assert "ksmd had looked at" in str(broke)
    assert "stable_tree_search" in str(broke)


def test_what_was_done_at_the_very_page_is_told() -> None:
    """R1's unmerging passes the page by: the functions that had its address are told, though they touched nothing."""
    assert "break_ksm" in case_explained("R1").broke.after


def test_the_outermost_function_tells_what_it_was_all_about() -> None:
    """Where no step is known to have broken it, the finder's outermost function is told, too."""
    found = Break(finder="ksmd", found_in=("a", "b", "c", "d", "e"))

    assert found.found == "found by ksmd in a < b < c < ... < e"
    assert Break(finder="ksmd", found_in=("a", "b", "c", "d")).found == "found by ksmd in a < b < c < d"


def test_what_is_never_done_names_the_last_visit() -> None:
    """Nothing broke where pages were passed by: ksmd's last visit is told, with what it called then."""
    broke = case_explained("S6m").broke

    assert broke.held_until is None
    assert broke.by is not None
    assert "stable_tree_search" in broke.after


def test_who_stumbled_and_who_freed_it() -> None:
    """A use after free names who freed it, and where the user had come from."""
    broke = case_explained("N2").broke

    assert broke.by is not None
    assert broke.by.function == "free_stable_node"
    assert "stable_tree_search" in (*broke.found_in, *broke.found_after)


def test_nobody_is_made_a_party() -> None:
    """A count that one actor alone got wrong names no pair."""
    assert case_explained("F1").met == ()


def test_a_defect_of_another_kind_looks_like_nothing() -> None:
    """A mapping lost by a kernel that merges and then appends nothing has the signature of H0, and is none of it."""
    defect = defect_of(
        found_with(subject_with(broken.AppendsNothing, "litmus.scan_meets_migration", "rmap", merge_across_nodes=0))
    )

    assert defect.looks_like == ()


def test_it_is_told_in_the_third_line() -> None:
    """Signature, message, and then the step that broke it; files and JSON have it, too."""
    case = CASES["S6i"]

    async def run() -> Outcome:
        return await explain((await show(case)).outcome, subject_of(case))

    outcome = trio.run(run)
    third = described(Found(outcome))[2]

    assert re.match(r"held until step \d+; broken for good at \d+: ksmd writes hlist/1 in remove_rmap_item", third)
    assert outcome.finding()["cause"] == third
    assert outcome.finding()["broke"]["by"]["function"] == "remove_rmap_item_from_tree"


def test_nothing_known_is_nothing_said() -> None:
    """Without a step, a finder or a pair there is no line."""
    nothing = Defect("none", "model", "model/none@run", "nothing", 0, ("host",), ("run",), (), broke=Break())

    assert nothing.cause == ""
    assert nothing.explanation()["cause"] == ""


def test_what_is_not_explained_has_no_explanation() -> None:
    """Until it is explained, a defect has neither a cause nor the keys of an explanation."""
    bare = Defect("none", "model", "model/none@run", "nothing", 0, ("host",), ("run",), ())

    assert bare.cause == bare.found == ""
    assert bare.explanation() == {}


def test_an_explanation_changes_no_schedule() -> None:
    """What is found, its digest and its schedule are the same with and without an explanation."""
    case = CASES["S6i"]

    async def run() -> tuple[Outcome, Outcome]:
        outcome = (await show(case)).outcome
        return outcome, await explain(outcome, subject_of(case))

    before, after = trio.run(run)
    assert (before.digest, before.schedule, before.verdict) == (after.digest, after.schedule, after.verdict)
