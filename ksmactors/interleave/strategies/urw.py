"""Uniform random walk over interleavings (Zhao, Wolff, Mathur, Roychoudhury: Selectively Uniform Concurrency Testing,
ASPLOS 2025).

A random walk prefers orders in which all keep pace: with one actor of twenty steps and one of one step, it is nearly
certain that the short one goes early. If each actor is chosen with a probability proportional to the operations that
it has left, each interleaving is equally likely, as far as nobody blocks: the number of ways to go on is a multinomial,
and taking an actor first leaves just that fraction of them.

What each actor has to do is counted in a calibration schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.profile import Budget
from ksmactors.interleave.strategies.base import Strategy, below


class Urw(Strategy):
    """Chooses each ready actor in proportion to what it has left to do."""

    name: ClassVar[str] = "urw"
    summary: ClassVar[str] = "each ready actor as likely as it has operations left: all interleavings alike"
    wants_profile = True

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._budget = Budget(self.profile.events, self.profile.parents)
        self._last = 0
        self._step = 0

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        budget = self._budget
        for actor in self.stage.actors[len(budget) :]:
            budget.admit(actor)
        step = self.stage.step
        budget.spend(self._last, step - self._step)  # also what it did while nobody else was ready
        self._step = step
        chosen = drawn(self.rng, ready, budget)
        self._last = chosen.number
        return chosen


def drawn(rng: Random, actors: Sequence[Actor], budget: Budget) -> Actor:
    """One of some actors, in proportion to what each has left."""
    left = [budget.left(actor.number) for actor in actors]
    ticket = below(rng, sum(left))
    for actor, count in zip(actors, left, strict=True):
        ticket -= count
        if ticket < 0:
            return actor
    raise AssertionError("the tickets are as many as what is left")
