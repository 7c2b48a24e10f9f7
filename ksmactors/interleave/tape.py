"""The choice tape: everything drawn in a schedule, in order.

A choice of the next actor is recorded with the ready set it was made from, as a bit mask of actor numbers; a draw with
its label and range. A replay that meets another ready set or another draw has diverged and raises ReplayDiverged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple, TypeAlias

from typing_extensions import override

from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.strategies.base import Stage, below


class Departed(NamedTuple):
    """A choice that departed from the default order. In that order the actor with the turn continues; when it cannot,
    the lowest-numbered ready actor runs.

    Attributes:
        choice: its index among all choices.
        actor: the actor that had the turn.
        at: how many points it had passed in all its turns.
        stuck: 0 if it could have continued; else (it was blocked, had ended, or span) how many times in a row it had
            been stuck at that point.
        op: its next operation, or what it waits for.
        chosen: the actor that got the turn.
    """

    choice: int
    actor: Actor
    at: int
    stuck: int
    op: Operation
    chosen: Actor


class Tape:
    """Records a schedule.

    `turns` has one (ready mask, chosen number) for each choice among two or more actors; `departures` those that depart
    from the default order. `drew` has the actor of each of the `draws`. `stage` is the conductor that is recorded; the
    conductor sets it.
    """

    stage: Stage

    def __init__(self, seed: int) -> None:
        self.turns: list[tuple[int, int]] = []
        self._departures: list[tuple[int, Actor, int, int, Operation, Actor]] = []
        self.draws: list[tuple[str, int, int]] = []
        self.drew: list[Actor] = []
        self._seed = seed
        self._rng: Random | None = None

    @property
    def departures(self) -> list[Departed]:
        """Return the choices that depart from the default order. They are made here: half of the choices of a schedule
        may be such, and most schedules are never asked for them."""
        return list(map(Departed._make, self._departures))

    def departed(self, actor: Actor, at: int, stuck: int, chosen: Actor) -> None:
        """Record that the next choice to be recorded departs from the default order (see `Departed`)."""
        self._departures.append((len(self.turns), actor, at, stuck, actor.op, chosen))

    def stayed(self, mask: int, number: int, points: int) -> None:
        """Record points at which the turn stayed with `number` without asking the strategy."""
        self.turns.extend([(mask, number)] * points)

    def draw(self, label: str, n: int) -> int:
        """Draw a number in 0..n-1 and record it under its label."""
        if self._rng is None:  # many schedules draw nothing
            self._rng = Random(self._seed * 2)  # the strategy has the odd stream, so draws do not depend on it
        return self._drawn(label, n, below(self._rng, n))

    def _drawn(self, label: str, n: int, value: int) -> int:
        self.draws.append((label, n, value))
        self.drew.append(self.stage.turn)
        return value


class ScriptedTape(Tape):
    """A tape with given draws: for each label the values in order, and 0 after the last."""

    def __init__(self, draws: Mapping[str, Sequence[int]]) -> None:
        super().__init__(0)
        self._left = {label: list(values) for label, values in draws.items()}

    @override
    def draw(self, label: str, n: int) -> int:
        left = self._left.get(label)
        return self._drawn(label, n, min(left.pop(0), n - 1) if left else 0)


DrawsOfActors: TypeAlias = Mapping[tuple[str, str], Sequence[int]]
"""Drawn values in order, by the name of the actor that drew them and the label."""


class ActorTape(Tape):
    """A tape with given draws for each actor, independent of what other actors draw.

    Values that run out start again from the first: an actor that drew only 0 from then on might never sleep. An actor
    without given values draws 0.
    """

    def __init__(self, draws: DrawsOfActors) -> None:
        super().__init__(0)
        self._given = draws
        self._used: dict[tuple[str, str], int] = {}

    @override
    def draw(self, label: str, n: int) -> int:
        key = (self.stage.turn.name, label)
        given, used = self._given.get(key, ()), self._used.get(key, 0)
        self._used[key] = used + 1
        return self._drawn(label, n, min(given[used % len(given)], n - 1) if given else 0)


def draws_of_actors(tape: Tape) -> dict[tuple[str, str], list[int]]:
    """Return the draws on a tape in the form that ActorTape takes."""
    values: dict[tuple[str, str], list[int]] = {}
    for actor, (label, _, value) in zip(tape.drew, tape.draws, strict=True):
        values.setdefault((actor.name, label), []).append(value)
    return values


def strategy_rng(seed: int) -> Random:
    """Return the random stream of a strategy for a schedule."""
    return Random(seed * 2 + 1)
