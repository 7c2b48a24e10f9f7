"""Probabilistic concurrency testing (Burckhardt et al.: A Randomized Scheduler with Probabilistic Guarantees of Finding
Bugs, ASPLOS 2010).

The ready actor with the highest priority runs until it blocks. At d-1 change points, steps drawn in advance, the
running actor drops below all others. A bug of depth d (d ordering constraints that must hold) in a run of n actors and
k steps is found with probability at least 1 / (n * k**(d-1)).

A fixed depth finds shallower bugs less often, so by default the depth is drawn for each schedule. The length k comes
from a calibration schedule: if it were learned from earlier schedules, a seed would not determine a schedule.

Steps are counted as in the other strategies: only where two or more actors are ready. Lasting priorities could starve
an actor for ever, so a very long schedule ends as a random walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import UNREACHED, below, distinct, length
from ksmactors.interleave.strategies.fair import Fair
from ksmactors.interleave.strategies.pos import PRIORITY_BITS
from ksmactors.parameters import Int

DEPTHS: Final = 3
"""Depth is drawn from 1 to this: few known bugs need more than two preemptions."""


class Pct(Fair):
    """Fixed random priorities, changed at a few random steps."""

    name: ClassVar[str] = "pct"
    summary: ClassVar[str] = "random priorities for whole actors, changed at depth-1 random steps"
    wants_profile = True
    depth = Int(0, f"ordering constraints of the bug looked for; 0 draws 1 to {DEPTHS} for each schedule")
    steps = Int(0, "choices in a schedule, as far as known; 0 takes what a calibration schedule has")

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        depth = self.depth or 1 + below(rng, DEPTHS)
        self._changes = distinct(rng, depth - 1, length(rng, self.steps, self.profile))
        self._taken = 0
        self._priorities: dict[int, int] = {}
        self._floor = 0

    @override
    def decide(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        self._taken += 1
        chosen = self._highest(ready)
        if self._changes and self._taken >= self._changes[-1]:
            self._changes.pop()
            self._demote(chosen)
            chosen = self._highest(ready)
        return chosen

    @override
    def ahead(self, ready: Sequence[Actor], current: Actor) -> int:
        # An actor without a priority draws it in `decide`, where the ready set is the one that counts.
        if any(actor.number not in self._priorities for actor in ready) or self._highest(ready) is not current:
            return 1
        return self._changes[-1] - self._taken if self._changes else UNREACHED

    @override
    def stayed(self, points: int) -> None:
        self._taken += points

    @override
    def yielded(self, actor: Actor) -> None:
        self._demote(actor)

    def _highest(self, ready: Sequence[Actor]) -> Actor:
        priorities = self._priorities
        for actor in ready:
            if actor.number not in priorities:
                priorities[actor.number] = self.rng.getrandbits(PRIORITY_BITS) + 1
        return max(ready, key=lambda actor: priorities[actor.number])

    def _demote(self, actor: Actor) -> None:
        self._floor -= 1
        self._priorities[actor.number] = self._floor
