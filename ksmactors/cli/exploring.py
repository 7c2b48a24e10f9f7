"""`ksmactors replay --until` and `--explore`: a replay up to a point, and what can still come of it from there."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from ksmactors.campaign.findings import replay_command
from ksmactors.campaign.summary import Found, Summary
from ksmactors.campaign.verdicts import Inconclusive
from ksmactors.cli.places import actor_lines, lock_lines, object_lines, say, where
from ksmactors.cli.report import json_object, report_crash
from ksmactors.cli.screen import echo_json, notice
from ksmactors.diagnose.continuations import (
    START,
    ContinuationPoint,
    Continuations,
    departures_of,
    explore,
    go_to,
    point_at,
    turning_point,
)
from ksmactors.diagnose.lookup import find, is_known, missing
from ksmactors.diagnose.moments import AtMoment, AtTouch, Goal
from ksmactors.diagnose.replaying import Recorded
from ksmactors.diagnose.standing import as_data, moment_lines
from ksmactors.diagnose.stepping import Answer, Quit, Walker
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERRUPTED, UsageError
from ksmactors.interleave.strategies.registry import parse
from ksmactors.run.async_run import run_async
from ksmactors.run.extensions import need_strategy
from ksmactors.run.outcome import Outcome, Verdict


def checked(strategy: str) -> None:
    """Check the strategy of continuations.

    Raises:
        UsageError: there is no such strategy.
    """
    need_strategy(strategy)
    parse(strategy)


def lines_of(one: Continuations) -> list[str]:
    """Return what came of the continuations from a point, for a person."""
    lines = [f"from {one.point}: {one.share}"]
    if one.count < one.asked:
        lines.append(f"  {one.asked - one.count} more were to be drawn")
    for signature, count in one.sorted_found():
        other = "another finding" if one.signature else "a finding"
        which = "the same finding" if signature == one.signature else other
        lines.append(f"  {count} {which}: {signature}")
    lines += [f"  {one.passed} find nothing"] if one.passed else []
    lines += [f"  {one.inconclusive} ran out of steps"] if one.inconclusive else []
    if one.first is not None:
        lines.append(f"  {_first_of(one)}")
    return lines


def _first_of(one: Continuations) -> str:
    """The first continuation that fails, and how to replay it."""
    assert one.first is not None
    return f"the first that fails, seed {one.first.seed}: {replay_command(one.first.schedule)}"


@dataclass(slots=True)
class ContinuationRun:
    """A replay up to a point, and continuations from there; or from each departure on, without a point.

    Attributes:
        then: what was recorded.
        goal: the point.
        count: continuations from each point; None: none.
        strategy: who chooses from there on.
        walker: the replay, where it has stopped; what it has to show is kept as text and data.
    """

    then: Recorded
    goal: Goal | None
    count: int | None
    strategy: str
    tally: Summary = field(default_factory=Summary)
    explored: list[Continuations] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    data: dict[str, Any] | None = None
    end: Outcome | None = None
    """What came of the whole replay, where the point never comes."""
    hint: str = ""
    differs: str = ""
    """What the whole replay came to, if that is not what is on record."""
    interrupted: bool = False

    def run(self, *, as_json: bool, quiet: bool) -> int:
        """Do it, print it, and return the exit status."""
        started = perf_counter()
        if self.count is not None:
            checked(self.strategy)
        try:
            run_async(self._run)
        except* KeyboardInterrupt:
            self.interrupted = True
        if as_json:
            echo_json(self._json(perf_counter() - started))
        else:
            self._print(quiet=quiet)
        return self._status()

    async def _run(self) -> None:
        if self.goal is None:
            await self._explore_all()
            return
        walker = await go_to(self.then, self.goal, self._stop)
        if walker.outcome is None:
            if self.count is not None:
                await self._explore(ContinuationPoint(walker.moments, self._called(walker)))
            return
        self.end = walker.outcome
        self._compare(walker.outcome)
        if walker.reached:
            self._stop(walker)
            if self.count is not None:
                raise UsageError(f"--explore: {self.goal} comes at the very end of the replay: no choice is left")
        elif isinstance(self.goal, AtTouch) and not is_known(walker, self.goal.name):
            self.hint = f"{missing(walker, self.goal.name)} in this replay"

    async def _explore_all(self) -> None:
        """Draw continuations from the start and after each departure, and look for where all begin to fail."""
        departures, walker = await departures_of(self.then)
        assert walker.outcome is not None
        if walker.outcome.verdict is Verdict.DIVERGED:
            self.end = walker.outcome
            return
        self._compare(walker.outcome)
        points = [START, *departures]
        for point in points:
            if (await self._explore(point)).crash is not None:
                return
        passing = [point for point, one in zip(points, self.explored, strict=True) if not one.all_fail]
        if walker.outcome.verdict is not Verdict.FINDING or not passing:
            return
        fails = next((point.moment for point in points if point.moment > passing[-1].moment), walker.moments)
        first = await turning_point(self.then, passing[-1].moment, fails, self.strategy, self.count or 0)
        for moment in (first - 1, first):
            if moment < walker.moments and all(moment != point.moment for point in points):
                there = await go_to(self.then, AtMoment(moment), lambda _: Quit())
                await self._explore(point_at(there))

    def _compare(self, outcome: Outcome) -> None:
        """Keep what must be said of a replay that came to its end; a diverging one is said anyway."""
        if outcome.verdict is not Verdict.DIVERGED and not self.then.confirms(outcome):
            self.differs = self.then.compare(outcome)

    async def _explore(self, point: ContinuationPoint) -> Continuations:
        into = Continuations(point.moment, point.name, self.then.signature, self.strategy, self.count or 0)
        self.explored = sorted([*self.explored, into], key=lambda one: one.moment)
        await explore(self.then, into, self._count)
        return into

    def _called(self, walker: Walker) -> str:
        return f"{where(walker)} ({self.goal})" if str(self.goal) != where(walker) else where(walker)

    def _stop(self, walker: Walker) -> Answer:
        """The point is reached: keep what there is to show."""
        moment, goal = walker.last, self.goal
        lines = list(moment_lines(walker, moment)) if moment is not None else []
        self.data = {"reached": True, **as_data(walker), "object": None}
        if isinstance(goal, AtTouch) and (found := find(walker, goal.name)) is not None:
            lines += ["", *object_lines(walker, goal.name)]
            self.data["object"] = {"name": found[0], "fields": dict(found[1])}
        self.stopped = [*lines, "", *actor_lines(walker), "", *lock_lines(walker)]
        return Quit()

    def _count(self, outcome: Outcome) -> None:
        tally = self.tally
        tally.add(outcome)
        if outcome.defect is not None and tally.known(outcome) is None:
            tally.keep(Found(outcome, replay=replay_command(outcome.schedule) if outcome.schedule else ""))

    # -- what came of it ----------------------------------------------------------------------------------------------

    def _missed(self) -> str:
        """Why the point never came, in a line; empty if it did."""
        if self.end is None or self.data is not None:
            return ""
        if self.end.verdict is Verdict.DIVERGED:
            return self.then.compare(self.end)
        found = f" with {self.end.defect.signature}" if self.end.defect is not None else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.goal} does not come: the replay ends at step {self.end.steps}{found}{hint}"

    def _status(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        return self._status_of_all() or (FOUND if self.differs else 0)

    def _status_of_all(self) -> int:
        if self.end is not None:
            missed = self.data is None and self.end.verdict in (Verdict.OK, Verdict.FINDING)
            return INCONCLUSIVE if missed else self.end.verdict.exit_status
        return self.tally.exit_status if self.explored else 0

    def _print(self, *, quiet: bool) -> None:
        if not quiet:
            say(self.stopped)
        for line in filter(None, (self._missed(), self.differs)):
            notice(line)
        if self.interrupted:
            notice("interrupted; this is what was drawn so far" if self.explored else "interrupted")
        if self.explored and self.stopped and not quiet:
            say([""])
        if self.goal is not None:
            for one in self.explored:
                say(lines_of(one))
        else:
            self._print_table()
        if self.tally.crash is not None:
            report_crash(self.tally.crash)

    def _print_table(self) -> None:
        """From the start, and after each departure: the share that fails, and from where on all fail."""
        rows = [("fail", "95 % confidence", "from")] if self.explored else []
        rows += [(f"{one.failed} of {one.count}", one.interval, one.point) for one in self.explored]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
        settled = self.settled
        if settled is not None:
            say([f"all fail after {settled.point}"])
        for signature, found in self.tally.found.items():
            which = "the same finding" if signature == self.then.signature else "a finding"
            say([f"{found.count} of {self.tally.schedules} find {which}: {signature}"])
        first = next((one for one in self.explored if one.first is not None), None)
        if first is not None:
            say([_first_of(first)])

    @property
    def settled(self) -> Continuations | None:
        """The first point from which on all continuations fail, at each later point too."""
        settled = None
        for one in reversed(self.explored):
            if not one.all_fail:
                break
            settled = one
        return settled

    def _json(self, seconds: float) -> str:
        more: dict[str, Any] = {"seed": self.then.seed, "schedule": ""}
        if self.goal is not None:
            more["until"] = {"goal": str(self.goal), **(self.data or {"reached": False})}
        tally = self.tally
        if self.data is not None and self.end is None and not self.explored:
            tally.searched = Inconclusive(f"stopped at {self.goal}, as asked")
        if self.end is not None and not self.explored:
            tally.add(self.end)
            if self.end.defect is not None:
                tally.keep(Found(self.end, self.then.file_of(self.end)))
        if self.count is not None:
            more["explore"] = [one.as_json() for one in self.explored]
            if self.goal is None:
                more["all_fail_from"] = self.settled.point if self.settled is not None else None
        if missed := self._missed():
            more["missed"] = missed
        if self.differs:
            more["differs"] = self.differs
        strategy = self.strategy if self.explored else self.then.strategy
        return json_object([self.then.subject], strategy, tally, seconds, **more)
