"""Litmus tests beside kernels that lack one protection each: found within a few schedules, by what is wrong."""

from __future__ import annotations

import pytest
import trio

from ksmactors.kernels import register
from ksmactors.ksm.kernel import Ksm
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from tests.helpers import weakened

CASES = {
    "litmus.merge_meets_dontneed": (weakened.ReplacesWhateverIsThere, "references/freed_while_mapped@replace_page_at"),
    "litmus.scan_meets_hotplugs": (
        weakened.WaitsOnce, "happens_before/data_race@remove_node_from_stable_tree+remove_rmap_item_from_tree",
    ),
    "litmus.munmap_meets_migration": (
        weakened.LeavesAnonVmasFirst, "lifetime/use_after_free_anon_vma@unmap_and_move_locked",
    ),
    "litmus.unmerge_meets_unstable_migration": (
        weakened.ErasesWhereThePageIs, "structure/rb_erase_of_nonmember@unstable_tree_erase",
    ),
    "litmus.unmerge_meets_fault": (weakened.MapsOverAnything, "lifetime/use_after_free_swap_slot@swap_free"),
}  # fmt: skip
"""By litmus test: a weakened kernel, and what is found first."""

SEEDS = 60

FEW = 6
"""Schedules of the unbroken kernel."""


def subject_with(cls: type[Ksm], workload: str) -> Subject:
    """A workload on a weakened kernel."""
    register(f"weakened-{cls.__name__}", cls, origin="tests")
    return make_subject(workload, with_=(f"weakened-{cls.__name__}",))


def first_found(subject: Subject, seeds: int = SEEDS) -> Outcome | None:
    """The first schedule that finds something."""

    async def run() -> Outcome | None:
        for seed in range(seeds):
            outcome = await run_schedule(subject, seed, "portfolio")
            if outcome.verdict is not Verdict.OK:
                return outcome
        return None

    return trio.run(run)


@pytest.mark.parametrize("name", CASES)
def test_a_weakened_kernel_is_found(name: str) -> None:
    """Without the protection the litmus test reports what comes of it."""
    cls, signature = CASES[name]
    outcome = first_found(subject_with(cls, name))
    assert outcome is not None
    assert outcome.defect is not None
    assert outcome.defect.signature == signature


def test_a_tree_of_another_node_is_checked() -> None:
    """With merge_across_nodes=1 the nodes of pages on node 1 are in tree 0, and that must be checked."""
    outcome = first_found(subject_with(weakened.ChecksTheNodesTree, "litmus.scan_meets_hotplugs"))
    assert outcome is not None
    assert outcome.defect is not None
    assert outcome.defect.signature == "offline/node_of_absent_frame@ksm_check_stable_tree"


def test_a_wait_with_the_mutex_is_a_wait_cycle() -> None:
    """Offlining needs the mutex that ksmd keeps while it waits for the end of offlining: found although daemons go
    on, in the first schedules in which they meet."""
    outcome = first_found(subject_with(weakened.WaitsWithTheMutex, "hot_remove"), 5)
    assert outcome is not None
    assert outcome.defect is not None
    assert outcome.defect.signature == "deadlock/deadlock@ksm_memory_callback+wait_while_offlining"
    assert "ksmd waits for the end of offlining which is up to hotplug" in outcome.defect.message


@pytest.mark.parametrize("name", CASES)
def test_the_unbroken_kernel_is_acquitted(name: str) -> None:
    """With the protection there is nothing to find."""
    assert first_found(make_subject(name), FEW) is None
