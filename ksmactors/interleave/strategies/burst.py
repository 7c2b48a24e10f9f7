"""Bursts: an actor keeps the turn for a random run of steps, then another actor does.

A random walk mixes so finely that no actor gets far; lasting priorities hardly mix. Runs of all lengths, each octave
equally likely, do both: at a random place another actor does many steps, and then the rest continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy, below, octaves
from ksmactors.parameters import Int

OCTAVES: Final = 8
"""Octaves are drawn for each schedule from 1 (a random walk) to this (runs of up to 255 choices)."""


class Burst(Strategy):
    """Gives the turn to a random actor for a random run of choices; the length's octave is drawn first."""

    name: ClassVar[str] = "burst"
    summary: ClassVar[str] = "a random actor at a time, each for a random run of steps"
    octaves = Int(0, f"octaves of the runs' lengths: with 4, up to 15 choices; 0 draws 1 to {OCTAVES}", high=30)

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._runner = -1
        self._left = 0
        self._highest = (self.octaves or 1 + below(rng, OCTAVES)) - 1

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if self._left > 0 and current is not None and current.number == self._runner:
            self._left -= 1
            return current
        chosen = ready[below(self.rng, len(ready))]
        self._runner = chosen.number
        self._left = octaves(self.rng, self._highest) - 1
        return chosen

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return self._left + 1 if current.number == self._runner else 1

    @override
    def stayed(self, points: int) -> None:
        self._left -= points
