"""The portfolio: another strategy for each schedule.

No strategy is the best for all shapes of bugs: only priorities that last (`pct`) starve somebody for long, only
fresh ones (`pos`, `random`) mix finely, and long equal slices (`round_robin`) find what neither does. So a campaign
spreads its schedules.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy, below
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.strategies.pos import Pos
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.strategies.round_robin import RoundRobin

SHARES: Final[tuple[tuple[int, type[Strategy]], ...]] = ((50, Pos), (25, Pct), (15, RandomWalk), (10, RoundRobin))
"""Percent of the schedules that each strategy gets."""

LOG_QUANTUM_MAX: Final = 10
"""The quantum of round robin is drawn from all octaves up to this one: from one point to about a page's scan."""

FAIR_AFTER: Final = 20_000
"""Steps after which random walk takes over (a fair suffix): several times what a built-in workload takes. Lasting
priorities and lockstep can keep an actor from ever getting ahead of another; chance cannot."""


class Portfolio(Strategy):
    """Draws a strategy for each schedule, and does what that one says; the rest of a very long one is random walk."""

    name: ClassVar[str] = "portfolio"
    summary: ClassVar[str] = "draws for each schedule: " + ", ".join(f"{cls.name} {share} %" for share, cls in SHARES)

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.chosen = _drawn(rng)
        self.chosen.begin(rng)

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if self.stage.step > FAIR_AFTER and not isinstance(self.chosen, RandomWalk):
            self.chosen = RandomWalk()
            self.chosen.begin(self.rng)
        return self.chosen.choose(ready, current)

    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        until_fair = max(1, FAIR_AFTER + 1 - self.stage.step)
        return min(self.chosen.horizon(ready, current), until_fair)

    def stayed(self, points: int) -> None:
        self.chosen.stayed(points)

    def yielded(self, actor: Actor) -> None:
        self.chosen.yielded(actor)


def _drawn(rng: Random) -> Strategy:
    tickets = [cls for share, cls in SHARES for _ in range(share)]
    cls = tickets[below(rng, len(tickets))]
    if cls is RoundRobin:
        octave = 1 << below(rng, LOG_QUANTUM_MAX)
        return RoundRobin(quantum=octave + below(rng, octave))
    return cls()
