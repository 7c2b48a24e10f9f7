"""The determinism check: every schedule is run twice, and both runs must make the same choices.

A program that reads a clock, depends on set order or on state left by an earlier schedule is not a function of its
choices: its schedules cannot be replayed, so its findings cannot be reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Final

from typing_extensions import override

from ksmactors.errors import NotDeterministic, UsageError
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.labels import describe_operation
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.wrapper import Wrapper
from ksmactors.quantity import quantity

THE_END: Final = "the end"


class Determinism(Wrapper):
    """Runs each schedule twice and compares, at each choice, the ready set and each actor's next operation.

    Raises NotDeterministic where the second one differs.
    """

    name: ClassVar[str] = "determinism"
    summary: ClassVar[str] = "another strategy, with every schedule run twice to check that both runs are equal"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._runs: list[list[str]] = []

    @override
    def wrap(self, inner: Strategy) -> None:
        super().wrap(inner)
        if inner.warmup_seeds(1):
            raise UsageError(f"strategy determinism: {self.of} learns from each schedule, so no two are the same")

    @override
    def warmup_seeds(self, seed: int) -> Sequence[int]:
        return (seed,)

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._runs.append([])

    @override
    def concluded(self) -> Mapping[str, int]:
        if len(self._runs) > 1 and len(self._runs[1]) < len(self._runs[0]):
            self._compare(THE_END)
        return super().concluded()

    @override
    def chose(self, ready: Sequence[Actor], current: Actor | None, chosen: Actor) -> None:
        self._compare(
            f"{chosen.name} of " + ", ".join(f"{actor.name} ({describe_operation(actor.op)})" for actor in ready)
        )

    @override
    def kept(self, ready: Sequence[Actor], current: Actor, points: int) -> None:
        self._compare(
            f"{current.name} of " + ", ".join(actor.name for actor in ready) + f", {quantity(points, 'time')}"
        )

    def _compare(self, choice: str) -> None:
        taken = self._runs[-1]
        place = len(taken)
        taken.append(choice)
        if len(self._runs) > 1:
            first = self._runs[0]
            before = first[place] if place < len(first) else THE_END
            if before != choice:
                raise NotDeterministic(place, self.stage.step, before, choice)
