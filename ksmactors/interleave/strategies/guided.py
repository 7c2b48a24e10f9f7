"""Coverage-guided mutation of tapes (after the Fest scheduler of Fray).

Partial order sampling whose random numbers come from a tape. An ordering is a pair of racing operations of two actors,
on one object, one right after the other. If a schedule reaches an ordering that is new, its tape is kept; later
schedules take a kept tape and replace a few of its draws.

This learns from earlier schedules, yet a seed must determine a schedule. So seeds come in families: a schedule learns
from the smaller seeds of its family and from nothing else. A campaign runs a family in order, at no extra cost; a
single seed needs the earlier seeds of its family to be run first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor, Operation, races
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.strategies.base import below
from ksmactors.interleave.strategies.delegating import Delegating
from ksmactors.interleave.strategies.pos import Pos
from ksmactors.parameters import Int

FRESH: Final = 2
"""One in this many schedules uses no kept tape, so that orderings unreachable from the kept ones can be found."""

Ordering = tuple[str, str, int, str, int]
"""Label, then (actor, kind) of an operation on the labelled object and (actor, kind) of the next one."""


class Guided(Delegating):
    """Partial order sampling on mutated tapes; learns from the smaller seeds of a family."""

    name: ClassVar[str] = "guided"
    summary: ClassVar[str] = "partial order sampling that goes on from schedules which reached a new ordering"
    family = Int(100, "seeds that learn from each other", low=1)
    every = Int(1, "how far the seeds of one workload are apart: the number of workloads of the campaign", low=1)
    draws = Int(5, "draws that a mutation replaces", low=1)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.inner = Pos()
        self.kept: list[list[int]] = []
        self._orderings: set[Ordering] = set()

    @override
    def warmup_seeds(self, seed: int) -> Sequence[int]:
        size = self.family * self.every
        return range(seed // size * size + seed % self.every, seed, self.every)

    @override
    def concluded(self) -> Mapping[str, int]:
        if self._new:
            self.kept.append(self._tape)
        return {}

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._new = 0
        self._last: dict[str, tuple[Actor, Operation]] = {}
        taken = _ContinuedRandom(rng, self._mutated(rng))
        self._tape = taken.drawn
        self.inner.begin(taken)

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        chosen = self.inner.choose(ready, current)
        op = chosen.op
        label = label_of(op)
        if label:
            before = self._last.get(label)
            if before is not None and before[0] is not chosen and races(before[1], op):
                self._note((label, before[0].name, before[1][0], chosen.name, op[0]))
            self._last[label] = chosen, op
        return chosen

    def _note(self, ordering: Ordering) -> None:
        if ordering not in self._orderings:
            self._orderings.add(ordering)
            self._new += 1

    def _mutated(self, rng: Random) -> list[int]:
        """Return the first draws of the new schedule."""
        if not self.kept or not below(rng, FRESH):
            return []
        tape = list(self.kept[below(rng, len(self.kept))])
        for _ in range(min(self.draws, len(tape))):
            tape[below(rng, len(tape))] = rng.getrandbits(_ContinuedRandom.bits)
        return tape


class _ContinuedRandom(Random):
    """Random numbers that were drawn before, followed by new ones. `drawn` has all that were taken."""

    bits: ClassVar[int] = 64

    def __init__(self, rng: Random, first: list[int]) -> None:
        super().__init__(0)
        self._rng, self._first = rng, first
        self.drawn: list[int] = []

    @override
    def getrandbits(self, k: int) -> int:
        place = len(self.drawn)
        value = self._first[place] if place < len(self._first) else self._rng.getrandbits(self.bits)
        self.drawn.append(value)
        return value >> (self.bits - k)
