"""Base class of strategies that wrap another one."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Stage, Strategy


class Delegating(Strategy):
    """Base of strategies that delegate to another one, `inner`. Forwards everything but `begin`."""

    inner: Strategy

    @property  # type: ignore[explicit-override]  # mypy does not see it on a property with a setter
    @override
    def stage(self) -> Stage:
        """The conductor."""
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = self.inner.stage = stage

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return self.inner.choose(ready, current)

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return self.inner.horizon(ready, current)

    @override
    def stayed(self, points: int) -> None:
        self.inner.stayed(points)

    @override
    def yielded(self, actor: Actor) -> None:
        self.inner.yielded(actor)
