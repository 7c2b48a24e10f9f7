"""Wrappers: strategies that observe another one.

`metrics:of=pos` is `pos`, counted; what follows `of=` is the whole text of the other strategy, so it comes last:
`recording:to=choices.txt,of=pct:depth=2`. Wrappers can be stacked: `determinism:of=metrics:of=pos`. A wrapper draws
nothing, so the schedule of a seed is that of the wrapped strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.delegating import Delegating
from ksmactors.interleave.strategies.faults import wrong_choice
from ksmactors.parameters import Str


class Wrapper(Delegating):
    """Base of wrappers: `chose` and `kept` are called for every choice, asked for or not."""

    of = Str("portfolio", "the strategy that decides; its text may have parameters, so this comes last")

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._ready: Sequence[Actor] = ()
        self._current: Actor | None = None

    def wrap(self, inner: Strategy) -> None:
        """Delegate to `inner`, the strategy that `of` names. `registry.parse` calls this before anything else.

        Raises:
            UsageError: this wrapper cannot wrap it.
        """
        self.inner = inner
        self.wants_profile = inner.wants_profile

    @override
    def warmup_seeds(self, seed: int) -> Sequence[int]:
        return self.inner.warmup_seeds(seed)

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        if self.wants_profile:
            self.inner.profile = self.profile
        self.inner.begin(rng)

    @override
    def concluded(self) -> Mapping[str, int]:
        return self.inner.concluded()

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        chosen = self.inner.choose(ready, current)
        try:
            self.chose(ready, current, chosen)
        except Exception:
            if chosen not in ready:
                raise wrong_choice(self, ready, chosen) from None
            raise
        return chosen

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        self._ready, self._current = tuple(ready), current
        return self.inner.horizon(ready, current)

    @override
    def stayed(self, points: int) -> None:
        if self._current is not None:
            self.kept(self._ready, self._current, points)
        self.inner.stayed(points)

    def chose(self, ready: Sequence[Actor], current: Actor | None, chosen: Actor) -> None:
        """Called with a choice, before the chosen actor runs."""

    def kept(self, ready: Sequence[Actor], current: Actor, points: int) -> None:
        """Called when `current` has kept the turn for that many choices without being asked."""
