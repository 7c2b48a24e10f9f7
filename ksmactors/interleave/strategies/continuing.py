"""Continuations: a recorded schedule up to some point, and another strategy from there on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.schedule_string import Schedule
from ksmactors.interleave.strategies.base import Stage, Strategy
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.tape import Tape


class ContinuedTape(ReplayTape):
    """A tape with the draws of a recorded schedule until `leave`, and with random ones of a seed from then on."""

    def __init__(self, schedule: Schedule, seed: int) -> None:
        super().__init__(schedule)
        self._seed = seed
        self._left = False

    def leave(self) -> None:
        """Draw at random from now on."""
        self._left = True

    @override
    def draw(self, label: str, n: int) -> int:
        return Tape.draw(self, label, n) if self._left else super().draw(label, n)


class Continuing(Strategy):
    """Follows a recorded schedule until `leave`, then lets another strategy choose.

    That one is asked at the next choice. For it, the schedule begins there.
    """

    name: ClassVar[str] = "continuing"
    summary: ClassVar[str] = "a recorded schedule up to a point, then another strategy"

    def __init__(self, schedule: Schedule, inner: Strategy) -> None:
        super().__init__()
        self._replay, self._inner = Replay(schedule), inner
        self._left = False
        self.thorough = self._replay.thorough

    def leave(self) -> None:
        """Leave the recording: from now on the other strategy chooses."""
        self._left = True

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._left = False
        self._replay.begin(rng)
        self._inner.begin(rng)

    @property  # type: ignore[explicit-override]  # mypy does not see it on a property with a setter
    @override
    def stage(self) -> Stage:
        """The conductor."""
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = self._replay.stage = self._inner.stage = stage

    @property
    @override
    def fair(self) -> bool:  # type: ignore[override]  # see Replay
        return self._inner.fair if self._left else self._replay.fair

    @override
    def concluded(self) -> Mapping[str, int]:
        return self._inner.concluded()

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return (self._inner if self._left else self._replay).choose(ready, current)

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return self._inner.horizon(ready, current) if self._left else 1  # `leave` holds from the very next point

    @override
    def stayed(self, points: int) -> None:
        (self._inner if self._left else self._replay).stayed(points)

    @override
    def yielded(self, actor: Actor) -> None:
        if self._left:
            self._inner.yielded(actor)
