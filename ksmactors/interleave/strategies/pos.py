"""Partial order sampling (Yuan, Yang, Gu: Partial Order Aware Concurrency Sampling, CAV 2018).

Each pending operation draws a priority when it appears, and the highest one runs. The pending operations that race with
it then draw again: their order against it is settled, and a low priority that made them lose once must not make them
lose to the next one too. All others keep theirs. This reset is what makes partial orders, rather than interleavings,
nearly equally likely; without it the strategy is much weaker.

An actor that is about to take a held lock would only block, so it is not chosen; its operation stays pending.
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
"""Enough to make equal draws of two actors very rare; then the lower-numbered one runs first."""


class Pos(Strategy):
    """A random priority for each pending operation, drawn again when an operation that races with it is done."""

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
            # An actor that ran while it alone was ready was not chosen here: its operation has changed.
            if known is None or known[0] is not actor.op:
                known = drawn[actor.number] = actor.op, self.rng.getrandbits(PRIORITY_BITS)
            if known[1] > highest and (actor.op[0] != ACQUIRE or not would_wait(actor)):
                chosen, highest = actor, known[1]
        done = chosen.op
        for actor in ready:
            # Few operations are on the same object, so that is looked at first.
            if actor is chosen or (actor.op[1] is done[1] and races(actor.op, done)):
                del drawn[actor.number]
        return chosen
