"""The determinism check: every schedule is played twice, and must come to the same choices.

A program that looks at a clock, at the order of a set or at what an earlier schedule has left behind is not a function
of its choices: its schedules cannot be replayed, and what is found in them cannot be found again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Final

from typing_extensions import override

from ksmactors.errors import NotDeterministic, UsageError
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.labels import told
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.wrapper import Wrapper

THE_END: Final = "the end"


class Determinism(Wrapper):
    """Plays each schedule twice and compares, at each choice, who is ready and what everybody is about to do.

    Raises NotDeterministic where the second one differs.
    """

    name: ClassVar[str] = "determinism"
    summary: ClassVar[str] = "another strategy, with every schedule played twice to see whether the same comes of it"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._played: list[list[str]] = []

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
        self._played.append([])

    @override
    def concluded(self) -> Mapping[str, int]:
        if len(self._played) > 1 and len(self._played[1]) < len(self._played[0]):
            self._compare(THE_END)
        return super().concluded()

    @override
    def chose(self, ready: Sequence[Actor], current: Actor | None, chosen: Actor) -> None:
        self._compare(f"{chosen.name} of " + ", ".join(f"{actor.name} ({told(actor.op)})" for actor in ready))

    @override
    def kept(self, ready: Sequence[Actor], current: Actor, points: int) -> None:
        self._compare(f"{current.name} of " + ", ".join(actor.name for actor in ready) + f", {points} times")

    def _compare(self, choice: str) -> None:
        taken = self._played[-1]
        place = len(taken)
        taken.append(choice)
        if len(self._played) > 1:
            first = self._played[0]
            before = first[place] if place < len(first) else THE_END
            if before != choice:
                raise NotDeterministic(place, self.stage.step, before, choice)
