"""What made the difference: the necessary orders, and the share of random schedules in which they alone lead there."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from ksmactors.campaign.corpus import show, subject_of
from ksmactors.diagnose.cause import SCHEDULES, Cause, Sentence, what_made_the_difference
from ksmactors.diagnose.orders import Enforcing, Events, Occurrence, Order
from ksmactors.history.cases import CASES
from ksmactors.interleave.schedule_string import decode
from ksmactors.run.outcome import Verdict
from ksmactors.run.run_schedule import run_schedule


def cause_of(name: str) -> Cause | None:
    """What made the difference in the directed schedule of a case."""
    case = CASES[name]
    schedule = decode(trio.run(show, case).outcome.schedule)
    return trio.run(what_made_the_difference, subject_of(case), 0, schedule)


COUNT = "ksmactors.diagnose.cause.SCHEDULES"
"""How many schedules a share is of. Tests need fewer; examples of the documents have the default."""


def test_orders_that_are_the_whole_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """One order leads to the finding in every random schedule, and without it none does. The inquiry has no draws but
    those of its seeds: the second time it is the same."""
    monkeypatch.setattr(COUNT, 5)
    cause = cause_of("S3b")
    assert cause is not None
    assert cause.whole
    assert (cause.failed, cause.by_chance, len(cause.orders)) == (5, 0, 1)
    assert cause.passing == cause.departures
    assert "enforced alone in 5 random schedules: 5 fail (without them: 0)" in cause.lines()[-1]
    assert cause_of("S3b") == cause


def test_a_schedule_that_finds_nothing_has_no_cause() -> None:
    """There is nothing to explain on the kernel without the defect."""
    case = CASES["S3b"]
    outcome = trio.run(partial(show, case, fixed=True)).outcome
    assert outcome.verdict is Verdict.OK
    assert trio.run(what_made_the_difference, subject_of(case, fixed=True), 0, decode(outcome.schedule)) is None


def test_an_order_that_cannot_be_kept_is_given_up() -> None:
    """An event that waits for one that never comes happens all the same, and the schedule ends."""
    subject = subject_of(CASES["S3b"], fixed=True)
    first = Events()
    trio.run(partial(run_schedule, subject, 0, "enforcing", deciding=Enforcing((), first), observing=first))
    never = Occurrence("nobody", "reads nothing", 1)
    orders = [Order(never, Occurrence(actor, doing, 1)) for actor, doing in first.counts]
    second = Events()
    deciding = Enforcing(orders, second)
    outcome = trio.run(partial(run_schedule, subject, 0, "enforcing", deciding=deciding, observing=second))
    assert outcome.verdict is Verdict.OK
    assert not any(second.happened(order.before) for order in orders)


def test_a_share_below_one_says_so() -> None:
    """Less than all is not the whole cause, and the reader is told."""
    order = Sentence("a reads x", "b writes x")
    assert "something is missing" in Cause((order,), SCHEDULES - 1, SCHEDULES, 0, 1, 1).lines()[-1]
    assert "something is missing" not in Cause((order,), SCHEDULES, SCHEDULES, 0, 1, 1).lines()[-1]


@pytest.mark.nightly
def test_what_had_not_happened_yet_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5e: ksmd must look at the node before its page moves on, which in the finding happens after that look, and it
    must take its reference when those of the page are not frozen any more. `test_what_shrink_writes` finds the same two
    orders."""
    monkeypatch.setattr(COUNT, 15)
    cause = cause_of("S5e")
    assert cause is not None
    assert cause.whole
    frozen, moved = cause.orders
    assert frozen.before == "migrationd/1 reads refcount/2 in migrate_page_move_mapping for the 2nd time"
    assert frozen.after == "ksmd writes refcount/2 in get_ksm_page"
    assert moved.before == "ksmd reads mapping/2 in get_ksm_page for the 4th time"
    assert moved.after == "migrationd/1 writes kpfn/1 in ksm_migrate_page"


def test_an_event_still_ahead_when_the_finding_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5b: the finding is made before the migration stores kpfn, which must not come earlier."""
    monkeypatch.setattr(COUNT, 5)
    cause = cause_of("S5b")
    assert cause is not None
    assert cause.whole
    assert "before migrationd/1 writes kpfn/1 in ksm_migrate_page" in str(cause.orders[-1])
