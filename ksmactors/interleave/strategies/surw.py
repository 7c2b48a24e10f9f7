"""Selectively uniform random walk (Zhao, Wolff, Mathur, Roychoudhury: Selectively Uniform Concurrency Testing, ASPLOS
2025).

A long run has too many interleavings to sample evenly, but the orders of the operations on one object can be sampled
so. Each schedule has an *interesting* object: the user's choice, or a draw from the objects that two actors used in a
calibration schedule, busy ones more often. Its operations are chosen so that each order of them is equally likely (as
in `urw`, with the operations that each actor has left on it). All other operations get a random priority each.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import UsageError
from ksmactors.interleave.actor import ACQUIRE, Actor, Operation
from ksmactors.interleave.labels import kinds, label_of, matches
from ksmactors.interleave.locks import would_wait
from ksmactors.interleave.profile import EventBudget
from ksmactors.interleave.strategies.base import Strategy, below
from ksmactors.interleave.strategies.pos import PRIORITY_BITS
from ksmactors.interleave.strategies.urw import drawn
from ksmactors.parameters import Str

EVEN: Final = 4
"""One in this many schedules draws among all shared objects alike, so that busy ones do not get them all."""


class Surw(Strategy):
    """Samples evenly the orders of the operations on an interesting object."""

    name: ClassVar[str] = "surw"
    summary: ClassVar[str] = (
        "all orders of the operations on one shared object equally likely; another object for each schedule"
    )
    wants_profile = True
    on = Str("", "interesting objects, such as page_lock or stable_tree/1 (joined by +); by default one is drawn")
    across = Str("actors", "the drawn object is shared by different ones of these", choices=("actors", "cpus", "nodes"))

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._names, counts = self._interesting()
        self._budget = EventBudget(counts, self.profile.parents)
        self._next = -1
        self._held: set[int] = set()
        self._drawn: dict[int, tuple[Operation, int, bool]] = {}
        self._matters: dict[str, bool] = {}

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if len(self.stage.actors) > len(self._budget):
            self._admit_new()
        held, able = self._held, ready
        while True:
            actor, matters = self._highest(able)
            if actor is None:
                if not held:  # all wait for each other, or for a sleeper
                    return ready[0]
                # The next actor does not arrive, perhaps blocked on a lock of one that is held back: draw another one.
                self._forget()
                able = [actor for actor in ready if not would_wait(actor)]
                continue
            if not matters:
                return actor
            if self._next < 0:
                self._next = self._successor(able)
            if actor.number == self._next:
                self._budget.spend(actor.number)
                self._forget()
                return actor
            held.add(actor.number)

    def _highest(self, ready: Sequence[Actor]) -> tuple[Actor | None, bool]:
        """Return the actor whose pending operation has the highest priority, of those that are neither held back nor
        blocked, and whether it is interesting; of equal ones the lowest-numbered."""
        best, best_priority, matters = None, -1, False
        priorities, held = self._drawn, self._held
        for actor in ready:
            op, number = actor.op, actor.number
            known = priorities.get(number)
            if known is None or known[0] is not op:
                known = self._draw_priority(actor)
            if known[1] <= best_priority or number in held or (op[0] == ACQUIRE and would_wait(actor)):
                continue
            best, best_priority, matters = actor, known[1], known[2]
        return best, matters

    @override
    def yielded(self, actor: Actor) -> None:
        # It waits for another actor, which may be held back for its sake.
        self._forget()

    def _successor(self, ready: Sequence[Actor]) -> int:
        """Draw the actor that does the next interesting operation, of those that are not held back."""
        return drawn(self.rng, [actor for actor in ready if actor.number not in self._held], self._budget).number

    def _forget(self) -> None:
        self._next = -1
        self._held.clear()

    def _draw_priority(self, actor: Actor) -> tuple[Operation, int, bool]:
        """Return an actor's new operation, its priority, and whether it is interesting."""
        label = label_of(actor.op)
        matters = self._matters.get(label)
        if matters is None:
            matters = self._matters[label] = any(matches(label, name) for name in self._names)
        known = self._drawn[actor.number] = actor.op, self.rng.getrandbits(PRIORITY_BITS), matters
        return known

    def _admit_new(self) -> None:
        """Give new actors a part of what their parents had left, and perhaps with it their role as the next one."""
        budget = self._budget
        for actor in self.stage.actors[len(budget) :]:
            parent = budget.parent(actor)
            before = budget.left(parent) if parent >= 0 else 0
            taken = budget.admit(actor)
            if parent >= 0 and parent == self._next and below(self.rng, before) < taken:
                self._next = actor.number

    def _interesting(self) -> tuple[list[str], dict[str, int]]:
        """Return the labels that are interesting in this schedule, and how often each actor used them in the
        calibration."""
        accesses = self.profile.accesses
        names = self.on.split("+") if self.on else self._draw()
        for name in names:
            if not any(matches(label, name) for label in accesses):
                there_are = ", ".join(kinds(accesses)) or "nothing"
                raise UsageError(f"strategy surw: nothing here is called {name!r}; there are: {there_are}")
        counts = dict.fromkeys(self.profile.events, 0)
        for label, by_actor in accesses.items():
            if any(matches(label, name) for name in names):
                for actor, count in by_actor.items():
                    counts[actor] += count
        return names, counts

    def _draw(self) -> list[str]:
        """Draw one label, busy ones more often; [] if nothing is shared."""
        shared = {label: sum(counts.values()) for label, counts in self.profile.shared(self.across).items()}
        if not shared and self.across != "actors":
            raise UsageError(f"strategy surw: nothing is shared across {self.across} here; use across=actors")
        if shared and not below(self.rng, EVEN):
            return [list(shared)[below(self.rng, len(shared))]]
        ticket = below(self.rng, sum(shared.values())) if shared else 0
        for label, count in shared.items():
            ticket -= count
            if ticket < 0:
                return [label]
        return []
