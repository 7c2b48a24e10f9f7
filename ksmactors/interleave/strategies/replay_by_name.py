"""Replay by name: the default order, except for departures that are given by names.

A departure says: when actor X has passed that many points of its own and has that next operation, Y gets the turn. Each
actor has its own departures, so they keep their meaning when others are left out. All departures of a schedule
reproduce the schedule. Without slack a place is exact: the number of points, and how many times in a row the actor was
stuck there. With slack a recording can be followed after unrelated code has changed: a place is recognised within a few
points by the next operation, and an actor that was late at one place is expected to be as late at the next. A departure
is skipped if its place is never reached, or if its Y is not ready there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.labels import describe_operation, kinds
from ksmactors.interleave.schedule_string import Departure
from ksmactors.interleave.strategies.base import UNREACHED, Strategy

SLACK: Final = 8
"""Points by which an actor may be early or late at a place and still match it."""

AHEAD: Final = 4
"""Departures of an actor that are looked for at once: the place of the next one may never be reached."""


class ReplayByName(Strategy):
    """Follows departures.

    Args:
        departures: in their order.
        slack: points around the recorded one in which a place is looked for.
    """

    name: ClassVar[str] = "follow"
    summary: ClassVar[str] = "the default order, but for given departures"
    fair = False

    def __init__(self, departures: Sequence[Departure], *, slack: int = SLACK) -> None:
        super().__init__()
        self._departures, self._slack = departures, slack

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._left = {name: deque(group) for name, group in _by_actor(self._departures).items()}
        self._late: dict[str, int] = {}

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        default = ready[0] if current is None else current
        turn = self.stage.turn
        left = self._left.get(turn.name)
        if not left:
            return default
        at = self._at(turn)
        while left and left[0].at + self._slack < at:
            left.popleft()
        for place, departure in enumerate(islice(left, AHEAD)):
            if departure.at - self._slack > at:
                break
            if self._stuck(departure, current) and self._there(departure, at):
                to = next((actor for actor in ready if actor.name == departure.to), None)
                if to is not None:
                    for _ in range(place + 1):
                        left.popleft()
                    self._late[turn.name] = self._late.get(turn.name, 0) + at - departure.at
                    return to
        return default

    def _stuck(self, departure: Departure, current: Actor | None) -> bool:
        """Whether the running actor is stuck if it was in the recording; without slack, also as many times in a row."""
        stops = self.stage.turn.stops if current is None else 0
        return departure.stuck == stops if self._slack == 0 else bool(departure.stuck) == bool(stops)

    def _at(self, actor: Actor) -> int:
        """Estimate how many points the running actor had passed here in the recording."""
        return self.stage.own_step - self._late.get(actor.name, 0)

    def _there(self, departure: Departure, at: int) -> bool:
        doing = describe_operation(self.stage.turn.op)
        if at == departure.at:  # the number of its object may have changed
            return kinds((doing,)) == kinds((departure.doing,))
        return abs(at - departure.at) <= self._slack and doing == departure.doing

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        points = UNREACHED
        at = self._at(current)
        for departure in islice(self._left.get(current.name, ()), AHEAD):
            if not departure.stuck and departure.at + self._slack > at:
                points = min(points, max(1, departure.at - self._slack - at))
        return points


def _by_actor(departures: Sequence[Departure]) -> dict[str, list[Departure]]:
    """Return the departures of each actor, in their order."""
    groups: dict[str, list[Departure]] = {}
    for departure in departures:
        groups.setdefault(departure.actor, []).append(departure)
    return groups
