"""Systematic exploration of one workload: a search decides who moves, schedule after schedule, until it has seen all.

What it comes to is said as a verdict: `exhausted`, `bounded`, or `inconclusive` if a budget or Ctrl-C ended it before.
How much is left is said as a lower bound, the branches that are known and have not been taken. Branches are discovered
on the way, so no share of the tree that is known at some time says anything about the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import TIMEOUT_MAX, Event, Thread
from time import perf_counter
from typing import Any, Final

import trio
from typing_extensions import override

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.verdicts import Bounded, Exhausted, Inconclusive
from ksmactors.errors import CutShort, UsageError
from ksmactors.escaping import quoted
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.search import bounded, dpor
from ksmactors.interleave.search.base import Search
from ksmactors.interleave.search.registry import SEARCHES
from ksmactors.interleave.task_pool import TaskPool, open_task_pool
from ksmactors.machine import Machine
from ksmactors.quantity import quantity
from ksmactors.run.circles import cut_circles
from ksmactors.run.options import SubjectOptions
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject

SEED: Final = 0
"""What the explored schedules are recorded with: nothing is drawn but what has too many values to enumerate."""

MAX_SCHEDULES: Final = 20_000
"""Schedules after which an exploration is given up by default: some ten seconds of a model, some ten minutes of
the emulated machine."""

MAX_STEPS: Final = 100_000
"""Steps after which an explored schedule is given up by default: what takes longer has no end."""


RETRY_SECONDS: Final = 0.05

KEEPING_SECONDS: Final = 30.0
"""How much of an exploration is lost, at most, if it is killed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When an exploration is given up.

    After so many schedules, those cut short or run again included. After so many seconds of wall time, in the middle of
    a schedule if need be; what was done before an interruption does not count. `stop_at_first`: and when something is
    found.
    """

    schedules: int = MAX_SCHEDULES
    seconds: float | None = None
    stop_at_first: bool = False


def explored(options: SubjectOptions) -> SubjectOptions:
    """Return the options with the step limit of explorations where none is given."""
    return replace(options, max_steps=options.max_steps or MAX_STEPS)


def make_search(algorithm: str | None, preemptions: int | None) -> Search:
    """Return the search of that name; with a bound on preemptions, `bounded` by default.

    Raises:
        UsageError: there is no such search, or it has no bound.
    """
    name = algorithm or (dpor.Dpor.name if preemptions is None else bounded.BoundedSearch.name)
    if name not in SEARCHES:
        raise UsageError(f"no algorithm {quoted(name)}; there are: {', '.join(SEARCHES)}")
    if preemptions is None:
        return SEARCHES[name]()
    if name != bounded.BoundedSearch.name:
        raise UsageError(
            f"--preemptions {preemptions}: the algorithm {name} has no bound, since its proof would not hold; "
            "leave one of the two out"
        )
    return bounded.BoundedSearch(preemptions=preemptions)


@dataclass(slots=True)
class Exploration(Campaign):
    """An exploration under way.

    `again` counts the schedules that were cut short or run again: nothing new came of them, and they are not in the
    tally. `over`: the search has come to its end. `digests` are those of the schedules in the tally, in order.
    `keeping` is called now and then, between two schedules, and at the end.
    """

    search: Search = field(default_factory=dpor.Dpor)
    budget: Budget = Budget()
    again: int = 0
    over: bool = False
    digests: bytearray = field(default_factory=bytearray)
    clock: Callable[[], float] = perf_counter
    keeping: Callable[[Exploration], None] = lambda _: None
    _out_of_time: bool = False
    _machine: Machine | None = None
    """That of the schedule under way."""

    @trio.lowlevel.enable_ki_protection
    @override
    async def run(self) -> None:
        """Run schedules until the search or the budget ends; Ctrl-C ends the one under way.

        Raises:
            NotDeterministic: the workload did something else although all choices were the same.
        """
        before = self.runs
        started = kept_at = now = self.clock()
        with self._deadline(), suppress(KeyboardInterrupt):  # after the last schedule nothing is left to interrupt
            async with open_task_pool() as task_pool:
                while not self.over and not self._spent(now - started, before):
                    if not await self._step(task_pool):
                        break
                    if self.tally.crash is not None:
                        break
                    now = self.clock()
                    if now - kept_at >= KEEPING_SECONDS:
                        self.keeping(self)
                        kept_at = now
        self.tally.searched = self._judgement()
        self.keeping(self)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Cut the schedule under way off when the time is over, from a thread: an actor that is alone does not ask the
        strategy."""
        seconds, done = self.budget.seconds, Event()
        if seconds is None:
            yield
            return

        def watch(left: float) -> None:
            while not done.wait(left):
                self._out_of_time = True
                stage = getattr(self.search, "stage", None)
                if stage is not None:
                    stage.expire()
                left = RETRY_SECONDS  # the schedule may have overlooked it

        Thread(target=watch, args=(min(seconds, TIMEOUT_MAX),), daemon=True).start()
        try:
            yield
        finally:
            done.set()

    @property
    def runs(self) -> int:
        """Schedules run, whatever came of them; those before an interruption, too."""
        return self.tally.schedules + self.again

    def _spent(self, seconds: float, before: int) -> bool:
        budget = self.budget
        return (
            self._out_of_time
            or self.runs - before >= budget.schedules
            or (budget.seconds is not None and seconds >= budget.seconds)
            or (budget.stop_at_first and bool(self.tally.found))
        )

    async def _step(self, task_pool: TaskPool) -> bool:
        """One schedule; False if it was interrupted, or the time was over before its end."""
        search, outcome, done = self.search, None, True
        try:
            outcome = await self._run_search(task_pool)
        except* KeyboardInterrupt:
            done = False
            self.interrupted_at = SEED
        if self._out_of_time and outcome is not None and outcome.verdict is Verdict.INCONCLUSIVE:
            done = False
        if not done:
            search.abandon()
            return False
        if outcome is not None and search.fresh:
            self.digests += outcome.digest
            await self.keep_outcome(outcome)
        else:
            self.again += 1
        self.over = not search.advance()
        if isinstance(search.stage, Conductor):
            cut_circles(search.stage, self._machine)
        self._machine = None
        return True

    async def _run_search(self, task_pool: TaskPool) -> Outcome | None:
        """The schedule that the search has set up; None if it was cut short."""
        search, plan = self.search, self.plan
        try:
            return await run_schedule(
                plan.subjects[0], SEED, plan.strategy, deciding=search, task_pool=task_pool, log=plan.log,
                observing=search.observer, on_machine=self._boot,
                index=self.tally.schedules, known=self.tally.found,
            )  # fmt: skip
        except CutShort:
            return None

    def _boot(self, machine: Machine) -> None:
        self._machine = machine

    def _judgement(self) -> Exhausted | Bounded | Inconclusive:
        """What the search has come to, findings aside."""
        search = self.search
        limits = tuple(search.limits)
        reached = search.reached
        if self.over:
            return Bounded(reached, limits) if limits or reached is not None else Exhausted()
        if reached is not None and reached >= 0:
            return Bounded(reached, limits)
        return Inconclusive(self._why(), search.branches_left)

    def _why(self) -> str:
        if self.interrupted_at is not None:
            return "interrupted"
        if self.budget.stop_at_first and self.tally.found:
            return "stopped at the first finding"
        return f"the budget ended after {quantity(self.runs, 'schedule')}"

    def progress(self) -> str:
        """How far it is, in a few words."""
        bound = getattr(self.search, "bound", None)
        within = "" if bound is None else f" with {quantity(bound, 'preemption')}"
        run = quantity(self.tally.schedules, "schedule")
        return f"{run}{within}, at least {self.search.branches_left:,} more to run"

    def as_json(self) -> dict[str, Any]:
        """What the JSON object of an exploration has beside that of any campaign."""
        return {
            "algorithm": self.search.name,
            "exhausted": isinstance(self.tally.searched, Exhausted),
            "again": self.again,
            "branches_left": 0 if self.over else self.search.branches_left,
        }


def exploring(subject: Subject, search: Search, budget: Budget, out: Path | None) -> Exploration:
    """An exploration that has not begun."""
    return Exploration(Plan([subject], range(SEED, SEED + 1), search.name, out), search=search, budget=budget)
