"""The API under schedules against trio itself: whatever trio does with a program is one of its schedules."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio as real

import ksmactors
from ksmactors.model import Model, Table, trio
from tests.trio_api.programs import TrioProgram

RUNS = 60
"""Runs of a program on trio: its scheduler shuffles each batch."""


def on_trio(program: TrioProgram) -> set[tuple[str, ...]]:
    """What a program does on trio, in many runs; one that waits for ever is cut off where nothing moves any more."""
    outcomes = set()
    for _ in range(RUNS):
        seen: list[str] = []

        async def main(seen: list[str] = seen) -> None:
            with real.move_on_after(1000) as scope:
                await program.run(real, seen)
            if scope.cancelled_caught:
                seen[:] = [line for line in seen if not line.endswith(" cancelled")] + ["stuck"]

        real.run(main, clock=real.testing.MockClock(autojump_threshold=0))
        outcomes.add(tuple(seen))
    return outcomes


def under_schedules(program: TrioProgram, run: Callable[..., object]) -> set[tuple[str, ...]]:
    """What a program does in the schedules that `run` runs of it."""
    outcomes = set()

    class Programmed(Model):
        """the program"""

        async def run(self, table: Table) -> None:
            seen: list[str] = []
            finished = False
            try:
                await program.run(trio, seen)
                finished = True
            finally:
                outcomes.add((*seen, *(() if finished else ("stuck",))))

    run(Programmed)
    return outcomes


@pytest.fixture(autouse=True)
def _shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """hypothesis makes trio's order a fixed one; here it is drawn, from one seed."""
    monkeypatch.setattr(real._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", False)
    monkeypatch.setattr(real._core._run, "_r", random.Random(7))


SEEDS = (*range(14), 136)
NIGHTLY = [pytest.param(seed, marks=pytest.mark.nightly) for seed in range(400) if seed not in SEEDS]


@pytest.mark.parametrize("seed", [*SEEDS, *NIGHTLY])
def test_what_trio_does_is_explored(seed: int) -> None:
    """Every outcome on trio is one that `explore` reaches."""
    program = TrioProgram(seed)
    explored = under_schedules(program, ksmactors.explore)

    missing = on_trio(program) - explored
    assert missing == set(), (program.tasks, sorted(explored)[:10])
