"""Uniform random walk over interleavings (Zhao, Wolff, Mathur, Roychoudhury: Selectively Uniform Concurrency Testing,
ASPLOS 2025).

A random walk prefers orders in which all actors keep pace: of one actor with twenty steps and one with a single step,
the short one almost certainly runs early. If each actor is chosen with a probability proportional to its remaining
operations, each interleaving is equally likely, as long as no actor blocks: the number of continuations is a
multinomial, and the actor chosen first accounts for just that fraction of them.

A calibration schedule counts the operations of each actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.profile import EventBudget
from ksmactors.interleave.strategies.base import Strategy, below


class Urw(Strategy):
    """Chooses each ready actor in proportion to its remaining operations."""

    name: ClassVar[str] = "urw"
    summary: ClassVar[str] = (
        "each ready actor in proportion to its remaining operations: all interleavings equally likely"
    )
    wants_profile = True

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._budget = EventBudget(self.profile.events, self.profile.parents)
        self._done: dict[int, int] = {}

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        budget = self._budget
        for actor in self.stage.actors[len(budget) :]:
            budget.admit(actor)
        for actor in ready:  # including what it did while it alone was ready
            passed = self.stage.own_step if actor is self.stage.turn else actor.passed
            done = max(passed - 1, 0)  # it is at the last of these points
            budget.spend(actor.number, done - self._done.get(actor.number, 0))
            self._done[actor.number] = done
        return drawn(self.rng, ready, budget)


def drawn(rng: Random, actors: Sequence[Actor], budget: EventBudget) -> Actor:
    """One of some actors, in proportion to what each has left."""
    left = [budget.left(actor.number) for actor in actors]
    ticket = below(rng, sum(left))
    for actor, count in zip(actors, left, strict=True):
        ticket -= count
        if ticket < 0:
            return actor
    raise AssertionError("the tickets are as many as what is left")
