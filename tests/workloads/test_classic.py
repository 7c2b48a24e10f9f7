"""The classic models: each fails in one order that is told here and holds in another, whoever chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import pytest
import trio

from ksmactors.errors import UsageError
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.plugins import load_workload, names
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject

FAILING = {
    "lost": (["worker/1", "worker/2"], "model/lost_update@run"),
    "abba": (["ab", "ba"], "deadlock/deadlock@take"),
    "starve_20": (["writer"] * 21, "model/starved@reader"),
    "reorder_3": (["setter/1", *["checker"] * 3], "model/reordered@checker"),
    "reorder_10": (["setter/9", *["checker"] * 3], "model/reordered@checker"),
    "reorder_20": (["setter/10", *["checker/10"] * 3], "model/reordered@checker"),
    "twostage": (["writer"] * 3 + ["reader"] * 6, "model/half_done@reader"),
    "twostage_20": (["writer/10"] * 3 + ["reader/10"] * 6, "model/half_done@reader"),
    "twostage_50": (["writer/25"] * 3 + ["reader/1"] * 6, "model/half_done@reader"),
}
"""By model: who takes the first steps of a schedule that fails, and what is found then."""


class Told(Strategy):
    """Follows a list of names, a choice each; then whoever has the turn goes on, or else the lowest-numbered."""

    name: ClassVar[str] = "told"
    summary: ClassVar[str] = "a list"

    def __init__(self, order: Sequence[str] = ()) -> None:
        super().__init__()
        self.left = list(order)

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if self.left:
            name = self.left.pop(0)
            return next(actor for actor in ready if actor.name == name)
        return ready[0] if current is None else current


@cache
def subject(model: str, **params: int) -> Subject:
    """A model, ready to run."""
    return make_subject(f"classic.{model}", params=params)


def run(model: str, order: Sequence[str] = (), **params: int) -> Outcome:
    """One schedule in a told order."""
    told = Told(order)
    outcome = trio.run(lambda: run_schedule(subject(model, **params), 0, "told", deciding=told, keep=True))
    assert not told.left
    return outcome


def seeded(model: str, seed: int, strategy: str = "random") -> Outcome:
    """One schedule of a seed."""
    return trio.run(lambda: run_schedule(subject(model), seed, strategy, keep=True))


def test_all_are_registered() -> None:
    """Every model is a workload under its name."""
    assert [name for name in names("workloads") if name.startswith("classic.")] == sorted(
        f"classic.{model}" for model in FAILING
    )


@pytest.mark.parametrize("model", FAILING)
def test_an_order_that_fails(model: str) -> None:
    """The order that the model is about is found, by the model or, a deadlock, by the conductor."""
    order, signature = FAILING[model]
    outcome = run(model, order)

    assert outcome.verdict is Verdict.FINDING
    assert outcome.defect is not None
    assert outcome.defect.signature == signature


@pytest.mark.parametrize("model", FAILING)
def test_the_default_order_holds(model: str) -> None:
    """In the default order nothing is found."""
    assert run(model).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("model", "order", "steps", "choices"),
    [
        ("lost", [], 4, 2),  # worker/2 is asked for each of its two operations, then worker/1 is alone
        ("starve_20", ["writer"] * 4 + ["reader"], 22, 5),
        ("reorder_3", [], 6, 4),
        ("twostage", [], 9, 3),
    ],
)
def test_each_operation_is_one_point(model: str, order: list[str], steps: int, choices: int) -> None:
    """An operation is one step, and a choice if others could move; starting and ending an actor are neither."""
    outcome = run(model, order)

    assert (outcome.steps, outcome.choices) == (steps, choices)


def test_only_the_actors_of_the_model_are_ready_together() -> None:
    """The host, number 0, takes part in no choice, and all actors are there at the first."""
    masks = [mask for mask, _ in decode(run("reorder_10").schedule).turns]

    assert masks[0] == 0b11_1111_1110 | 1 << 10
    assert not any(mask & 1 for mask in masks)


def test_a_deadlock_names_locks_and_holders() -> None:
    """What is told of abba is who waits for which lock, and who has it."""
    outcome = run("abba", FAILING["abba"][0])

    assert outcome.defect is not None
    assert "ab waits for B held by ba" in outcome.defect.message
    assert sorted(outcome.defect.actors) == ["ab", "ba"]


@pytest.mark.parametrize("model", ["lost", "abba", "reorder_3", "twostage"])
def test_chance_finds_it(model: str) -> None:
    """The random walk comes to both ends within sixty schedules."""
    assert {seeded(model, seed).verdict for seed in range(60)} == {Verdict.OK, Verdict.FINDING}


def test_equal_seeds_give_equal_runs() -> None:
    """The same seed gives the same events and the same turns; another one gives others."""
    assert seeded("twostage", 5) == seeded("twostage", 5)
    assert seeded("reorder_10", 5).shape != seeded("reorder_10", 6).shape


def test_sizes_are_parameters() -> None:
    """How many actors there are, and how many steps, can be said; the knobs of KSM cannot."""
    assert run("lost", ["worker/3", "worker/1"], workers=3).verdict is Verdict.FINDING
    assert run("starve_20", ["writer"] * 3, steps=2).verdict is Verdict.FINDING
    assert "pages_to_scan" not in {parameter.name for parameter in load_workload("classic.lost").parameters()}
    with pytest.raises(UsageError, match=r"has no parameter 'pages_to_scan'; its parameters are: workers \(int, 2\)"):
        make_subject("classic.lost", params={"pages_to_scan": 4})
