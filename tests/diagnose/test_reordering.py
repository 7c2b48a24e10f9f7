"""Reordering: the same finding with those switches only that the order of dependent operations needs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import trio

from ksmactors.campaign.corpus import signature_of
from ksmactors.diagnose.reordering import OperationClocks, fewer_switches
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.shrink import _seen_again
from ksmactors.diagnose.trying import Trials
from ksmactors.interleave.schedule_string import Departure
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.helpers.apart import Apart, found


def reordered(outcome: Outcome) -> tuple[int, Trials]:
    """The departures before, and what reordering alone comes to."""

    async def reorder() -> tuple[int, Trials]:
        trials = await _seen_again(recorded(outcome.schedule, trust=True))
        before = len(trials.departures)
        await fewer_switches(trials)
        await trials.confirm()
        return before, trials

    return trio.run(reorder)


def test_needless_switches_go() -> None:
    """Of dozens of switches those are left that the three reads and writes need, in a handful of schedules."""
    outcome = found(Apart)
    before, trials = reordered(outcome)
    assert before > 20
    assert len(trials.departures) <= 5
    assert trials.tried < 15
    assert signature_of(trials.outcome) == signature_of(outcome)
    assert trials.best is trials.confirmed


def test_an_order_counts_what_happened_before() -> None:
    """What an actor reads happens after the write of another, and not after what that one does later."""
    order = OperationClocks()
    subject = make_subject(Apart)
    trio.run(partial(run_schedule, subject, 0, "default", deciding=ReplayByName((), slack=0), observing=order))
    one, two = order.names.index("one"), order.names.index("two")
    wants = [clock[one] for clock in order.clocks["two"]]
    own = [clock[two] for clock in order.clocks["two"]]
    assert own == list(range(1, len(own) + 1))
    assert wants[0] < wants[Apart.rounds + 1] < len(order.clocks["one"])
    assert sorted(wants) == wants


def test_nothing_is_kept_that_loses_the_finding() -> None:
    """A smallest so far whose departures lead nowhere stays as it was."""
    outcome = found(Apart)

    async def reorder() -> Trials:
        trials = await _seen_again(recorded(outcome.schedule, trust=True))
        nowhere = Departure("one", "writes one", "two", 10_000, 0)
        trials.best = trials.confirmed = replace(trials.best, departures=(nowhere,))
        await fewer_switches(trials)
        return trials

    trials = trio.run(reorder)
    assert len(trials.departures) == 1
    assert trials.best is trials.confirmed
