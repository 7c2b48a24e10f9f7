"""What the tests of strategies share: a schedule to look at, and how long a strategy takes to find a model's defect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import trio

from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.profile import Profile
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.model import Variable
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

Perform = Callable[..., Conductor]

SEEDS_EACH = 5_000
"""How far the seeds of two campaigns are apart: no campaign takes as many."""


def turns(perform: Perform, strategy: str | Strategy, seed: int) -> list[tuple[int, int]]:
    """The turns of a schedule of five actors on two variables, one of which also spins and sleeps."""

    async def play(conductor: Conductor) -> None:
        a, b = Variable(conductor, "a", 0), Variable(conductor, "b", 0)

        async def work(number: int) -> None:
            for turn in range(4):
                await (a if turn % 2 else b).write(number)
                await a.read()
            await conductor.sleep(2_000)

        for number in range(4):
            conductor.spawn(f"w{number}", work(number))
        for _ in range(3):
            await conductor.relax(a)

    return perform(play, seed=seed, strategy=strategy).tape.turns


def turns_without_yields(
    perform: Perform, strategy: str | Strategy, seed: int, actors: str = "abc", steps: int = 8
) -> list[tuple[int, int]]:
    """The turns of a schedule of some actors that read a variable of their own so many times."""

    async def play(conductor: Conductor) -> None:
        for name in actors:
            conductor.spawn(name, reads(Variable(conductor, name, 0)))

    async def reads(variable: Variable[int]) -> None:
        for _ in range(steps):
            await variable.read()

    return perform(play, seed=seed, strategy=strategy).tape.turns


def preemptions(recorded: list[tuple[int, int]]) -> list[int]:
    """Where the turn was taken from somebody who could have gone on."""

    def found() -> Iterator[int]:
        for place, ((_, before), (mask, chosen)) in enumerate(pairwise(recorded), 1):
            if chosen != before and mask >> before & 1:
                yield place

    return list(found())


def outcome(model: str, strategy: str, seed: int, **options: object) -> Outcome:
    """One schedule of a classic model, by a strategy alone in its campaign."""
    return trio.run(lambda: run_schedule(make_subject(f"classic.{model}"), seed, strategy, **options))


def profile(workload: str, **options: object) -> Profile:
    """What a calibration schedule of a workload counts."""
    return trio.run(Calibration(run_schedule).profile, make_subject(workload, **options))


def mean_until_found(strategy: str, model: str, trials: int = 20, budget: int = 1_000) -> float:
    """Mean number of schedules until a classic model's defect shows, over so many campaigns with seeds of their own."""

    async def search() -> int:
        subject, calibration = make_subject(f"classic.{model}"), Calibration(run_schedule)
        total = 0
        for first in range(0, trials * SEEDS_EACH, SEEDS_EACH):
            for seed in range(first, first + budget):
                deciding = await calibration.strategy(subject, seed, strategy)
                came = await run_schedule(subject, seed, strategy, deciding=deciding)
                total += 1
                if came.verdict is Verdict.FINDING:
                    break
            else:
                raise AssertionError(f"{strategy} does not find {model} within {budget} schedules")
        return total

    return trio.run(search) / trials
