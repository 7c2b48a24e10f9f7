"""Follow: the default order, but for departures that are given by names.

A departure says: when actor X has passed so many points of its own and is about to do this, Y gets the turn. That does
not depend on what others do meanwhile, so departures can be left out one by one (`diagnose.shrink`), and a recording
can be followed after unrelated code has changed, as far as that goes: a place is recognised within a few points by what
is about to be done there, and an actor that was late at one place is expected to be as late at the next. A departure
whose place never comes, or whose Y is not ready then, is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.labels import kinds, told
from ksmactors.interleave.schedule import Departure
from ksmactors.interleave.strategies.base import UNREACHED, Strategy

SLACK: Final = 8
"""Points by which an actor may be early or late at a place and still be taken to be there."""

AHEAD: Final = 4
"""Departures ahead of the next one that are looked for, too: the next one's place may never come."""


class Follow(Strategy):
    """Follows departures.

    Args:
        departures: in their order.
        slack: how far a place is looked for around the point where it was.
    """

    name: ClassVar[str] = "follow"
    summary: ClassVar[str] = "the default order, but for given departures"
    fair = False

    def __init__(self, departures: Sequence[Departure], *, slack: int = SLACK) -> None:
        super().__init__()
        self._departures, self._slack = departures, slack

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._next = 0
        self._late: dict[str, int] = {}

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        default = ready[0] if current is None else current
        turn, at = self.stage.turn, self._at(self.stage.turn)
        for place in range(self._next, min(self._next + AHEAD, len(self._departures))):
            departure = self._departures[place]
            if departure.actor == turn.name and departure.stuck == (current is None) and self._there(departure, at):
                to = next((actor for actor in ready if actor.name == departure.to), None)
                if to is not None:
                    self._next = place + 1
                    self._late[turn.name] = self._late.get(turn.name, 0) + at - departure.at
                    return to
        return default

    def _at(self, actor: Actor) -> int:
        """How many points the actor that has the turn had passed here when this was recorded, as far as is known."""
        return self.stage.own_step - self._late.get(actor.name, 0)

    def _there(self, departure: Departure, at: int) -> bool:
        doing = told(self.stage.turn.op)
        if at == departure.at:  # the numbers of what it is on may have changed
            return kinds((doing,)) == kinds((departure.doing,))
        return abs(at - departure.at) <= self._slack and doing == departure.doing

    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        points = UNREACHED
        at = self._at(current)
        for departure in self._departures[self._next : self._next + AHEAD]:
            ahead = departure.at - self._slack - at
            if departure.actor == current.name and not departure.stuck and departure.at + self._slack > at:
                points = min(points, max(1, ahead))
        return points
