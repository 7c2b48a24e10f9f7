"""The random walk: at every choice each ready actor is equally likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy, below


class RandomWalk(Strategy):
    """Picks uniformly among the ready actors.

    Finds bugs that need few ordered steps. It mixes so finely that no actor gets far ahead: an order in which one actor
    takes n steps while another waits has probability 2**-n.
    """

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "each ready actor equally likely at every choice"

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return ready[below(self.rng, len(ready))]
