"""Shrinking: the same finding with the fewest departures from the default order, then drawn values of 0, the smallest
parameters and the fewest steps; and the story that is left.

Departures are left out in chunks, large ones first, as delta debugging does it (Zeller and Hildebrandt: Simplifying and
Isolating Failure-Inducing Input, 2002). A departure is told by what its actor has done so far and is about to do, so
the others keep their meaning when one goes. Whatever is tried is a schedule like any other: its finding has the same
signature, or it does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final

import trio

from ksmactors.campaign.outcome import Outcome, Verdict
from ksmactors.campaign.preparing import Preparing
from ksmactors.campaign.schedule import run_schedule
from ksmactors.campaign.subject import Subject, make_subject
from ksmactors.diagnose.replaying import Draws, Recorded, by_label, by_names
from ksmactors.diagnose.story import Chronicle
from ksmactors.errors import UsageError
from ksmactors.interleave.schedule import Departure, decode
from ksmactors.interleave.strategies.delay import Delay
from ksmactors.interleave.strategies.follow import SLACK, Follow
from ksmactors.parameters import Int
from ksmactors.watch import WATCHERS

BUDGET: Final = 300
"""Schedules that are tried by default."""

LONGER: Final = 10
"""How many times as long as the recording a try may be, and not be given up: in the default order some workloads wait
for ever."""

MANY: Final = 48
"""Departures of which it takes too many tries to leave most out."""

FEW: Final = 10
"""Departures of which pairs and triples are tried."""

TOGETHER: Final = 3
"""Departures that are left out at once."""

PROBES: Final = 8
"""Random schedules that are tried with a smaller parameter, if the departures lead nowhere with it."""

SMALL: Final = 16
"""Parameters up to this are brought down one by one, larger ones by halves."""

ONE_BY_ONE: Final = 16
"""Drawn values of one label that are tried singly."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What shrinking has come to.

    Attributes:
        subject: what is run, with the smallest parameters found.
        outcome: of the smallest schedule; its string replays it.
        departures: of that schedule, in order.
        story: how it goes, a line for each turn, and what is found.
        tried: how many schedules were run.
        of: how many departures there were at first.
        interrupted: whether Ctrl-C ended it; the smallest so far is what is here.
    """

    subject: Subject
    outcome: Outcome
    departures: tuple[Departure, ...]
    story: tuple[str, ...]
    tried: int
    of: int
    interrupted: bool = False


class _Enough(Exception):
    """The budget is used up."""


@dataclass(slots=True)
class _Shrinking:
    """The smallest schedule so far, and how to a smaller one.

    `subject` is what is tried: with the one witness that is needed (witnesses change no choice, but take time).
    """

    subject: Subject
    seed: int
    signature: str
    budget: int
    on_try: Callable[[int, int], None]
    outcome: Outcome
    departures: list[Departure]
    draws: Draws
    tried: int = 0
    interrupted: bool = False
    _failed: set[str] = field(default_factory=set)
    _preparing: Preparing = field(default_factory=lambda: Preparing(run_schedule))

    async def starts(self) -> bool:
        """Whether the departures find the same again, at first with the one witness alone."""
        quick = replace(self.subject, watchers=tuple({self.signature.partition("/")[0]} & WATCHERS.keys()))
        return await self.finds(self.departures, self.draws, quick) or await self.finds(self.departures, self.draws)

    async def all(self) -> None:
        """Make it smaller in every way, until the budget is used up or somebody interrupts."""
        try:
            await self._phases()
        except* _Enough:
            pass
        except* KeyboardInterrupt:
            self.interrupted = True

    async def _phases(self) -> None:
        await self.fresh_start()
        await self.fewer_departures()
        await self.fewer_together()
        await self.fewer_draws()
        await self.smaller_parameters()
        await self.fewer_departures()
        await self.fewer_steps()

    async def finds(
        self, departures: Sequence[Departure], draws: Draws, subject: Subject | None = None, *, steps: int | None = None
    ) -> bool:
        """Whether a schedule finds the same, with no more departures and, if given, in fewer `steps`; if it does, it
        is the smallest so far.

        Departures happen exactly where they did; when there are few, also nearby, where the same is about to be done:
        an actor that meets others somewhere else may come there sooner or later.
        """
        slacks = (0, SLACK) if 0 < len(departures) <= FEW and steps is None else (0,)
        for slack in slacks:
            if await self._finds(departures, draws, subject or self.subject, slack, steps):
                return True
        return False

    async def _finds(
        self, departures: Sequence[Departure], draws: Draws, subject: Subject, slack: int, steps: int | None
    ) -> bool:
        key = repr((departures, draws, subject.params, subject.watchers, slack))
        if key in self._failed:
            return False
        self._count()
        outcome = await run_schedule(
            subject, self.seed, Follow.name, deciding=Follow(departures, slack=slack), draws=_again_and_again(draws)
        )
        if (steps is None or outcome.steps < steps) and self._keeps(outcome, subject):
            return True
        self._failed.add(key)
        return False

    def _count(self) -> None:
        if self.tried >= self.budget:
            raise _Enough
        self.tried += 1

    def _keeps(self, outcome: Outcome, subject: Subject) -> bool:
        """Keep what was tried as the smallest so far, if it is."""
        if outcome.defect is None or outcome.defect.signature != self.signature:
            return False
        schedule = decode(outcome.schedule)
        if len(schedule.departures) > len(self.departures):
            return False
        self.outcome, self.subject, self.draws = outcome, subject, by_label(schedule)
        self.departures = schedule.departures  # those that happened: some may have been passed over
        self.on_try(self.tried, len(self.departures))
        return True

    async def fresh_start(self) -> None:
        """If there are many departures: perhaps another schedule finds the same, one that hardly has any.

        A third of the budget goes into that; signatures tell that it is the same.
        """
        for seed in range(self.budget // 3):
            if len(self.departures) <= MANY or await self.finds([], self.draws):
                return
            await self._probe(self.subject, seed)

    async def _probe(self, subject: Subject, seed: int, draws: Draws | None = None) -> bool:
        """Whether a random schedule with hardly any departure finds the same; it is the smallest so far, then."""
        self._count()
        strategy = f"{Delay.name}:delays={len(self.departures)}" if 0 < len(self.departures) <= FEW else Delay.name
        outcome = await run_schedule(subject, seed, strategy, preparing=self._preparing, draws=draws)
        return self._keeps(outcome, subject)

    async def fewer_departures(self) -> None:
        """Leave out as many as can be, until none can."""
        if await self.finds([], self.draws):
            return
        chunk = max(1, len(self.departures) // 2)
        while True:
            start = 0
            before = len(self.departures)
            while start < len(self.departures):
                rest = [*self.departures[:start], *self.departures[start + chunk :]]
                if not await self.finds(rest, self.draws):
                    start += chunk
            if chunk == 1 and len(self.departures) >= before:
                return
            chunk = min(max(1, chunk // 2), max(1, len(self.departures)))

    async def fewer_together(self) -> None:
        """Leave out pairs and triples, wherever they are: two departures may need each other, and nobody both."""
        size = 2
        while size <= TOGETHER and size < len(self.departures) <= FEW:
            for left_out in combinations(range(len(self.departures)), size):
                rest = [one for place, one in enumerate(self.departures) if place not in left_out]
                if await self.finds(rest, self.draws):
                    size = 1
                    break
            size += 1

    async def fewer_draws(self) -> None:
        """Draw 0 wherever that makes no difference: first everywhere, then label by label, then one by one."""
        if not any(any(values) for values in self.draws.values()):
            return
        if await self.finds(self.departures, {}):
            return
        for label in list(self.draws):
            await self.finds(self.departures, {**self.draws, label: []})
        for label, values in list(self.draws.items()):
            for place in [place for place, value in enumerate(values) if value][:ONE_BY_ONE]:
                kept = self.draws.get(label, [])
                if place < len(kept) and kept[place]:
                    zeroed = [*kept[:place], 0, *kept[place + 1 :]]
                    await self.finds(self.departures, {**self.draws, label: zeroed})

    async def smaller_parameters(self) -> None:
        """Bring whole numbers that the workload itself declares, no knobs, down as far as the finding stays."""
        while any([await self._smaller(one) for one in vars(type(self.subject.workload)).values()]):
            pass  # with one smaller, another may become so

    async def _smaller(self, parameter: object) -> bool:
        """Bring one parameter down; whether it went."""
        if not isinstance(parameter, Int):
            return False
        before = value = getattr(self.subject.workload, parameter.name)
        while True:
            smaller = (parameter.low, (parameter.low + value) // 2, *([value - 1] if value <= SMALL else []))
            for one in dict.fromkeys(low for low in smaller if low < value):
                if await self._with_parameter(parameter.name, one):
                    break
            value, tried = getattr(self.subject.workload, parameter.name), value
            if value == tried:
                return bool(value < before)

    async def _with_parameter(self, name: str, value: int) -> bool:
        params = {**dict(self.subject.params), name: str(value)}
        try:
            workload = make_subject(self.subject.name, params=params).workload
        except UsageError:  # not together with the other parameters
            return False
        subject = replace(self.subject, workload=workload, params=tuple(sorted(params.items())))
        if await self.finds(self.departures, self.draws, subject):
            return True
        for seed in range(
            PROBES if self.departures and self.tried < self.budget // 2 else 0
        ):  # the actors may have other names there
            if await self._probe(subject, seed, _again_and_again(self.draws)):
                return True
        return False

    async def fewer_steps(self) -> None:
        """Let each departure happen earlier or later, wherever that leads there in fewer steps."""
        for place in range(len(self.departures) if len(self.departures) <= FEW else 0):
            moved = True
            while moved:
                moved = False
                for at in _elsewhere(self.departures[place : place + 1]):
                    there = [*self.departures]
                    there[place] = there[place]._replace(at=at)
                    if await self.finds(there, self.draws, steps=self.outcome.steps):
                        moved = True
                        break


def _again_and_again(draws: Draws) -> Draws:
    """For a schedule that draws more than there is: the same over again. Who only draws 0 may never sleep, say."""
    return {label: values * (LONGER + 1) for label, values in draws.items()}


def _elsewhere(departure: Sequence[Departure]) -> Iterator[int]:
    """Other places for a departure, if it still is one: far ones first. Who was stuck was stuck there alone."""
    for one in departure:
        distance = 0 if one.stuck else one.at // 2
        while distance:
            yield one.at - distance
            yield one.at + distance
            distance //= 2


@trio.lowlevel.enable_ki_protection
async def shrink(
    recorded: Recorded, *, budget: int = BUDGET, on_try: Callable[[int, int], None] = lambda _tried, _left: None
) -> Shrunk:
    """Shrink a recorded finding. To be awaited in trio, outside of any other schedule. Ctrl-C ends it early.

    Args:
        recorded: what is to be shrunk.
        budget: the most schedules that are tried.
        on_try: told after each success how many were tried, and how many departures are left.

    Raises:
        UsageError: the recording finds nothing, or not again.
        KeyboardInterrupt: before anything was found again.
    """
    first = await run_schedule(recorded.subject, recorded.seed, recorded.strategy, replayed=recorded.schedule)
    why = ""
    if not recorded.fits(first):
        why = f" ({first.error})" if first.verdict is Verdict.DIVERGED else ""
        first = await by_names(recorded)
    if first.defect is None:
        raise UsageError(f"there is nothing to shrink: the replay ended with {first.verdict.value}{why}")
    schedule = decode(first.schedule)
    limit = min(recorded.subject.max_steps, LONGER * first.steps + 1_000)
    work = _Shrinking(
        replace(recorded.subject, max_steps=limit), recorded.seed, first.defect.signature, budget, on_try, first,
        schedule.departures, by_label(schedule),
    )  # fmt: skip
    if not await work.starts():
        raise UsageError(f"{first.defect.signature} is not found again by its departures: it cannot be shrunk")
    await work.all()
    return await _told(work, recorded.subject, len(schedule.departures))


async def _told(work: _Shrinking, subject: Subject, of: int) -> Shrunk:
    """What was found, run once more with all witnesses, and watched."""
    whole = replace(work.subject, watchers=subject.watchers, max_steps=subject.max_steps)
    for one in (whole, work.subject):  # another witness may be earlier
        chronicle = Chronicle()
        outcome = await run_schedule(
            one, work.seed, Follow.name,
            deciding=chronicle.follower(work.departures), draws=work.draws, observing=chronicle,
        )  # fmt: skip
        if outcome.defect is not None and outcome.defect.signature == work.signature:
            break
    assert outcome.defect is not None
    story = chronicle.story(outcome.defect, getattr(outcome.error, "about", ()))
    return Shrunk(one, outcome, tuple(work.departures), story, work.tried, of, work.interrupted)


def as_json(shrunk: Shrunk) -> dict[str, Any]:
    """What `shrink --json` adds."""
    return {
        "departures": len(shrunk.departures),
        "departures_of": shrunk.of,
        "steps_of": shrunk.outcome.steps,
        "schedules_tried": shrunk.tried,
        "story": list(shrunk.story),
    }
