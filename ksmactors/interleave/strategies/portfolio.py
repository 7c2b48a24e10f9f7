"""The portfolio: another strategy for each schedule.

No strategy is best for all kinds of bugs. Lasting priorities (`pct`), windows (`starvation`) and `surw` starve an actor
for long; fresh priorities (`pos`, `random`) mix finely. So a campaign spreads its schedules over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy, below
from ksmactors.interleave.strategies.delegating import Delegating
from ksmactors.interleave.strategies.fair import Fair
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.strategies.pos import Pos
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.strategies.starvation import Starvation
from ksmactors.interleave.strategies.surw import Surw

SHARES: Final[tuple[tuple[int, type[Strategy]], ...]] = (
    (40, Pos), (30, Surw), (15, Pct), (10, RandomWalk), (5, Starvation),
)  # fmt: skip
"""Percent of the schedules that each strategy gets."""

_TICKETS: Final = tuple(cls for share, cls in SHARES for _ in range(share))


class Portfolio(Fair, Delegating):
    """Draws a strategy for each schedule and delegates to it; the rest of a very long schedule is a random walk."""

    name: ClassVar[str] = "portfolio"
    summary: ClassVar[str] = "draws for each schedule: " + ", ".join(f"{cls.name} {share} %" for share, cls in SHARES)
    wants_profile = True

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.inner = _TICKETS[below(rng, len(_TICKETS))]()
        self.inner.profile = self.profile
        self.inner.begin(rng)

    @override
    def decider(self) -> tuple[Strategy, int]:
        return self.inner, self.fair_after

    @override
    def decide(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return self.inner.choose(ready, current)

    @override
    def ahead(self, ready: Sequence[Actor], current: Actor) -> int:
        return self.inner.horizon(ready, current)
