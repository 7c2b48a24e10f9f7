"""What can still come of a recorded schedule after some point: continuations, drawn from seeds.

Each continuation follows the recording up to the point, and then another strategy; what is drawn from there on is drawn
at random, too. The share of continuations that fail says how far the finding is settled there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, Final, NamedTuple

from ksmactors.diagnose.moments import AtDeparture, AtEnd, AtMoment, Goal
from ksmactors.diagnose.replaying import Recorded
from ksmactors.diagnose.standing import moment_text
from ksmactors.diagnose.stepping import Answer, Quit, Walker
from ksmactors.errors import UsageError
from ksmactors.interleave.strategies.continuing import ContinuedTape, Continuing
from ksmactors.interleave.strategies.replay import Replay, steps_max
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule

Z: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution, for an interval that holds the true share in 95 % of all cases."""

DEPARTURES_MAX: Final = 30
"""Departures after each of which continuations are drawn."""


def interval(failed: int, of: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson's score interval), rounded to four places."""
    if not of:
        return 0.0, 1.0
    share, spread = failed / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z * sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)
    low = 0.0 if not failed else max(0.0, middle - half)
    high = 1.0 if failed == of else min(1.0, middle + half)
    return round(low, 4), round(high, 4)


@dataclass(slots=True)
class Continuations:
    """What came of the continuations from one point.

    Attributes:
        moment: how many moments of the recording are followed.
        point: what the point is called.
        signature: of the finding on record; empty if there is none.
        strategy: who chose from there on.
        asked: how many were to be drawn.
        count: how many were; fewer if it was interrupted, or one crashed.
        found: how many found what, by signature, the most frequent first once all are there.
        passed: how many ran to their end and found nothing.
        inconclusive: how many ran out of steps.
        first: the first that failed.
        crash: the first in which code raised: there is no verdict about it, and no more were drawn.
    """

    moment: int
    point: str
    signature: str
    strategy: str
    asked: int
    count: int = 0
    found: dict[str, int] = field(default_factory=dict)
    passed: int = 0
    inconclusive: int = 0
    first: Outcome | None = None
    crash: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        """Count a continuation."""
        self.count += 1
        if outcome.verdict is Verdict.FINDING and outcome.defect is not None:
            signature = outcome.defect.signature
            self.found[signature] = self.found.get(signature, 0) + 1
            self.first = self.first or outcome
        elif outcome.verdict is Verdict.OK:
            self.passed += 1
        elif outcome.verdict is Verdict.INCONCLUSIVE:
            self.inconclusive += 1
        else:
            self.crash = outcome

    @property
    def failed(self) -> int:
        """How many found anything."""
        return sum(self.found.values())

    @property
    def same(self) -> int:
        """How many found what is on record."""
        return self.found.get(self.signature, 0)

    def sorted_found(self) -> list[tuple[str, int]]:
        """What was found how often: what is on record first, then the most frequent."""
        return sorted(self.found.items(), key=lambda one: (one[0] != self.signature, -one[1], one[0]))

    @property
    def all_fail(self) -> bool:
        """Whether none passed, of those that were drawn."""
        return 0 < self.count == self.failed

    @property
    def interval(self) -> str:
        """The confidence interval of the share that fails, in words."""
        low, high = interval(self.failed, self.count)
        return f"{low:.0%} to {high:.0%}"

    @property
    def share(self) -> str:
        """How many fail, in words."""
        if not self.count:
            return "none was drawn"
        percent = f"{self.failed / self.count:.0%}"
        return f"{self.failed} of {self.count} fail ({percent}; 95 % confidence interval {self.interval})"

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        low, high = interval(self.failed, self.count)
        return {
            "moment": self.moment,
            "point": self.point,
            "strategy": self.strategy,
            "seeds": self.asked,
            "schedules": self.count,
            "failed": self.failed,
            "same_finding": self.same,
            "others": self.failed - self.same,
            "passed": self.passed,
            "inconclusive": self.inconclusive,
            "confidence_interval": [low, high],
            "by_signature": dict(self.sorted_found()),
            "first": self.first.finding() if self.first is not None else None,
            "crash": self.crash.finding() if self.crash is not None else None,
        }


