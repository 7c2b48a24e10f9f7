"""The choice tape: everything that is drawn in a schedule, in order.

A choice of who moves is recorded with the ready set it was made from, as a bit mask of actor numbers; a
draw with its label and range. A replay that meets another ready set or another draw has diverged, and says so.
"""

from __future__ import annotations

from random import Random

from ksmactors.interleave.strategies.base import Stage, below


class Tape:
    """Records a schedule. `turns` has one (ready mask, chosen number) for each choice among two or more.

    `stage` is the conductor it records for, which sets it.
    """

    stage: Stage

    def __init__(self, seed: int) -> None:
        self.turns: list[tuple[int, int]] = []
        self.draws: list[tuple[str, int, int]] = []
        self._rng = Random(seed * 2)  # the strategy has the odd stream: what is drawn does not depend on it

    def turn(self, mask: int, chosen: int) -> None:
        """Record who was chosen."""
        self.turns.append((mask, chosen))

    def stayed(self, mask: int, number: int, points: int) -> None:
        """Record points at which the turn stayed with `number` unasked."""
        self.turns.extend([(mask, number)] * points)

    def draw(self, label: str, n: int) -> int:
        """Draw a number in 0..n-1 and record it under its label."""
        value = below(self._rng, n)
        self.draws.append((label, n, value))
        return value


def strategy_rng(seed: int) -> Random:
    """The random stream that a strategy gets for a schedule."""
    return Random(seed * 2 + 1)
