"""A finding explains itself: who met whom, doing what, holding what, over which objects, and what it looks like."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from ksmactors.diagnose import explain as explain_module
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES, looks_like
from ksmactors.history.culprits import CULPRITS
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from ksmactors.watch import progress
from tests.helpers import broken
from tests.helpers.explained import explained, explained_by_name


def test_the_two_steps_that_met() -> None:
    """A node freed although its page lives: ksmd read kpfn, then the migration wrote it, each with its locks."""
    defect = explained_by_name("S5a")

    assert defect is not None
    first, then = defect.met
    assert (first.actor, first.function) == ("ksmd", "get_ksm_page")
    assert (then.actor, then.function) == ("migrationd/1", "ksm_migrate_page")
    assert first.operation.startswith("reads kpfn")
    assert then.operation.startswith("writes kpfn")
    assert "ksm_thread_mutex" in first.held
    assert sum(lock.startswith("page lock of pfn") for lock in then.held) == 2


def test_the_lock_of_the_page_that_is_accessed_is_held_too() -> None:
    """A page is its own lock: it is left out only where the operation takes that lock or gives it back."""
    defect = explained_by_name("S5e")

    assert defect is not None
    stored, looked = defect.met
    assert stored.operation == "writes mapping/2"
    assert stored.held == ("page lock of pfn 2", "page lock of pfn 1000000")
    assert looked.held == ("ksm_thread_mutex", "page lock of pfn 2")

    defect = explained_by_name("H4")
    assert defect is not None
    assert defect.broke is not None
    steps = (*defect.met, defect.broke.by, defect.broke.looked)
    [held] = [step.held for step in steps if step is not None and step.operation == "takes page_lock/2"]
    assert held == ("ksm_thread_mutex", "mmap_sem of A")


@pytest.mark.parametrize(
    ("case", "first", "then"),
    [
        ("S5b", ("migrationd/1", "ksm_migrate_page"), ("ksmd", "get_ksm_page")),
        ("S6", ("migrationd/1", "migrate_page_copy"), ("ksmd", "try_to_merge_one_page")),
        ("N3", ("ksmd", "find_mergeable_vma"), ("thread/A", "split_vma")),
        ("N8", ("exit/A", "exit_mmap"), ("unmerged/sysfs", "unmerge_and_remove_all_rmap_items")),
    ],
)
def test_who_met_whom(case: str, first: tuple[str, str], then: tuple[str, str]) -> None:
    """Those of the story, in the order in which they did it: by what the watcher knows, or by what it is about."""
    defect = explained_by_name(case)

    assert defect is not None
    assert [(step.actor, step.function) for step in defect.met] == [first, then]
    assert defect.met[0].step <= defect.met[1].step
    assert all("+" not in name for name in defect.functions)


def test_who_has_come_to_his_end_was_somewhere() -> None:
    """The migration is over when the freed node shows: its function is where the two met, not where it shows."""
    defect = explained_by_name("S5")

    assert defect is not None
    assert defect.actors == ("ksmd", "migrationd/1")
    assert defect.functions == ("free_stable_node", "ksm_migrate_page")


def test_nobody_met_anybody() -> None:
    """One actor alone made the mistake: there is no pair, rather than any pair."""
    defect = explained_by_name("S2a")

    assert defect is not None
    assert defect.met == ()


def test_what_is_found_when_the_steps_have_run_out_is_not_watched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A livelock is about no step in particular, and its schedule is long."""
    monkeypatch.setattr(progress, "STEPS_MIN", 1_000)
    spinning = (f"{broken.__name__}:SpinsForEver",)
    subject = make_subject("litmus.scan_meets_migration", with_=spinning, max_steps=3_000)
    outcome = trio.run(run_schedule, subject, 1, "random")
    assert outcome.defect is not None
    assert outcome.defect.kind == "livelock"

    monkeypatch.delattr(explain_module, "run_schedule")
    assert trio.run(explain_module.explain, outcome, subject) == outcome


def test_what_cannot_be_here_is_not_what_it_looks_like() -> None:
    """With S4 undone, a KSM page left by run=2 is no R1 or H4, which are repaired in this kernel."""
    case = CASES["S4c"]
    undone = replace(case, without=("remove-old-stable-nodes",), with_=())
    defect = explained(undone)

    assert defect is not None
    assert defect.looks_like
    assert all(name.startswith("S4") for name in defect.looks_like)


def test_what_it_is_about() -> None:
    """The object concerned is described as it is when the finding shows."""
    defect = explained_by_name("S5a")

    assert defect is not None
    node, page = defect.concerns
    assert node.startswith("stable node 1 ")
    assert node.endswith(", freed")
    assert page.startswith("pfn 1000000 on node 1, ")


def test_what_it_looks_like() -> None:
    """A finding names the cases of the corpus that have its signature."""
    defect = explained_by_name("S5a")

    assert defect is not None
    assert "S5a" in defect.looks_like


def test_nothing_to_explain() -> None:
    """What found nothing stays as it was."""
    defect = explained(next(case for case in CASES.values() if not case.watcher))

    assert defect is None


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.watcher], ids=lambda case: case.name)
def test_every_case_is_explained(case: Case) -> None:
    """Each finding of the corpus names the case that it is before all others, by the fingerprint in the table of
    culprits, and what it explains goes into the JSON object."""
    defect = explained_by_name(case.name)

    assert defect is not None
    assert CULPRITS[case.name] == (defect.fingerprint if defect.broke is not None else "")
    assert defect.looks_like[0] == case.name
    assert defect.symptom_of == ()
    assert defect.explanation()["looks_like"] == defect.looks_like


def test_a_known_race_is_recognised_by_its_functions() -> None:
    """A search that compares a page before its content is there is H1 on the kernels that have it, not on series."""
    race = "happens_before/data_race@migrate_page_copy+stable_tree_walk"
    assert [case.name for case in looks_like(race, "", "v6.12")] == ["H1"]
    assert looks_like(race, "", "series") == []
    assert looks_like("happens_before/data_race@migrate_page_copy+do_wp_page", "", "v6.12") == []


def test_what_never_comes_is_recognised_by_its_signature() -> None:
    """Who touched one of the equal pages last is chance. A signature that several cases have, or a mutant, says
    nothing, nor does one of a promise that a step has broken."""
    apart, last = "convergence/skipped_in_turns@should_skip_rmap_item", "ksm_do_scan refcount, ksm_do_scan"
    assert [case.name for case in looks_like(apart, last, "v6.12", broken=False)] == ["X2"]
    assert looks_like(apart, last, "v6.12") == []
    assert looks_like("convergence/pages_unmerged@cmp_and_merge_page", last, "v6.12", broken=False) == []
    assert looks_like("convergence/never_looked_at@should_skip_rmap_item", last, "v6.12", broken=False) == []
    only = next(case for case in CASES.values() if case.name == "H5")
    assert looks_like(only.signature, "elsewhere", "v6.12", broken=False) == []
