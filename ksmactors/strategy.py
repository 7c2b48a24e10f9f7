"""What the author of a strategy imports: the base class, actors and their operations, parameters.

    from collections.abc import Sequence

    from ksmactors.strategy import Actor, Int, Strategy, below

    class NewestFirst(Strategy):
        name = "newest_first"
        summary = "the actor that was started last, but for one choice in so many"
        others = Int(8, "one choice in so many is drawn from all", low=1)

        def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
            if below(self.rng, self.others) == 0:
                return ready[below(self.rng, len(ready))]
            return ready[-1]

An operation is (kind, object, field); the kinds are READ to START. `races` says whether the order of two can matter.
"""

from __future__ import annotations

from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, START, WRITE, YIELD, Actor, Operation, races
from ksmactors.interleave.locks import would_wait
from ksmactors.interleave.profile import Profile
from ksmactors.interleave.strategies.base import Stage, Strategy, below
from ksmactors.parameters import Bool, FilePath, Int, Parameter, Str

__all__ = [
    "ACQUIRE", "READ", "RELEASE", "START", "WRITE", "YIELD", "Actor", "Bool", "FilePath", "Int", "Operation",
    "Parameter", "Profile", "Stage", "Str", "Strategy", "below", "races", "would_wait",
]  # fmt: skip
