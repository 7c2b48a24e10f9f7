"""Targeted restarts: the same finding with few departures, by postponing actors at the steps that it depends on."""

from __future__ import annotations

from functools import partial

import trio

from ksmactors.campaign.corpus import signature_of, subject_of
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.restarts import READABLE_DEPARTURES
from ksmactors.diagnose.shrink import _seen_again
from ksmactors.diagnose.targeted import Pair, Postponement, Postponing, StepKind, StepListener, Steps, targeted
from ksmactors.diagnose.trying import Trials
from ksmactors.history.cases import CASES
from ksmactors.interleave.actor import ACQUIRE, READ, WRITE
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.helpers.apart import Apart, found


class Lost(Apart):
    """two actors, and more switches"""

    rounds = 40
    names = ("one", "two")


def restarted(outcome: Outcome, seed: int) -> tuple[int, Trials]:
    """The departures before, and what targeted restarts alone come to."""

    async def restart() -> tuple[int, Trials]:
        trials = await _seen_again(recorded(outcome.schedule, trust=True))
        before = len(trials.departures)
        await targeted(trials, 40, seed)
        return before, trials

    return trio.run(restart)


def test_what_decides_is_found_in_a_few_schedules() -> None:
    """Dozens of switches become the few that a postponed read or write takes."""
    outcome = found(Lost)
    before, trials = restarted(outcome, 0)
    assert before > READABLE_DEPARTURES
    assert len(trials.departures) <= READABLE_DEPARTURES
    assert signature_of(trials.outcome) == signature_of(outcome)
    assert trials.best is trials.confirmed


def test_a_seed_decides_what_is_tried() -> None:
    """The same seed tries the same schedules."""
    outcome = found(Lost)
    assert restarted(outcome, 3)[1].best.key == restarted(outcome, 3)[1].best.key


def test_an_actor_waits_for_a_step_on_the_same_object() -> None:
    """Who is about to write waits until the other has read: both then write the same."""
    pair = Pair(StepKind(READ, "shared", "works"), StepKind(WRITE, "shared", "works"), same=True)
    assert lost_with(Postponement(pair, 0, each=False))


def test_an_actor_that_waits_in_vain_goes_on() -> None:
    """A step that nobody does is given up, and the schedule ends as by default."""
    pair = Pair(StepKind(READ, "nothing", "works"), StepKind(READ, "shared", "works"), same=True)
    assert not lost_with(Postponement(pair, 0, each=True))


def lost_with(rule: Postponement) -> bool:
    """Whether something is lost when one rule is enforced."""
    deciding = Postponing((rule,))
    outcome = trio.run(
        partial(run_schedule, make_subject(Lost), 0, deciding.name, deciding=deciding, observing=StepListener(deciding))
    )
    assert outcome.verdict in (Verdict.OK, Verdict.FINDING)
    return outcome.verdict is Verdict.FINDING


def test_steps_under_one_lock_are_ordered_by_its_acquisition() -> None:
    """Who would do the later step inside a lock that the earlier one is done under waits before that lock."""
    steps = Steps()
    subject = subject_of(CASES["S5e"])
    outcome = trio.run(partial(run_schedule, subject, 0, "default", observing=steps))
    assert outcome.steps
    lifted = [
        (order, pair)
        for order in steps.orders
        for pair in steps._pair(order)
        if pair.after != steps.kinds[order.after][0]
    ]
    assert lifted
    for order, pair in lifted:
        common = steps.under[order.before].keys() & steps.under[order.after].keys()
        assert common
        assert pair.after.operation == ACQUIRE
        assert pair.after.obj in {label.partition("/")[0] for label in common}


def test_what_an_event_stands_for_happens_at_once() -> None:
    """The earlier event of each order came before the later one, also where an actor had waited in between."""
    for name in ("S5e", "R1", "F2"):
        steps = Steps()
        trio.run(partial(run_schedule, subject_of(CASES[name]), 0, "default", observing=steps))
        assert steps.orders
        assert all(steps.position[before] < steps.position[after] for before, after in steps.orders)
