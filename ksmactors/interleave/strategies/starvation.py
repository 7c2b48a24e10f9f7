"""Starvation windows (after the chaos mode of rr): for a while, some actors do not run.

Some bugs show only if an actor does not run for long while others do a lot. The necessary length is unknown, so windows
and the gaps between them have lengths of all octaves, each equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import below, octaves
from ksmactors.interleave.strategies.fair import Fair
from ksmactors.parameters import Int


class Starvation(Fair):
    """A random walk with windows in which a random half of the actors does not run, unless no other is ready."""

    name: ClassVar[str] = "starvation"
    summary: ClassVar[str] = "a random walk with windows, of any length, in which some actors do not run"
    octaves = Int(12, "windows have lengths of so many octaves: with 12, up to 4095 choices", low=1, high=30)

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._starved: dict[int, bool] = {}
        self._window = bool(below(rng, 2))
        self._left = octaves(rng, self.octaves - 1)

    @override
    def decide(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if self._left <= 0:
            self._starved.clear()
            self._window = not self._window
            self._left = octaves(self.rng, self.octaves - 1)
        self._left -= 1
        fed = self._fed(ready)
        return fed[below(self.rng, len(fed))]

    @override
    def ahead(self, ready: Sequence[Actor], current: Actor) -> int:
        if self._left > 0 and self._fed(ready) == [current]:
            return self._left + 1
        return 1

    @override
    def stayed(self, points: int) -> None:
        self._left -= points

    def _fed(self, ready: Sequence[Actor]) -> Sequence[Actor]:
        """Return the actors that may run; one that is new in a window draws once whether it starves there."""
        if not self._window:
            return ready
        starved = self._starved
        for actor in ready:
            if actor.number not in starved:
                starved[actor.number] = bool(below(self.rng, 2))
        return [actor for actor in ready if not starved[actor.number]] or ready
