"""The default order, without preemptions. Schedules are described as departures from it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import UNREACHED
from ksmactors.interleave.strategies.fair import Fair


class DefaultOrder(Fair):
    """Preempts no actor; draws nothing. An actor that waits in a loop yields to the next one in number order."""

    name: ClassVar[str] = "default"
    summary: ClassVar[str] = "the actor that has the turn goes on; when it cannot, the lowest-numbered ready one"
    fair_after: ClassVar[int] = 100_000  # it takes many more steps than others do

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._spinner = -1

    @override
    def decide(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if current is not None:
            return current
        behind, self._spinner = self._spinner, -1
        return next((actor for actor in ready if actor.number > behind), ready[0])

    @override
    def ahead(self, ready: Sequence[Actor], current: Actor) -> int:
        return UNREACHED

    @override
    def yielded(self, actor: Actor) -> None:
        self._spinner = actor.number
