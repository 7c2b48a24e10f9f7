"""What made the difference in a shrunk finding: the orders without which it does not happen.

For each departure the same schedule is run without it. Orders between conflicting events that hold in the finding, and
not without one of its departures, are candidates. An event that had not happened yet when the finding was made counts
as later than those that had. Candidates are enforced alone in random schedules of the same program, and those that
change nothing there are dropped. The share of these schedules that finds the same says how much of the cause the orders
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from typing_extensions import override

from ksmactors.diagnose.orders import Conflicts, Enforcing, Events, Occurrence, Order
from ksmactors.interleave.actor import ACQUIRE, RELEASE
from ksmactors.interleave.labels import VERBS
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.schedule_string import Departure, Schedule, departures
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.interleave.tape import ActorTape, DrawsOfActors, draws_of_actors
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject
from ksmactors.watch import WATCHERS

SCHEDULES: Final = 50
"""Random schedules in which orders are enforced."""

CANDIDATES_MAX: Final = 400
"""Orders that are considered, at most: those nearest to the end of the schedule."""

SETS_MAX: Final = 60
"""Sets of orders that are tried, at most, until what is left is taken as it is."""

STEPS_FACTOR: Final = 8
STEPS_EXTRA: Final = 2_000
"""Steps of a random schedule, at most: so many times those of the finding, and these."""

CAUSE_STEPS_MAX: Final = 500
"""Steps of a shrunk schedule up to which it is said unasked what made the difference, since that takes thousands of
schedules. `shrink --cause` says it of any."""

LOOKED_AT: Final = 5
"""Random schedules without any order, of which those that pass are looked at for what comes too early there."""

TAKES: Final = VERBS[ACQUIRE]
RELEASES: Final = VERBS[RELEASE]

ORDINALS: Final = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A necessary order for a reader: what comes `before` what."""

    before: str
    after: str

    @override
    def __str__(self) -> str:
        return f"{self.before} before {self.after}"


@dataclass(frozen=True, slots=True)
class Cause:
    """What made the difference.

    Attributes:
        orders: those that are necessary, in the order of the schedule.
        failed: random schedules with the same finding, when these orders alone were enforced.
        schedules: how many random schedules there were.
        by_chance: how many of as many find the same without any order.
        departures: how many the finding has.
        passing: how many of them the finding does not survive without.
    """

    orders: tuple[Sentence, ...]
    failed: int
    schedules: int
    by_chance: int
    departures: int
    passing: int

    @property
    def whole(self) -> bool:
        """Whether the orders are the whole cause: all random schedules that keep them find the same."""
        return self.failed == self.schedules

    @property
    def share(self) -> str:
        """The share of schedules that fail, in words."""
        said = f"enforced alone in {self.schedules} random schedules: {self.failed} fail"
        said += f" (without them: {self.by_chance})"
        return said if self.whole else f"{said}; something is missing"

    def lines(self) -> tuple[str, ...]:
        """As a person reads it."""
        if not self.orders and self.whole:
            return (f"what made the difference: no order; all {self.schedules} random schedules fail",)
        if not self.orders:
            return (f"what made the difference: no order was found; {self.share}",)
        return ("what made the difference:", *(f"  {one}" for one in self.orders), f"  {self.share}")

    def as_json(self) -> dict[str, Any]:
        """For scripts, and for finding files."""
        return {**asdict(self), "whole": self.whole, "lines": list(self.lines())}


async def what_made_the_difference(subject: Subject, seed: int, schedule: Schedule) -> Cause | None:
    """Derive the orders that a finding needs. To be awaited in trio, outside of any other schedule.

    Args:
        subject: what is run.
        seed: of the recording; the strategy of the random schedules has seeds 0 and up.
        schedule: that leads to the finding; a shrunk one, since each departure costs a schedule.

    Returns:
        None if the schedule finds nothing, or its departures by themselves do not lead to the same.
    """
    tape = ReplayTape(schedule)
    outcome = await run_schedule(subject, seed, Replay.name, deciding=Replay(schedule), tape=tape)
    if outcome.verdict is not Verdict.FINDING or outcome.defect is None:
        return None
    inquiry = _Inquiry(subject, seed, outcome.defect.signature, departures(tape), draws_of_actors(tape))
    return await inquiry.cause()


