"""Shrinking: the same finding with the fewest departures from the default order, then drawn values of 0, then the
smallest parameters; and the story that is left.

Departures are left out in chunks, large ones first, as delta debugging does it (Zeller and Hildebrandt: Simplifying and
Isolating Failure-Inducing Input, 2002). A departure is told by what its actor has done so far and is about to do, so
the others keep their meaning when one goes. Whatever is tried is a schedule like any other: its finding has the same
signature, or it does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final

from ksmactors.campaign.outcome import Outcome
from ksmactors.campaign.replaying import Recorded
from ksmactors.campaign.schedule import run_schedule
from ksmactors.campaign.story import Chronicle
from ksmactors.campaign.subject import Subject, make_subject
from ksmactors.errors import UsageError
from ksmactors.interleave.schedule import Departure, decode
from ksmactors.interleave.strategies.follow import SLACK, Follow
from ksmactors.parameters import Int

BUDGET: Final = 300
"""Schedules that are tried by default."""

Draws = dict[str, list[int]]


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
    """

    subject: Subject
    outcome: Outcome
    departures: tuple[Departure, ...]
    story: tuple[str, ...]
    tried: int
    of: int


class _Enough(Exception):
    """The budget is used up."""


@dataclass(slots=True)
class _Shrinking:
    subject: Subject
    seed: int
    signature: str
    budget: int
    on_try: Callable[[int, int], None]
    outcome: Outcome
    departures: list[Departure]
    draws: Draws
    tried: int = 0
    _failed: set[str] = field(default_factory=set)

    async def finds(self, departures: Sequence[Departure], draws: Draws, subject: Subject | None = None) -> bool:
        """Whether a schedule finds the same; if it does, it is the smallest so far.

        Departures happen exactly where they did; when there are few, also nearby, where the same is about to be done:
        an actor that meets others somewhere else may come there sooner or later.
        """
        return await self._finds(departures, draws, subject or self.subject, 0) or (
            0 < len(departures) <= FEW and await self._finds(departures, draws, subject or self.subject, SLACK)
        )

    async def _finds(self, departures: Sequence[Departure], draws: Draws, subject: Subject, slack: int) -> bool:
        key = repr((departures, draws, subject.params, slack))
        if key in self._failed:
            return False
        if self.tried >= self.budget:
            raise _Enough
        self.tried += 1
        outcome = await run_schedule(
            subject, self.seed, Follow.name, deciding=Follow(departures, slack=slack), draws=draws, keep=True
        )
        if outcome.defect is None or outcome.defect.signature != self.signature:
            self._failed.add(key)
            return False
        schedule = decode(outcome.schedule)
        self.outcome, self.subject, self.draws = outcome, subject, _by_label(schedule.draws)
        self.departures = schedule.departures  # those that happened: some may have been passed over
        self.on_try(self.tried, len(self.departures))
        return True

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
        for parameter in vars(type(self.subject.workload)).values():
            if not isinstance(parameter, Int):
                continue
            while True:
                value = getattr(self.subject.workload, parameter.name)
                smaller = [low for low in (parameter.low, (parameter.low + value) // 2, value - 1) if low < value]
                for one in dict.fromkeys(smaller):
                    if await self._with_parameter(parameter.name, one):
                        break
                else:
                    break

    async def _with_parameter(self, name: str, value: int) -> bool:
        params = {**dict(self.subject.params), name: str(value)}
        try:
            workload = make_subject(self.subject.name, params=params).workload
        except UsageError:  # not together with the other parameters
            return False
        subject = replace(self.subject, workload=workload, params=tuple(sorted(params.items())))
        return await self.finds(self.departures, self.draws, subject)


FEW: Final = 10
"""Departures of which pairs and triples are tried."""

TOGETHER: Final = 3
"""Departures that are left out at once."""

ONE_BY_ONE: Final = 16
"""Drawn values of one label that are tried singly."""


async def shrink(
    recorded: Recorded, *, budget: int = BUDGET, on_try: Callable[[int, int], None] = lambda _tried, _left: None
) -> Shrunk:
    """Shrink a recorded finding. To be awaited in trio, outside of any other schedule.

    Args:
        recorded: what is to be shrunk.
        budget: the most schedules that are tried.
        on_try: told after each success how many were tried, and how many departures are left.

    Raises:
        UsageError: the recording finds nothing, or not again.
    """
    first = await run_schedule(
        recorded.subject, recorded.seed, recorded.strategy, replayed=recorded.schedule, keep=True
    )
    if first.defect is None:
        raise UsageError(f"there is nothing to shrink: the replay ended with {first.verdict.value}")
    schedule = decode(first.schedule)
    work = _Shrinking(
        recorded.subject, recorded.seed, first.defect.signature, budget, on_try, first, schedule.departures,
        _by_label(schedule.draws),
    )  # fmt: skip
    try:
        if not await work.finds(work.departures, work.draws):
            raise UsageError(f"{first.defect.signature} is not found again by its departures: it cannot be shrunk")
        await work.fewer_departures()
        await work.fewer_together()
        await work.fewer_draws()
        await work.smaller_parameters()
        await work.fewer_departures()
    except _Enough:
        pass
    story = await _story(work)
    return Shrunk(work.subject, work.outcome, tuple(work.departures), story, work.tried, len(schedule.departures))


def _by_label(draws: Sequence[tuple[str, int, int]]) -> Draws:
    values: Draws = {}
    for label, _, value in draws:
        values.setdefault(label, []).append(value)
    return values


async def _story(work: _Shrinking) -> tuple[str, ...]:
    chronicle = Chronicle()
    following = Follow(work.departures, slack=0)
    await run_schedule(work.subject, work.seed, Follow.name, deciding=following, draws=work.draws, observing=chronicle)
    defect = work.outcome.defect
    assert defect is not None
    return chronicle.story(defect)


def as_json(shrunk: Shrunk) -> dict[str, Any]:
    """What `shrink --json` adds."""
    return {
        "departures": len(shrunk.departures),
        "departures_of": shrunk.of,
        "steps_of": shrunk.outcome.steps,
        "schedules_tried": shrunk.tried,
        "story": list(shrunk.story),
    }
