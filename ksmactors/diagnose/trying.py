"""The frame of shrinking: what can be tried, the smallest so far, and when to stop.

`Trials.consider` is the one place where something is kept, as in Hypothesis's shrinker: passes say what to try next,
and know nothing of budgets, signatures or watchers. A try runs with only the watcher that reported the finding, since
watchers change no choice but take time. `Trials.confirm` runs the smallest again with all watchers, by the departures
that it made: at the end of each pass, whenever half of the departures are gone, and at last. A candidate that fails
there is dropped for the one confirmed before. Only confirmed candidates are reported and returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import monotonic
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import CutShort
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.schedule_string import Departure, departures
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.delegating import Delegating
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.interleave.tape import ActorTape, DrawsOfActors, Tape, draws_of_actors
from ksmactors.quantity import quantity
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject
from ksmactors.watch import WATCHERS

STEP_BUDGET_FACTOR: Final = 4
"""How many times as long as the recording a try may be: in the default order some workloads wait for ever."""

STEP_BUDGET_EXTRA: Final = 1_000
"""Steps beyond that, for short recordings."""

LAST_REPLAYS: Final = 3
"""Schedules that the result needs after the last try: its confirmation, its verification, its story."""

DISPUTED_MAX: Final = 2
"""Candidates in a row that fail their confirmation, after which all watchers look at every try."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried: a workload with its parameters, departures from the default order, and what is drawn.

    `slack` is that of `strategies.follow`.
    """

    subject: Subject
    departures: tuple[Departure, ...]
    draws: DrawsOfActors
    slack: int = 0

    @property
    def key(self) -> str:
        """Equal for candidates that make the same schedule."""
        return repr(
            (self.subject.params, self.subject.watchers, self.slack, self.departures, sorted(self.draws.items()))
        )


class Stop(Exception):
    """A budget is used up; the message says which."""


class Deadline(Delegating):
    """Does what another strategy does, until it is too late.

    Raises CutShort at the first choice after `deadline` (of `time.monotonic`, in seconds).
    """

    name: ClassVar[str] = "deadline"

    def __init__(self, inner: Strategy, deadline: float) -> None:
        super().__init__()
        self.inner, self._deadline = inner, deadline
        self.fair, self.thorough = inner.fair, inner.thorough

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.inner.begin(rng)

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if monotonic() > self._deadline:
            raise CutShort("too late")
        return self.inner.choose(ready, current)

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return self.inner.horizon(ready, current)


@dataclass(slots=True)
class Trials:
    """The smallest candidate so far, and the tries that led to it.

    Attributes:
        seed: of the recording, for the headers of schedules.
        signature: of the finding; nothing else is kept.
        best: the smallest candidate so far; its departures are those that happened.
        outcome: of the smallest candidate confirmed, with all watchers; its schedule string replays it.
        strategy: what the recording was found with, for samples; empty if that cannot be sampled.
        max_schedules, max_seconds: budgets; None is without end.
        enough: stop once no more departures than this are left and confirmed; None: go on.
        tried: schedules run so far.
        on_try: called after each confirmation with the schedules tried and the departures left.
        confirmed: the smallest candidate that all watchers agree on.
        steps: that `best` takes.
    """

    seed: int
    signature: str
    best: Candidate
    outcome: Outcome
    strategy: str = ""
    max_schedules: int | None = None
    max_seconds: float | None = None
    enough: int | None = None
    on_try: Callable[[int, int], None] = lambda _tried, _left: None
    tried: int = 0
    confirmed: Candidate = field(init=False)
    steps: int = field(init=False)
    started: float = field(init=False)
    _limit: int = field(init=False)
    _failed: set[str] = field(default_factory=set)
    _disputed: int = 0
    _confirming: float = 0.0
    """Seconds that the last confirmation took."""
    _asked: Candidate = field(init=False)
    """What was tried when `best` happened."""
    _quicks: dict[object, Subject] = field(default_factory=dict)
    _preparing: Calibration = field(default_factory=lambda: Calibration(run_schedule))

    def __post_init__(self) -> None:
        self.started = monotonic()
        self.confirmed = self._asked = self.best
        self.steps = self.outcome.steps
        self._limit = STEP_BUDGET_FACTOR * self.outcome.steps + STEP_BUDGET_EXTRA

    # -- what passes call ---------------------------------------------------------------------------------

    @property
    def departures(self) -> tuple[Departure, ...]:
        """Of the smallest so far."""
        return self.best.departures

    async def consider(self, candidate: Candidate, *, steps: int | None = None) -> bool:
        """Try a candidate. It is the smallest so far if it leads to the signature, with no more departures than are
        left now and, if given, in fewer `steps`; then return True.

        Raises:
            Stop: a budget is used up, or enough are gone.
        """
        key = candidate.key
        if key in self._failed:
            return False
        outcome, tape = await self._follow(candidate, self._quick(candidate.subject))
        if await self._accepts(candidate, outcome, tape, steps):
            return True
        self._failed.add(key)
        return False

    async def confirm(self) -> bool:
        """Follow the smallest so far with all watchers. If it does not lead to the signature, go back to the smallest
        confirmed before, and return False.

        Raises:
            Stop: a budget is used up, or enough are gone.
        """
        if self.best is self.confirmed:
            return True
        for one in (self.best, self._asked):  # what happened leads there again, unless names are ambiguous
            outcome, tape = await self._follow(one, one.subject, confirming=True)
            if self._signature(outcome) == self.signature and len(tape.departures) <= len(self.confirmed.departures):
                self.best = self.confirmed = self._asked = one
                self.outcome, self.steps, self._disputed = outcome, outcome.steps, 0
                self.on_try(self.tried, len(self.departures))
                if self.enough is not None and len(self.departures) <= self.enough:
                    raise Stop(f"{quantity(self.enough, 'departure')}")
                return True
        self.go_back()
        self._disputed += 1
        return False

    def go_back(self) -> None:
        """The smallest so far is the one that was confirmed last."""
        self.best = self._asked = self.confirmed
        self.steps = self.outcome.steps

    async def leave_out(self, rest: Sequence[Departure]) -> bool:
        """Whether the finding stays with these departures alone."""
        return await self.consider(replace(self.best, departures=tuple(rest), slack=0))

    async def sample(
        self, subject: Subject, strategy: str, seed: int, *, draws: DrawsOfActors | None = None, fewer: bool = True
    ) -> bool:
        """Run the schedule of a seed under a strategy, with what is drawn at random or given as `draws`. Keep it if it
        shows the signature with fewer departures, or unless `fewer` with as many."""
        quick = self._quick(subject)
        tape = Tape(seed) if draws is None else ActorTape(draws)
        outcome = await self._run(quick, seed, strategy, tape, None)
        if fewer and len(tape.departures) >= len(self.departures):
            return False
        found = Candidate(subject, tuple(departures(tape)), draws_of_actors(tape))
        return await self._accepts(found, outcome, tape, None)

    async def watch(self, observing: Observer) -> bool:
        """Follow the smallest so far again, with an observer; return whether it leads to the signature."""
        outcome, _ = await self._follow(self.best, self._quick(self.best.subject), observing=observing)
        return self._signature(outcome) == self.signature

    async def decide(self, deciding: Strategy, observing: Observer, subject: Subject | None = None) -> int | None:
        """Run the smallest workload so far, or another one, as a strategy decides, with the same draws, an observer,
        and hardly more steps. Return how many departures it took; None if it does not show the signature. Keep it if
        these are fewer."""
        tape = ActorTape(self.best.draws)
        subject = subject or self.best.subject
        quick = self._quick(subject)
        quick = replace(quick, max_steps=min(quick.max_steps, self.steps * 5 // 4 + STEP_BUDGET_EXTRA))
        outcome = await self._run(quick, self.seed, deciding.name, tape, deciding, observing=observing)
        if self._signature(outcome) != self.signature:
            return None
        taken = len(tape.departures)
        if taken < len(self.departures):
            happened = Candidate(subject, tuple(departures(tape)), draws_of_actors(tape))
            await self._accepts(happened, outcome, tape, None)
        return taken

    # -- inside -------------------------------------------------------------------------------------------

    def _quick(self, subject: Subject) -> Subject:
        """What a first try runs: with the one watcher, and few steps. The same object for the same parameters, since a
        profile belongs to an object."""
        alone = tuple({self.signature.partition("/")[0]} & WATCHERS.keys())
        watchers = alone if self._disputed < DISPUTED_MAX else subject.watchers
        key = subject.params, watchers
        if key not in self._quicks:
            self._quicks[key] = replace(subject, watchers=watchers, max_steps=min(subject.max_steps, self._limit))
        return self._quicks[key]

    async def _accepts(self, candidate: Candidate, outcome: Outcome, tape: Tape, steps: int | None) -> bool:
        """Take what was tried as the smallest so far, if it is."""
        if self._signature(outcome) != self.signature or len(tape.departures) > len(self.departures):
            return False
        if steps is not None and outcome.steps >= steps:
            return False
        self.best = Candidate(candidate.subject, tuple(departures(tape)), draws_of_actors(tape))
        self._asked, self.steps = candidate, outcome.steps
        left = len(self.departures)
        enough = self.enough is not None and left <= self.enough
        if 2 * left <= len(self.confirmed.departures) or self._disputed or enough:
            return await self.confirm()
        return True

    async def _follow(
        self, candidate: Candidate, subject: Subject, *, confirming: bool = False, observing: Observer | None = None
    ) -> tuple[Outcome, Tape]:
        tape = ActorTape(candidate.draws)
        following = ReplayByName(candidate.departures, slack=candidate.slack)
        return await self._run(
            subject, self.seed, ReplayByName.name, tape, following, confirming=confirming, observing=observing
        ), tape

    async def _run(
        self,
        subject: Subject,
        seed: int,
        strategy: str,
        tape: Tape,
        deciding: Strategy | None,
        *,
        confirming: bool = False,
        observing: Observer | None = None,
    ) -> Outcome:
        """Run a schedule within the budgets. The outcome has no schedule string and no events unless `confirming`."""
        reserved = not confirming and self.best is not self.confirmed  # for its confirmation
        if self.max_schedules is not None and self.tried + reserved >= self.max_schedules:
            raise Stop(f"--max-schedules {self.max_schedules}")
        self.tried += 1
        if deciding is None:
            deciding = await self._preparing.strategy(subject, seed, strategy)
        if self.max_seconds is not None and not confirming:  # what is confirmed takes as long as what was tried
            deciding = Deadline(deciding, self.started + self.max_seconds - LAST_REPLAYS * self._confirming)
        began = monotonic()
        try:
            return await run_schedule(
                subject,
                seed,
                strategy,
                deciding=deciding,
                tape=tape,
                observing=observing,
                known=() if confirming else (self.signature,),
            )
        except CutShort:
            raise Stop(f"--max-seconds {self.max_seconds:g}") from None
        finally:
            if confirming:
                self._confirming = monotonic() - began

    @staticmethod
    def _signature(outcome: Outcome) -> str:
        return outcome.defect.signature if outcome.defect is not None else ""