class _Inquiry:
    """One finding, and the schedules that are run to ask about it."""

    def __init__(
        self, subject: Subject, seed: int, signature: str, departures: Sequence[Departure], draws: DrawsOfActors
    ) -> None:
        watcher = {signature.partition("/")[0]} & WATCHERS.keys()
        self._subject = replace(subject, watchers=tuple(watcher)) if watcher else subject
        self._seed, self._signature = seed, signature
        self._departures, self._draws = tuple(departures), draws
        self._sets = 0

    async def cause(self) -> Cause | None:
        failing = Conflicts()
        outcome = await self._follow(self._departures, failing)
        if not self._same(outcome):
            return None
        most = min(self._subject.max_steps, STEPS_FACTOR * outcome.steps + STEPS_EXTRA)
        self._subject = replace(self._subject, max_steps=most)
        candidates: dict[Order, None] = {}
        still_ahead: dict[Order, None] = {}
        functions = dict(failing.functions)
        passing = 0
        for place in range(len(self._departures)):
            without = Conflicts()
            other = await self._follow((*self._departures[:place], *self._departures[place + 1 :]), without)
            passing += not self._same(other)
            ahead = dict.fromkeys(_still_ahead(failing, without))
            candidates |= {order: None for order in failing.orders if not _holds(order, without.position)} | ahead
            functions = without.functions | functions
        for seed in range(LOOKED_AT):
            elsewhere = Conflicts()
            if not self._same(await self._run(Enforcing((), elsewhere), seed, elsewhere)):
                still_ahead |= dict.fromkeys(_still_ahead(failing, elsewhere))
                functions = elsewhere.functions | functions
        by_chance = await self._failing(())
        ordered, failed = _sorted(candidates, failing), by_chance
        if ordered:
            failed = await self._failing(ordered)
        if failed < SCHEDULES:  # the default order has kept what is missing, and random schedules do not
            everything = _sorted(failing.orders | candidates | still_ahead, failing)
            more = await self._failing(everything)
            ordered, failed = (everything, more) if more > failed else (ordered, failed)
        left = await self._fewest(ordered, failed) if failed > by_chance else []
        orders = tuple(Sentence(*(_described(event, functions[event]) for event in order)) for order in left)
        failed = failed if left else by_chance
        return Cause(orders, failed, SCHEDULES, by_chance, len(self._departures), passing)

    async def _fewest(self, orders: Sequence[Order], failed: int) -> list[Order]:
        """Drop orders, large parts first, as long as no fewer schedules fail."""
        left, size = list(orders), max(1, len(orders) // 2)
        while True:
            place = len(left) - size if len(left) > size else 0
            while place >= 0 and self._sets < SETS_MAX:
                rest = left[:place] + left[place + size :]
                if rest and await self._failing(rest, enough=failed) >= failed:
                    left = rest
                place = place - size if place == 0 or place >= size else 0
            if size == 1 or self._sets >= SETS_MAX:
                return left
            size //= 2

    async def _failing(self, orders: Sequence[Order], *, enough: int = 0) -> int:
        """In how many random schedules with these orders the finding appears; ends early when `enough` is out of
        reach."""
        self._sets += 1
        failed = 0
        for seed in range(SCHEDULES):
            events = Events()
            deciding = Enforcing(orders, events)
            outcome = await self._run(deciding, seed, events)
            failed += self._same(outcome)
            if failed + SCHEDULES - 1 - seed < enough:
                break
        return failed

    async def _follow(self, departures: Sequence[Departure], observing: Observer) -> Outcome:
        return await self._run(ReplayByName(departures, slack=0), self._seed, observing)

    async def _run(self, deciding: Strategy, seed: int, observing: Observer) -> Outcome:
        return await run_schedule(
            self._subject, seed, deciding.name, deciding=deciding, tape=ActorTape(self._draws), observing=observing,
            known=(self._signature,),
        )  # fmt: skip

    def _same(self, outcome: Outcome) -> bool:
        return outcome.defect is not None and outcome.defect.signature == self._signature


def _sorted(orders: Iterable[Order], failing: Conflicts) -> list[Order]:
    """Orders by when their later events happened; the last ones, if there are too many."""
    when, end = failing.position, len(failing.position)
    return sorted(orders, key=lambda order: (when.get(order.after, end), when[order.before], order))[-CANDIDATES_MAX:]


def _still_ahead(failing: Conflicts, passing: Conflicts) -> Iterator[Order]:
    """Events that had not happened when the finding was made, and that come too early in a schedule that passes: each
    must come after the event which it precedes there. Of a lock it is the taking that must come later."""
    for order in passing.orders:
        event = order.before
        if event.doing.startswith(RELEASES):
            event = event._replace(doing=event.doing.replace(RELEASES, TAKES, 1))
        if order.after in failing.position and event in passing.position and event not in failing.position:
            yield Order(order.after, event)


def _holds(order: Order, position: dict[Occurrence, int]) -> bool:
    """Whether a schedule has both events in this order."""
    before, after = position.get(order.before), position.get(order.after)
    return before is not None and after is not None and before < after


def _described(event: Occurrence, function: str) -> str:
    """An event in words: actor, operation, kernel function, and which time it is."""
    ending = ORDINALS.get(event.nth % 10 if event.nth % 100 not in (11, 12, 13) else 0, "th")
    which = f" for the {event.nth}{ending} time" if event.nth > 1 else ""
    return f"{event.actor} {event.doing}{f' in {function}' if function else ''}{which}"
