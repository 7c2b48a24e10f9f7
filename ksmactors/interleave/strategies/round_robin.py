"""Round robin: each ready actor in turn gets a fixed number of points."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.parameters import Int


class RoundRobin(Strategy):
    """Gives `quantum` points to each ready actor, in order of number; draws nothing."""

    name: ClassVar[str] = "round_robin"
    summary: ClassVar[str] = "each ready actor in turn, for a fixed number of points"
    quantum = Int(1, "points that an actor gets before it is the next one's turn", low=1)

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._last = -1
        self._used = 0

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if current is not None and current.number == self._last and self._used + 1 < self.quantum:
            self._used += 1
            return current
        chosen = next((a for a in ready if a.number > self._last), ready[0])
        self._last, self._used = chosen.number, 0
        return chosen

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return self.quantum - self._used if current.number == self._last else 1

    @override
    def stayed(self, points: int) -> None:
        self._used += points
