"""What a point costs, against `trio.lowlevel.checkpoint` in the same process."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import trio

from ksmactors.interleave.actor import READ
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from tests.bench.measure import medians, no_gc

POINTS = 200_000
SWITCHES = 20_000
CROWD = 8


def checkpoint(tasks: int) -> float:
    """Seconds a checkpoint, with so many runnable tasks."""

    async def work(count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    async def main() -> float:
        with no_gc():
            start = process_time()
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(work, SWITCHES // tasks)
            return (process_time() - start) / SWITCHES

    return trio.run(main)


def points(strategy: str, actors: int, count: int) -> float:
    """Seconds a point, with so many ready actors."""
    chooser = parse(strategy)
    chooser.begin(strategy_rng(1))
    conductor = Conductor(chooser, Tape(1))

    async def work(page: object) -> None:
        point = conductor.point
        for _ in range(count // actors):
            await point(READ, page)

    async def play() -> None:
        for number in range(actors):
            conductor.spawn(f"a{number}", work(object()))

    async def main() -> float:
        with no_gc():
            start = process_time()
            await conductor.run("main", play)
            return (process_time() - start) / count

    return trio.run(main)


def point_case() -> dict[str, Any]:
    """Points at which the turn stays, and points at which it is passed."""
    timed: dict[str, Callable[[], float]] = {
        "checkpoint": lambda: checkpoint(1),
        "checkpoint_of_8_tasks": lambda: checkpoint(CROWD),
        "point_alone": lambda: points("random", 1, POINTS),
        "point_turn_stays": lambda: points(f"round_robin:quantum={POINTS}", CROWD, POINTS),
        "point_turn_passed": lambda: points("round_robin", CROWD, SWITCHES),
        "point_random": lambda: points("random", CROWD, SWITCHES),
        "point_pos": lambda: points("pos", CROWD, SWITCHES),
    }
    seconds = dict(zip(timed, medians(*timed.values()), strict=True))
    return {
        "turn_stays_per_checkpoint": {
            "value": round(seconds["checkpoint"] / seconds["point_turn_stays"], 1),
            "at_least": 8,
        },
        "turn_passed_in_checkpoints": {
            "value": round(seconds["point_turn_passed"] / seconds["checkpoint"], 2),
            "at_most": 2.5,
        },
        "microseconds": {name: round(value * 1e6, 3) for name, value in seconds.items()},
    }


CASES = {"point": point_case}
