"""Partial order sampling (Yuan, Yang, Gu: Partial Order Aware Concurrency Sampling, CAV 2018).

Each pending operation draws a priority of its own when it appears, and the highest one goes. The operations that
race with the one that goes then draw anew, since their order against it is settled and a low draw that made them
lose must not make them lose to the next one too. All others keep theirs. That reset is what makes partial orders,
rather than interleavings, nearly equally likely; without it the strategy is much weaker.

Who is about to take a lock that is held would only begin to wait, so it is not asked; its operation stays pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import ACQUIRE, Actor, Operation, races
from ksmactors.interleave.locks import would_wait
from ksmactors.interleave.strategies.base import Strategy

PRIORITY_BITS: Final = 32
"""Enough that two actors hardly ever draw the same; if they do, the lower-numbered one goes first."""


class Pos(Strategy):
    """A random priority for each pending operation, drawn anew when an operation that races with it is done."""

    name: ClassVar[str] = "pos"
    summary: ClassVar[str] = "partial order sampling: a random priority for each pending operation"

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._drawn: dict[int, tuple[Operation, int]] = {}

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        drawn = self._drawn
        chosen, highest = ready[0], -1
        for actor in ready:
            known = drawn.get(actor.number)
            # An actor that moved while nobody else was ready was not chosen here: its operation tells.
            if known is None or known[0] is not actor.op:
                known = drawn[actor.number] = actor.op, self.rng.getrandbits(PRIORITY_BITS)
            if known[1] > highest and (actor.op[0] != ACQUIRE or not would_wait(actor)):
                chosen, highest = actor, known[1]
        done = chosen.op
        for actor in ready:
            if actor is chosen or races(actor.op, done):
                del drawn[actor.number]
        return chosen
