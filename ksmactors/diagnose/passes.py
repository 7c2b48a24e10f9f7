"""The passes of shrinking: what is tried, in which order. `trying.Trials` decides what is kept.

Departures are left out by actor first, then in chunks, large ones first, as delta debugging does it (Zeller and
Hildebrandt: Simplifying and Isolating Failure-Inducing Input, 2002). Each actor follows departures of its own, so the
others keep their meaning when one goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

from ksmactors.campaign.subject import Subject, make_subject
from ksmactors.diagnose.trying import Candidate, Trials
from ksmactors.errors import UsageError
from ksmactors.interleave.schedule import Departure
from ksmactors.interleave.strategies.delay import Delay
from ksmactors.interleave.strategies.follow import SLACK
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.parameters import Int, parameters_of

READABLE_DEPARTURES: Final = 25
"""Departures up to which a story can be read. With more, other schedules that find the same are looked for."""

PAIRWISE_DEPARTURES_MAX: Final = 10
"""Departures of which pairs and triples are tried, and other places for each."""

TOGETHER_MAX: Final = 3
"""Departures that are left out at once, wherever they are."""

FIRST_SEEDS: Final = 16
SAMPLED_SEEDS: Final = 40
"""Seeds of the random schedules that are tried with each setting: at first, and if that did not help."""

COARSE: Final = 8
"""Parts in which departures are left out before other schedules are looked for."""

SAMPLES_PER_PARAMETER: Final = 8
"""Random schedules that are tried with a smaller parameter, if the departures lead nowhere with it."""

LINEAR_PARAMETER_MAX: Final = 16
"""Parameters up to this are brought down one by one, larger ones by halves."""

SINGLE_DRAWS_MAX: Final = 16
"""Drawn values of one actor and label that are tried singly."""

BATCHES: Final = (1, 4)
"""Values of the knob pages_to_scan that are tried. ksmd lets others run after a batch, so with small batches the
default order itself is a fine mixture, and needs few departures."""


async def everything(trials: Trials) -> None:
    """Make it smaller in every way, until nothing helps.

    Raises:
        Stop: a budget is used up.
    """
    await trials.leave_out(())
    await whole_actors(trials)
    await fewer_departures(trials, smallest=max(1, len(trials.departures) // COARSE))
    await other_schedules(trials, range(FIRST_SEEDS))
    await fewer_departures(trials)
    await fewer_together(trials)
    if len(trials.departures) > READABLE_DEPARTURES:
        await other_schedules(trials, range(FIRST_SEEDS, SAMPLED_SEEDS))
        await fewer_departures(trials)
    await fewer_draws(trials)
    await smaller_parameters(trials)
    await fewer_departures(trials)
    await fewer_together(trials)
    await fewer_steps(trials)


async def other_schedules(trials: Trials, seeds: range) -> None:
    """While there are too many departures to read: look for another schedule that finds the same with fewer.

    The settings take turns, since which of them shows the finding soonest depends on the defect: few delays, small
    batches of ksmd, a workload of half the size.
    """
    settings = list(_settings(trials.best.subject))
    for seed in seeds:
        for subject, strategy in settings:
            if len(trials.departures) <= READABLE_DEPARTURES:
                return
            await trials.sample(subject, strategy, seed)


def _settings(subject: Subject) -> Iterator[tuple[Subject, str]]:
    """What is sampled in place of a subject, and with which strategy."""
    halved = {name: max(one.low, value // 2) for name, one, value in _own_numbers(subject)}
    batches = BATCHES if "pages_to_scan" in parameters_of(type(subject.workload)) else ()
    yield subject, Delay.name
    for batch in batches:
        yield from _with(subject, {"pages_to_scan": batch}, Delay.name)
    if halved:
        yield from _with(subject, halved, Portfolio.name)
    for batch in batches[:1] if halved else ():
        yield from _with(subject, {**halved, "pages_to_scan": batch}, Delay.name)


def _with(subject: Subject, values: dict[str, int], strategy: str) -> Iterator[tuple[Subject, str]]:
    changed = changed_subject(subject, values)
    if changed is not None:
        yield changed, strategy


def changed_subject(subject: Subject, values: dict[str, int]) -> Subject | None:
    """The subject with other values for some parameters; None if the workload does not take them together."""
    params = {**dict(subject.params), **{name: str(value) for name, value in values.items()}}
    try:
        workload = make_subject(subject.name, params=params).workload
    except UsageError:
        return None
    return replace(subject, workload=workload, params=tuple(sorted(params.items())))


def _own_numbers(subject: Subject) -> Iterator[tuple[str, Int, int]]:
    """The whole numbers that the workload itself declares, no knobs: name, declaration and value."""
    for name, one in vars(type(subject.workload)).items():
        if isinstance(one, Int):
            yield name, one, getattr(subject.workload, name)


async def whole_actors(trials: Trials) -> None:
    """Leave out all departures of an actor, or all that lead to it."""
    for side in ("actor", "to"):
        for name in dict.fromkeys(getattr(one, side) for one in trials.departures):
            rest = [one for one in trials.departures if getattr(one, side) != name]
            if len(rest) < len(trials.departures):
                await trials.leave_out(rest)


async def fewer_departures(trials: Trials, *, smallest: int = 1) -> None:
    """Leave out as many as can be, in chunks of at least `smallest`, until none can."""
    chunk = max(smallest, len(trials.departures) // 2)
    while trials.departures:
        start, before = 0, len(trials.departures)
        while start < len(trials.departures):
            if not await trials.leave_out([*trials.departures[:start], *trials.departures[start + chunk :]]):
                start += chunk
        if chunk == smallest and len(trials.departures) >= before:
            return
        chunk = max(smallest, min(chunk // 2, len(trials.departures)))


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
    while any([await _smaller(trials, name, one) for name, one, _ in _own_numbers(trials.best.subject)]):
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
            for at in _elsewhere(trials.departures[place : place + 1]):
                there = [*trials.departures]
                there[place] = there[place]._replace(at=at)
                if await trials.consider(
                    replace(trials.best, departures=tuple(there), slack=0), steps=trials.outcome.steps
                ):
                    moved = True
                    break


def _elsewhere(departure: Sequence[Departure]) -> Iterator[int]:
    """Other places for a departure, if there is one: far ones first. An actor that was stuck was stuck there alone."""
    for one in departure:
        distance = 0 if one.stuck else one.at // 2
        while distance:
            yield one.at - distance
            yield one.at + distance
            distance //= 2
