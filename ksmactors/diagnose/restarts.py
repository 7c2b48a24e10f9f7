"""Restarts: sample schedules of smaller workloads that show the same finding, before any departure is left out.

A random schedule of a big workload has hundreds of departures, nearly all of them needless, and to leave them out one
by one takes a schedule each. A workload with fewer pages, processes and rounds often shows the same finding in a few
samples, with few departures from the start, and each try there takes less time. Most findings need one to three
delays, so schedules with few delays get the largest share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from ksmactors.diagnose.trying import Trials
from ksmactors.errors import UsageError
from ksmactors.interleave.strategies.delay import Delay
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.parameters import Int, parameters_of
from ksmactors.run.subject import Subject, make_subject

READABLE_DEPARTURES: Final = 25
"""Departures up to which a story can be read. With more, other schedules that find the same are looked for."""

PARTS: Final = 4
"""Parts in which the way from a parameter's value to its lowest is cut."""

BATCHES: Final = (1, 4)
"""Values of the knob pages_to_scan that are tried. ksmd lets others run after a batch, so with small batches the
default order itself mixes the actors finely, and needs few departures."""


async def elsewhere(trials: Trials, seeds: range, samples: int) -> None:
    """While there are too many departures to read, sample other schedules for the same finding, at most so many.

    After a success the settings are made again from what was found, and other seeds are taken.
    """
    left, first = samples, seeds.start
    while left > 0 and len(trials.departures) > READABLE_DEPARTURES:
        found = False
        for subject, strategy, seed in islice(_samples(trials, range(first, seeds.stop)), left):
            left, first = left - 1, seed + 1
            found = await trials.sample(subject, strategy, seed)
            if found:
                break
        if not found:
            return
        await trials.confirm()


def _samples(trials: Trials, seeds: range) -> Iterator[tuple[Subject, str, int]]:
    """What is sampled, in this order. For each seed the workload as it is with a few delays, also with small batches of
    ksmd; and one of the smaller sizes, with small batches and as the recording was found. The sizes take turns: the
    defect decides which of them shows the finding soonest."""
    subject, strategy = trials.best.subject, trials.strategy or Portfolio.name
    sizes = [*_settings(subject, _sizes(subject))]
    batches = [{"pages_to_scan": batch} for batch in BATCHES]
    if "pages_to_scan" not in parameters_of(type(subject.workload)):
        batches = []
    same = [subject, *_settings(subject, batches)]
    small = [*_settings(subject, ({**values, **batch} for values in _sizes(subject) for batch in batches[:1]))] or sizes
    for turn, seed in enumerate(seeds):
        for one in same:
            yield one, Delay.name, seed
        if sizes:
            yield sizes[turn % len(sizes)], strategy, seed
        if small:
            yield small[turn % len(small)], Delay.name, seed


def _settings(subject: Subject, settings: Iterable[dict[str, int]]) -> Iterator[Subject]:
    """The subject with other values of some parameters, where the workload takes them together; each once."""
    known = {subject.params}
    for values in settings:
        changed = changed_subject(subject, values)
        if changed is not None and changed.params not in known:
            known.add(changed.params)
            yield changed


def _sizes(subject: Subject) -> Iterator[dict[str, int]]:
    """Smaller values for the parameters: all together, a quarter, half and none of what is above the lowest, rounded up
    so that there is some of everything, then down; and each of them lowest by itself."""
    numbers = list(own_numbers(subject))
    sizes = [{name: one.low - -(value - one.low) * part // PARTS for name, one, value in numbers} for part in (1, 2)]
    sizes += [{name: one.low + (value - one.low) * part // PARTS for name, one, value in numbers} for part in (2, 1)]
    sizes += [{name: one.low} for name, one, _ in numbers]
    current = {name: value for name, _, value in numbers}
    for values in sizes:
        smaller = {name: value for name, value in values.items() if value < current[name]}
        if smaller:
            yield smaller


def smaller_subjects(subject: Subject) -> list[Subject]:
    """The subject with smaller values of its workload's own parameters, where the workload takes them."""
    return list(_settings(subject, _sizes(subject)))


def changed_subject(subject: Subject, values: dict[str, int]) -> Subject | None:
    """The subject with other values for some parameters; None if the workload does not take them together."""
    params = {**dict(subject.params), **{name: str(value) for name, value in values.items()}}
    try:
        workload = make_subject(subject.name, params=params).workload
    except UsageError:
        return None
    return replace(subject, workload=workload, params=tuple(sorted(params.items())))


def own_numbers(subject: Subject) -> Iterator[tuple[str, Int, int]]:
    """The whole numbers that the workload itself declares, no knobs: name, declaration and value."""
    for name, one in vars(type(subject.workload)).items():
        if isinstance(one, Int):
            yield name, one, getattr(subject.workload, name)
