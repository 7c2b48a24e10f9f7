"""Metrics: counts of a strategy's switches, preemptions and waiting times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.wrapper import Wrapper


class Metrics(Wrapper):
    """Counts the choices of the wrapped strategy; a campaign adds the numbers up and shows them."""

    name: ClassVar[str] = "metrics"
    summary: ClassVar[str] = "another strategy, with counts of switches, preemptions and waiting"

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._switches = self._preemptions = self._ready_actors = self._patience = 0
        self._holder = -1
        self._waited: dict[int, int] = {}

    @override
    def concluded(self) -> Mapping[str, int]:
        """Return the counts of the schedule.

        `switches`: choices that gave the turn to another actor than before; `preemptions`: those whose previous holder
        could have continued; `ready_actors`: summed over all choices; `patience`: the most choices in a row in which an
        actor was ready and not chosen.
        """
        return {
            **super().concluded(),
            "switches": self._switches,
            "preemptions": self._preemptions,
            "ready_actors": self._ready_actors,
            "patience": self._patience,
        }

    @override
    def chose(self, ready: Sequence[Actor], current: Actor | None, chosen: Actor) -> None:
        self._switches += chosen.number != self._holder
        self._preemptions += current is not None and chosen is not current
        self._count(ready, chosen, 1)

    @override
    def kept(self, ready: Sequence[Actor], current: Actor, points: int) -> None:
        self._count(ready, current, points)

    def _count(self, ready: Sequence[Actor], chosen: Actor, points: int) -> None:
        self._holder = chosen.number
        self._ready_actors += len(ready) * points
        waited = self._waited
        self._waited = {
            actor.number: waited.get(actor.number, 0) + points for actor in ready if actor is not chosen
        }  # fmt: skip
        self._patience = max(self._patience, *self._waited.values())
