"""What watching costs: schedules a second with no watcher, with each, with groups of them, and with all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from ksmactors import plugins
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from ksmactors.watch import WATCHERS
from tests.bench.measure import cpu_seconds, medians

STRATEGY = "random"

SCHEDULES = 11
"""Of each measurement: one of each built-in workload, with the same seeds for all."""

DETECTORS = ("lock_order", "happens_before", "lockset")
"""Those that are told of every operation; the others, the oracles, look now and then."""


def subjects(watch: Sequence[str]) -> list[Subject]:
    """The workloads that `stress` runs by default, watched by these."""
    found, _ = plugins.available("workloads")
    return [make_subject(plugin.name, watch=list(watch)) for plugin in found if "." not in plugin.name]


def seconds(played: list[Subject]) -> float:
    """CPU time of the schedules."""

    async def campaign() -> None:
        for seed in range(SCHEDULES):
            await run_schedule(played[seed % len(played)], seed, STRATEGY)

    return cpu_seconds(lambda: trio.run(campaign))


def witnesses_case() -> dict[str, Any]:
    """What each costs, in schedules without any watcher: 1 is nothing, 2 twice the time."""
    oracles = [name for name in WATCHERS if name not in DETECTORS]
    watched: dict[str, Sequence[str]] = {"none": (), "oracles": oracles, "detectors": DETECTORS, "all": list(WATCHERS)}
    watched |= {name: (name,) for name in WATCHERS}
    played = {name: subjects(watch) for name, watch in watched.items()}
    seconds(played["all"])  # what is imported late is imported now
    taken = dict(zip(played, medians(*(lambda one=one: seconds(one) for one in played.values())), strict=True))
    cost = {name: round(taken[name] / taken["none"], 2) for name in watched}
    each = sorted(WATCHERS, key=lambda name: -taken[name])
    return {
        "schedules_per_second": {name: round(SCHEDULES / taken[name], 1) for name in ("none", "oracles", "all")},
        "all_relative_to_none": {"value": cost["all"], "at_most": 3},
        "oracles_relative_to_none": cost["oracles"],
        "detectors_relative_to_none": cost["detectors"],
        "each_relative_to_none": {name: cost[name] for name in each},
        "most_expensive": each[:2],
    }


CASES = {"watchers": witnesses_case}
