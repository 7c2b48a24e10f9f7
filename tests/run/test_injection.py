"""Fault injection: off it is not there, on it is part of the schedule like every other choice."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from ksmactors.campaign.api import replay
from ksmactors.errors import UsageError
from ksmactors.events import catalogue as ev
from ksmactors.injection import KINDS, Rate, describe_injection, parse_injection
from ksmactors.machine import Machine
from ksmactors.mm.core import never
from ksmactors.plugins import names
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

PLAYGROUND = {
    "alloc_roots": "hot_remove:HotRemove", "alloc_swap_slot": "swap_pressure:SwapPressure",
    "swap_read": "swap_pressure:SwapPressure",
}  # fmt: skip
"""The workload in which a kind of fault can happen, if that is not any of them."""


def workload(kind: str) -> str:
    """A workload of ours that gives a kind its chance."""
    module, _, name = PLAYGROUND.get(kind, "mremap_dance:MremapDance").partition(":")
    return f"workloads.{module}:{name}"


def one(name: str, inject: str = "", seed: int = 3, kernel: str = "series") -> Outcome:
    """One schedule."""
    return trio.run(lambda: run_schedule(make_subject(name, inject=inject, kernel=kernel), seed, "random", keep=True))


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("", {}),
        ("kill", {"kill": KINDS["kill"].rate}),
        ("migrate=3/7,trylock=1/1", {"trylock": Rate(1, 1), "migrate": Rate(3, 7)}),
        ("all", {name: kind.rate for name, kind in KINDS.items()}),
        ("all,freeze=1/2", {name: kind.rate for name, kind in KINDS.items()} | {"freeze": Rate(1, 2)}),
    ],
)
def test_what_is_asked_for(text: str, rates: dict[str, Rate]) -> None:
    """Kinds at their own rate or at a given one, in one order, and the text of the rates means the rates."""
    assert parse_injection(text) == rates
    assert list(parse_injection(text)) == list(rates)
    assert parse_injection(describe_injection(rates)) == rates


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aloc_page", "no kind of fault 'aloc_page' .did you mean alloc_page.*; there are: alloc_page, .*, all"),
        ("kill=0.5", "write KIND, KIND=A/B"),
        ("kill=", "write KIND, KIND=A/B"),
        ("kill,", "write KIND, KIND=A/B"),
        ("all=1/2", "write KIND, KIND=A/B"),
        ("kill=0/2", "0 < A <= B"),
        ("kill=3/2", "0 < A <= B"),
        ("kill=1/0", "0 < A <= B"),
    ],
)
def test_what_cannot_be_asked_for(text: str, message: str) -> None:
    """An unknown kind or a rate that is none is told with what there is."""
    with pytest.raises(UsageError, match=message):
        make_subject("fork_storm", inject=text)


def test_off_it_is_not_there() -> None:
    """Without injection nothing is drawn for it, the schedule does not speak of it, the kernel asks a constant."""
    machines: list[Machine] = []
    outcome = trio.run(partial(run_schedule, make_subject("fork_storm"), 0, "random", on_machine=machines.append))
    assert machines[0].kernel.inject is never
    assert "inject" not in make_subject("fork_storm").header()
    assert outcome.counts[ev.FAULT_INJECT] == 0


def test_a_rate_that_never_strikes_changes_no_event() -> None:
    """Draws of their own do not change what happens, as long as they say no, and nothing else is drawn."""
    calm = make_subject("exit_race", params={"balance_us": 0}, inject="alloc_roots=1/1")
    plain = make_subject("exit_race", params={"balance_us": 0})
    digests = {trio.run(run_schedule, subject, 4, "random").digest for subject in (calm, plain)}
    assert len(digests) == 1  # merge_across_nodes stays 1: no roots are ever allocated


def test_equal_seeds_give_equal_faults() -> None:
    """The same seed gives the same events, faults included; and others than without faults."""
    first = one(workload("kill"), "all")
    assert first.digest == one(workload("kill"), "all").digest
    assert first.digest != one(workload("kill")).digest
    assert first.counts[ev.FAULT_INJECT] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "enough"), [(range(3), 1), pytest.param(range(12), 12, marks=pytest.mark.nightly)], ids=str
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "alloc_stable_node_chain"])
def test_each_kind_shows_up(kind: str, seeds: range, enough: int) -> None:
    """Alone and at a high rate it happens within a few schedules, and nothing is found. No more schedules are run when
    it has happened in enough of them."""
    shown = 0
    for seed in seeds:
        outcome = one(workload(kind), f"{kind}=1/4", seed)
        assert outcome.verdict is Verdict.OK, (seed, outcome.error)
        shown += outcome.counts[ev.FAULT_INJECT] > 0
        if shown == enough:
            break
    assert shown > 0


def test_a_replay_has_the_same_faults() -> None:
    """The schedule string names the rates, and its replay is the same event by event."""
    outcome = one(workload("freeze"), "all,kill=1/10", 5)
    again = replay(outcome.schedule)
    assert again.counts[ev.FAULT_INJECT] == outcome.counts[ev.FAULT_INJECT] > 0
    assert again.verdict is Verdict.OK
    assert again.digest == outcome.digest


@pytest.mark.parametrize("name", ["mremap_dance:MremapDance", "oom_kill:OomKill", "pinned_pages:PinnedPages"])
def test_nothing_is_found(name: str) -> None:
    """With everything going wrong that can, the default kernel keeps its promises."""
    for seed in range(2):
        outcome = one(f"workloads.{name}", "all", seed)
        assert outcome.verdict is Verdict.OK, (seed, outcome.error)


@pytest.mark.parametrize(
    ("name", "inject", "seed"),
    [
        ("advice_meets_scan", "all", 3),  # ksmd has no memory to undo half a merge
        ("advice_meets_scan", "alloc_page=1/2,trylock=1/4", 33),  # nor has the process that takes its advice back
        ("insertion_meets_reuse", "all", 123),
        ("spoilt_page_meets_fault", "all", 19),
    ],
)
def test_nothing_is_found_in_a_litmus_test(name: str, inject: str, seed: int) -> None:
    """Where a fault breaks what the test is about, the default kernel keeps its promises, too."""
    outcome = trio.run(run_schedule, make_subject(f"litmus.{name}", inject=inject), seed, "portfolio")
    assert outcome.counts[ev.FAULT_INJECT]
    assert outcome.verdict is not Verdict.FINDING, outcome.error


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in names("workloads") if name.startswith("litmus.")])
def test_nothing_is_found_in_any_litmus_test(name: str) -> None:
    """The same, for all of them and many seeds."""
    subjects = [make_subject(name, inject=inject) for inject in ("all", "alloc_page=1/2,trylock=1/4")]
    for seed in range(100):
        for subject in subjects:
            outcome = trio.run(run_schedule, subject, seed, "portfolio")
            assert outcome.verdict in (Verdict.OK, Verdict.INCONCLUSIVE), (seed, subject.inject, outcome.error)


@pytest.mark.parametrize(
    ("name", "inject", "at_least", "at_most"),
    [
        ("litmus.search_meets_migration", "all", 1, 6),
        ("litmus.unmerge_meets_fork", "alloc_mm=1/1,alloc_page=1/2", 6, 6),
        ("litmus.merge_meets_fork", "trylock=1/1,alloc_stable_node=1/1", 6, 6),
        ("litmus.insertion_meets_reuse", "alloc_page=1/1", 6, 6),
        ("litmus.scan_meets_failed_unmerge", "trylock=1/1,alloc_stable_node=1/1", 0, 0),  # it merges before it starts
    ],
)
def test_faults_of_a_litmus_test_are_in_its_meetings(name: str, inject: str, at_least: int, at_most: int) -> None:
    """Who sets the scene up has no faults, and who looks at what has become of it neither; a part that one of them ends
    is no crash."""
    outcomes = [one(name, inject, seed) for seed in range(6)]
    assert [outcome.defect for outcome in outcomes if outcome.defect is not None] == []
    assert at_least <= sum(outcome.counts[ev.FAULT_INJECT] > 0 for outcome in outcomes) <= at_most
    assert all(outcome.counts[ev.STABLE_TREE_APPEND] for outcome in outcomes if not at_most)
