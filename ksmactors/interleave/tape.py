"""The choice tape: everything that is drawn in a schedule, in order.

A choice of who moves is recorded with the ready set it was made from, as a bit mask of actor numbers; a
draw with its label and range. A replay that meets another ready set or another draw has diverged, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.strategies.base import Stage, below


class Departed(NamedTuple):
    """A choice that departed from the default order, in which the actor that has the turn goes on, and when it cannot,
    the lowest-numbered ready one.

    Attributes:
        choice: its place among all choices.
        actor: who had the turn.
        at: how many points it had passed in all its turns.
        stuck: whether it could not have gone on: it was blocked, had ended, or span.
        op: what it was about to do, or waits for.
        chosen: who got the turn.
    """

    choice: int
    actor: Actor
    at: int
    stuck: bool
    op: Operation
    chosen: Actor


class Tape:
    """Records a schedule. `turns` has one (ready mask, chosen number) for each choice among two or more, `departures`
    those of them that depart from the default order.

    `stage` is the conductor it records for, which sets it.
    """

    stage: Stage

    def __init__(self, seed: int) -> None:
        self.turns: list[tuple[int, int]] = []
        self.departures: list[Departed] = []
        self.draws: list[tuple[str, int, int]] = []
        self._seed = seed
        self._rng: Random | None = None

    def turn(self, mask: int, chosen: int) -> None:
        """Record who was chosen."""
        self.turns.append((mask, chosen))

    def departed(self, departure: Departed) -> None:
        """Record that the next choice to be recorded departs from the default order."""
        self.departures.append(departure)

    def stayed(self, mask: int, number: int, points: int) -> None:
        """Record points at which the turn stayed with `number` unasked."""
        self.turns.extend([(mask, number)] * points)

    def draw(self, label: str, n: int) -> int:
        """Draw a number in 0..n-1 and record it under its label."""
        if self._rng is None:  # many a schedule draws nothing
            self._rng = Random(self._seed * 2)  # the strategy has the odd stream: what is drawn does not depend on it
        value = below(self._rng, n)
        self.draws.append((label, n, value))
        return value


class ScriptedTape(Tape):
    """A tape whose draws are given: by label, values in order, and 0 for what is not given."""

    def __init__(self, draws: Mapping[str, Sequence[int]]) -> None:
        super().__init__(0)
        self._left = {label: list(values) for label, values in draws.items()}

    def draw(self, label: str, n: int) -> int:
        left = self._left.get(label)
        value = min(left.pop(0), n - 1) if left else 0
        self.draws.append((label, n, value))
        return value


def strategy_rng(seed: int) -> Random:
    """The random stream that a strategy gets for a schedule."""
    return Random(seed * 2 + 1)
