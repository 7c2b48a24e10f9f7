"""Whether a search has been everywhere: it remembers the traces it ran, and random walks compare theirs."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.search.base import Turn, mask_of
from ksmactors.interleave.search.dpor import Dpor


class Noted(Dpor):
    """Keeps the trace of every schedule: who did what, and after what of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: set[object] = set()

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.labels: list[str] = []

    def did(self, actor: Actor, op: Operation) -> None:
        super().did(actor, op)
        if len(self._happened.actors) > len(self.labels):
            self.labels.append(f"{op[0]} {label_of(op)}")

    def note(self) -> None:
        """The schedule has ended."""
        happened = self._happened
        self.traces.add(frozenset(zip(happened.actors, self.labels, map(tuple, happened.clocks), strict=True)))

    def advance(self) -> bool:
        if self.fresh:
            self.note()
        return super().advance()


class Walk(Noted):
    """Goes anywhere, with long and with short stays, and remembers nothing but where it came."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = Random(seed)

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._stay = self._dice.choice([0.5, 0.8, 0.9, 0.95, 0.98])

    def new_turn(self, ready: Sequence[Actor], current: Actor | None) -> Turn:
        enabled = [actor for actor in ready if not self._held_up(actor)] or list(ready)
        stays = current in enabled and self._dice.random() < self._stay
        chosen = current if current is not None and stays else self._dice.choice(enabled)
        return Turn(mask_of(ready), mask_of(enabled), chosen.number, self.signs(ready))

    def advance(self) -> bool:
        self.note()
        self.path.clear()
        return True
