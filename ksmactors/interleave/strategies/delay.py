"""Delay bounding (Emmi, Qadeer, Rakamaric: Delay-Bounded Scheduling, POPL 2011), sampled.

The default order with a few exceptions: at each of D random steps the next actor runs in place of the one that is due.
A schedule therefore has at most D departures from the default order even before shrinking, and is easy to read. Bugs
that need few departures are found soon, however many actors there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import UNREACHED, below, distinct, length
from ksmactors.interleave.strategies.default_order import DefaultOrder
from ksmactors.parameters import Int

DELAYS: Final = 3
"""Delays are drawn from 1 to this: few known bugs need more."""


class Delay(DefaultOrder):
    """The default order, except for a few random steps at which the next actor runs instead."""

    name: ClassVar[str] = "delay"
    summary: ClassVar[str] = "the default order, departed from at a few random steps"
    wants_profile = True
    delays = Int(0, f"departures from the default order; 0 draws 1 to {DELAYS} for each schedule")
    steps = Int(0, "choices in a schedule, as far as known; 0 takes what a calibration schedule has")

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        delays = self.delays or 1 + below(rng, DELAYS)
        self._places = distinct(rng, delays, length(rng, self.steps, self.profile))
        self._taken = 0

    @override
    def decide(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        self._taken += 1
        chosen = super().decide(ready, current)
        if not self._places or self._taken < self._places[-1]:
            return chosen
        self._places.pop()
        return next((actor for actor in ready if actor.number > chosen.number), ready[0])

    @override
    def ahead(self, ready: Sequence[Actor], current: Actor) -> int:
        return self._places[-1] - self._taken if self._places else UNREACHED

    @override
    def stayed(self, points: int) -> None:
        self._taken += points