async def go_to(then: Recorded, goal: Goal, on_stop: Callable[[Walker], Answer]) -> Walker:
    """Replay up to a goal, and no further. To be awaited in trio, outside of any schedule.

    `on_stop` is called there. Returns the replay; its `outcome` is set if it came to its end instead.
    """
    walker = Walker(then, goal, on_stop)
    await walker.replay()
    return walker


class ContinuationPoint(NamedTuple):
    """A point in a recorded schedule: how many moments of it are followed, and what it is called."""

    moment: int
    name: str


START: Final = ContinuationPoint(0, "the start")


async def departures_of(then: Recorded) -> tuple[list[ContinuationPoint], Walker]:
    """Return the departures in a recorded schedule, and the replay, which has ended. To be awaited in trio, outside of
    any schedule.

    Raises:
        UsageError: there are too many to look at each.
    """
    found: list[ContinuationPoint] = []

    def note(walker: Walker) -> Answer:
        if len(found) > DEPARTURES_MAX:
            return Quit()
        found.append(point_at(walker))
        return AtDeparture()

    walker = await go_to(then, AtDeparture(), note)
    if len(found) > DEPARTURES_MAX:
        raise UsageError(
            f"--explore: there are more than {DEPARTURES_MAX} departures from the default order, after each of which "
            "continuations would be drawn; give --until a point, or `ksmactors shrink` the finding first"
        )
    return found, walker


def point_at(walker: Walker) -> ContinuationPoint:
    """Return the point at which a replay has stopped."""
    moment = walker.last
    return START if moment is None else ContinuationPoint(moment.number, f"step {moment.step}: {moment_text(moment)}")


async def turning_point(then: Recorded, low: int, high: int, strategy: str, count: int) -> int:
    """Return the first moment after which all continuations fail, by bisection: some pass from `low`, all fail from
    `high`. To be awaited in trio, outside of any schedule."""
    while high - low > 1:
        middle = (low + high) // 2
        into = Continuations(middle, "", then.signature, strategy, count)
        await explore(then, into, while_all_fail=True)
        low, high = (low, middle) if into.failed == count else (middle, high)
    return high


async def explore(
    then: Recorded,
    into: Continuations,
    on_each: Callable[[Outcome], None] = lambda _: None,
    *,
    while_all_fail: bool = False,
) -> None:
    """Draw continuations of a recorded schedule from a point on. To be awaited in trio, outside of any schedule.

    Args:
        then: what was recorded.
        into: says from where, how many, and by which strategy; gets what comes of them, one by one.
        on_each: called with each.
        while_all_fail: whether to end with the first that does not fail.

    Raises:
        UsageError: there is no such strategy.
        KeyboardInterrupt: what was drawn so far is counted.
    """
    most = min(then.subject.max_steps, steps_max(then.schedule))  # as many as a replay may take, trusted or not
    subject = replace(then.subject, max_steps=most)
    calibration = Calibration(run_schedule)
    for seed in range(into.asked):
        deciding = Continuing(then.schedule, await calibration.strategy(then.subject, seed, into.strategy))
        tape = ContinuedTape(then.schedule, seed)

        def leave(walker: Walker, deciding: Continuing = deciding, tape: ContinuedTape = tape) -> Answer:
            deciding.leave()
            tape.leave()
            return AtEnd() if walker.outcome is None else Quit()

        if not into.moment:
            deciding.leave()
            tape.leave()
        drawn = replace(then, subject=subject, seed=seed, strategy=Replay.name)
        walker = Walker(drawn, AtMoment(into.moment), leave, tape)
        await walker.replay(deciding, known=into.found)
        assert walker.outcome is not None
        into.add(walker.outcome)
        on_each(walker.outcome)
        if into.crash is not None or (while_all_fail and into.failed < into.count):
            return
