"""The passes of shrinking: what is tried, in which order. `trying.Trials` decides what is kept.

Departures are left out by actor first, then in chunks, large ones first, as delta debugging does it (Zeller and
Hildebrandt: Simplifying and Isolating Failure-Inducing Input, 2002). Each actor follows departures of its own, so the
others keep their meaning when one goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Final, TypeAlias

from ksmactors.diagnose.reordering import fewer_switches
from ksmactors.diagnose.restarts import READABLE_DEPARTURES, changed_subject, elsewhere, own_numbers
from ksmactors.diagnose.targeted import targeted
from ksmactors.diagnose.trying import Candidate, Trials
from ksmactors.interleave.schedule_string import Departure
from ksmactors.interleave.strategies.delay import Delay
from ksmactors.interleave.strategies.replay_by_name import SLACK
from ksmactors.parameters import Int

PAIRWISE_DEPARTURES_MAX: Final = 10
"""Departures of which pairs and triples are tried, and other places for each."""

TOGETHER_MAX: Final = 3
"""Departures that are left out at once, wherever they are."""

SAMPLED_SEEDS: Final = (range(30), range(30, 400))
"""Seeds of the random schedules, each time that some are looked for."""

FIRST_SAMPLES: Final = 50
LAST_SAMPLES: Final = 500
"""Random schedules that are tried before departures are left out, and when nothing else helps."""

TARGETED: Final = (200, 150, 100)
"""Targeted schedules that are tried, each time: before departures are left out, after large chunks of them, and after
smaller ones."""

LATE_ROUNDS: Final = 3
LATE_TARGETED: Final = 150
"""How often, and how many, targeted schedules are tried when no single departure can go."""

COARSE: Final = 8
FINE: Final = 32
"""Parts in which departures are left out before other schedules are looked for."""

SAMPLES_PER_PARAMETER: Final = 8
"""Random schedules that are tried with a smaller parameter, if the departures lead nowhere with it."""

LINEAR_PARAMETER_MAX: Final = 16
"""Parameters up to this are brought down one by one, larger ones by halves."""

SINGLE_DRAWS_MAX: Final = 16
"""Drawn values of one actor and label that are tried singly."""

Pass: TypeAlias = Callable[[Trials], Awaitable[None]]


async def everything(trials: Trials) -> None:
    """Make it smaller in every way, until nothing helps.

    Raises:
        Stop: a budget is used up, or enough departures are gone.
    """
    await trials.leave_out(())
    await elsewhere(trials, SAMPLED_SEEDS[0], FIRST_SAMPLES)
    await _confirmed(trials, reordered)
    await targeted(trials, TARGETED[0], 0)
    await _confirmed(trials, whole_actors)
    await _confirmed(trials, partial(fewer_departures, smallest=max(1, len(trials.departures) // COARSE)))
    await targeted(trials, TARGETED[1], 1)
    await _confirmed(trials, reordered)
    await _confirmed(trials, partial(fewer_departures, smallest=max(1, len(trials.departures) // FINE)))
    await targeted(trials, TARGETED[2], 2)
    await _confirmed(trials, fewer_departures)
    await _confirmed(trials, fewer_together)
    for seed in range(len(TARGETED), len(TARGETED) + LATE_ROUNDS):
        if len(trials.departures) > READABLE_DEPARTURES:
            await targeted(trials, LATE_TARGETED, seed)
            await _confirmed(trials, fewer_departures)
    if len(trials.departures) > READABLE_DEPARTURES:
        await elsewhere(trials, SAMPLED_SEEDS[1], LAST_SAMPLES)
        await _confirmed(trials, fewer_departures)
    await _confirmed(trials, fewer_draws)
    await _confirmed(trials, smaller_parameters)
    await _confirmed(trials, fewer_departures)
    await _confirmed(trials, fewer_together)
    await _confirmed(trials, fewer_steps)


async def reordered(trials: Trials) -> None:
    """While there are too many departures to read, remove switches that no dependence needs. Few departures are left
    alone: where each of them decides something, others in the same order can be a dead end."""
    if len(trials.departures) > READABLE_DEPARTURES:
        await fewer_switches(trials)


async def _confirmed(trials: Trials, one: Pass) -> None:
    """A pass, and the confirmation of what came of it; once more if that is refused."""
    await one(trials)
    if not await trials.confirm():
        await one(trials)
        await trials.confirm()


async def whole_actors(trials: Trials) -> None:
    """Leave out all departures of an actor, or all that lead to it."""
    for side in ("actor", "to"):
        for name in dict.fromkeys(getattr(one, side) for one in trials.departures):
            rest = [one for one in trials.departures if getattr(one, side) != name]
            if len(rest) < len(trials.departures):
                await trials.leave_out(rest)


async def fewer_departures(trials: Trials, *, smallest: int = 1) -> None:
    """Leave out as many as can be, in chunks of at least `smallest`, until none can. After each success the chunk is
    twice as large, as long as that succeeds."""
    chunk = max(smallest, len(trials.departures) // 2)
    while trials.departures:
        start, before = 0, len(trials.departures)
        while start < len(trials.departures):
            size = chunk
            while start < len(trials.departures) and await _without(trials, start, size):
                size *= 2
            start += chunk
        if chunk == smallest and len(trials.departures) >= before:
            return
        chunk = max(smallest, min(chunk // 2, len(trials.departures)))


async def _without(trials: Trials, start: int, size: int) -> bool:
    return await trials.leave_out([*trials.departures[:start], *trials.departures[start + size :]])


async def fewer_together(trials: Trials) -> None:
    """Leave out pairs and triples, wherever they are: two departures may need each other, and the finding neither."""
    size = 2
    while size <= TOGETHER_MAX and size < len(trials.departures) <= PAIRWISE_DEPARTURES_MAX:
        for left_out in combinations(range(len(trials.departures)), size):
            rest = [one for place, one in enumerate(trials.departures) if place not in left_out]
            if await trials.leave_out(rest):
                size = 1
                break
        size += 1


async def fewer_draws(trials: Trials) -> None:
    """Draw 0 wherever that makes no difference: first everywhere, then by actor and label, then one by one."""
    if not any(any(values) for values in trials.best.draws.values()):
        return
    if await _nearby(trials, replace(trials.best, draws={})):
        return
    for key in list(trials.best.draws):
        if any(trials.best.draws.get(key, ())):
            await _nearby(trials, replace(trials.best, draws={**trials.best.draws, key: ()}))
    for key, values in list(trials.best.draws.items()):
        for place in [place for place, value in enumerate(values) if value][:SINGLE_DRAWS_MAX]:
            kept = trials.best.draws.get(key, ())
            if place < len(kept) and kept[place]:
                zeroed = [*kept[:place], 0, *kept[place + 1 :]]
                await _nearby(trials, replace(trials.best, draws={**trials.best.draws, key: zeroed}))


async def _nearby(trials: Trials, candidate: Candidate) -> bool:
    """Try a candidate in which places have shifted: exactly, and with few departures also with slack."""
    slacks = (0, SLACK) if 0 < len(trials.departures) <= PAIRWISE_DEPARTURES_MAX else (0,)
    for slack in slacks:
        if await trials.consider(replace(candidate, slack=slack)):
            return True
    return False


async def smaller_parameters(trials: Trials) -> None:
    """Bring the workload's own whole numbers down as far as the finding stays."""
    while any([await _smaller(trials, name, one) for name, one, _ in own_numbers(trials.best.subject)]):
        pass  # with one smaller, another may become so


