"""The fair suffix: a very long schedule continues as a random walk.

Lasting priorities, windows and default orders can keep an actor from ever getting ahead of another. A program that
waits in a loop would then never end; under a random walk it does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy, below


class Fair(Strategy):
    """Base of strategies that could starve an actor for ever. `decide` and `ahead` choose until the suffix begins."""

    fair_after: ClassVar[int] = 20_000
    """Steps after which the random walk begins: several times what a built-in workload takes."""

    @abstractmethod
    def decide(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        """`choose`, before the suffix."""

    def ahead(self, ready: Sequence[Actor], current: Actor) -> int:
        """`horizon`, before the suffix."""
        return 1

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if self.stage.step > self.fair_after:
            return ready[below(self.rng, len(ready))]
        return self.decide(ready, current)

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        left = self.fair_after + 1 - self.stage.step
        return min(self.ahead(ready, current), left) if left > 0 else 1
