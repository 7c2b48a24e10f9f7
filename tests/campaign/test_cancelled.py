"""Schedules whose caller is cancelled, as by `trio.move_on_after`: trio stays whole, and no end is made up."""

from __future__ import annotations

from functools import cache, partial

import pytest
import trio
import trio.testing

from ksmactors.campaign.explore import Budget, exploring, make_search
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


class Expires(Observer):
    """Lets the deadline pass while a schedule does its Nth operation."""

    def __init__(self, clock: trio.testing.MockClock, after: int) -> None:
        self.clock, self.left = clock, after

    def did(self, actor: Actor, op: Operation) -> None:
        self.left -= 1
        if self.left == 0:
            self.clock.jump(2)


@cache
def digest_of(workload: str) -> bytes:
    """The digest of a schedule that nobody cancels."""
    return trio.run(partial(run_schedule, make_subject(workload), 1, "random")).digest


@pytest.mark.parametrize("after", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("workload", ["fork_storm", "litmus.scan_meets_exit"])
def test_a_deadline_cancels_a_schedule(workload: str, after: int) -> None:
    """A deadline that passes in the middle of a schedule ends it there, and the next schedule is as ever."""
    clock = trio.testing.MockClock()
    subject = make_subject(workload)

    async def main() -> Outcome:
        with trio.move_on_after(1) as scope:
            await run_schedule(subject, 1, "random", observing=Expires(clock, after))
        assert scope.cancelled_caught
        await trio.lowlevel.checkpoint()
        return await run_schedule(subject, 1, "random")

    assert trio.run(main, clock=clock).digest == digest_of(workload)


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_deadline_cancels_a_campaign(after: int) -> None:
    """A campaign or an exploration around it is cancelled as a whole, and counts only schedules that came to an end."""
    clock = trio.testing.MockClock()
    subject = make_subject("classic.reorder_3")
    campaign = Campaign(Plan([subject], range(20), "random"))
    exploration = exploring(subject, make_search(None, None), Budget(20), None)

    async def main() -> None:
        for one in (campaign, exploration):
            one.on_schedule = lambda tally: clock.jump(2) if tally.schedules == after else None
            with trio.move_on_after(1) as scope:
                await one.run()
            assert scope.cancelled_caught
            assert one.tally.schedules == after
            assert one.tally.verdict != Verdict.BROKEN.value

    trio.run(main, clock=clock)