async def _smaller(trials: Trials, name: str, parameter: Int) -> bool:
    """Bring one parameter down; return whether it went."""
    before = value = getattr(trials.best.subject.workload, name)
    while True:
        smaller = (parameter.low, (parameter.low + value) // 2, *([value - 1] if value <= LINEAR_PARAMETER_MAX else []))
        for one in dict.fromkeys(low for low in smaller if low < value):
            if await _with_parameter(trials, name, one):
                break
        value, tried = getattr(trials.best.subject.workload, name), value
        if value == tried:
            return bool(value < before)


async def _with_parameter(trials: Trials, name: str, value: int) -> bool:
    subject = changed_subject(trials.best.subject, {name: value})
    if subject is None:
        return False
    if await _nearby(trials, replace(trials.best, subject=subject)):
        return True
    left = len(trials.departures)
    if left:  # the actors may have other names there
        strategy = f"{Delay.name}:delays={left}" if left <= PAIRWISE_DEPARTURES_MAX else Delay.name
        for seed in range(SAMPLES_PER_PARAMETER):
            if await trials.sample(subject, strategy, seed, draws=trials.best.draws, fewer=False):
                return True
    return False


async def fewer_steps(trials: Trials) -> None:
    """Let each departure happen earlier or later, wherever that leads there in fewer steps."""
    for place in range(len(trials.departures) if len(trials.departures) <= PAIRWISE_DEPARTURES_MAX else 0):
        moved = True
        while moved:
            moved = False
            for at in _other_places(trials.departures[place : place + 1]):
                there = [*trials.departures]
                there[place] = there[place]._replace(at=at)
                if await trials.consider(replace(trials.best, departures=tuple(there), slack=0), steps=trials.steps):
                    moved = True
                    break


def _other_places(departure: Sequence[Departure]) -> Iterator[int]:
    """Other places for a departure, if there is one: far ones first. An actor that was stuck was stuck there alone."""
    for one in departure:
        distance = 0 if one.stuck else one.at // 2
        while distance:
            yield one.at - distance
            yield one.at + distance
            distance //= 2
