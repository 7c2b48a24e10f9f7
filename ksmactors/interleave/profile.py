"""Profiles: how many operations each actor does in one schedule, and on which objects. Some strategies weigh choices by
it.

A profile comes from one calibration schedule that draws nothing. It therefore belongs to the workload, not to a seed,
and a seed still determines a schedule. Actors are keyed by name and objects by label, which other schedules share.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import override

from ksmactors.interleave.actor import YIELD, Actor, Operation
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.observer import Observer


@dataclass(slots=True)
class Profile(Observer):
    """Counts operations in a schedule that it observes. All keys are in the order of their first appearance.

    `events` counts the operations of each actor, with or without a choice; `parents` has the actor that spawned it;
    `homes` its CPU and node. `accesses` counts, for each label, the operations of each actor on it.
    """

    events: dict[str, int] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    homes: dict[str, tuple[int, int]] = field(default_factory=dict)
    accesses: dict[str, dict[str, int]] = field(default_factory=dict)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self.events.setdefault(child.name, 0)
        self.homes[child.name] = child.cpu, child.node
        if actor is not None:
            self.parents.setdefault(child.name, actor.name)

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        if op[0] == YIELD:
            return
        self.events[actor.name] += 1
        label = label_of(op)
        if label:
            counts = self.accesses.setdefault(label, {})
            counts[actor.name] = counts.get(actor.name, 0) + 1

    @property
    def total(self) -> int:
        """Return the operations of all actors: at least as many as there were choices."""
        return sum(self.events.values())

    def shared(self, across: str = "actors") -> dict[str, dict[str, int]]:
        """Return the `accesses` of objects used by two actors or more; of different `cpus` or `nodes` if `across` says
        so."""
        return {
            label: counts
            for label, counts in self.accesses.items()
            if len({self._side(actor, across) for actor in counts}) > 1
        }

    def _side(self, actor: str, across: str) -> object:
        if across == "actors":
            return actor
        cpu, node = self.homes[actor]
        return cpu if across == "cpus" else node


class EventBudget:
    """How much each actor still has to do, what it will leave to its children included, as far as a profile has it.

    An actor that is not in the profile gets the smallest count in it.

    Args:
        counts: operations of each actor in the calibration, by name.
        parents: the actor that spawned each actor.
    """

    def __init__(self, counts: dict[str, int], parents: dict[str, str]) -> None:
        self._totals = dict(counts)
        self._parents = parents
        self._unknown = min((count for count in counts.values() if count), default=1)
        for name in reversed(counts):  # children are after their parents
            parent = parents.get(name)
            if parent is not None:
                self._totals[parent] = self._totals.get(parent, 0) + self._totals[name]
        self._left: list[int] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many actors have been admitted."""
        return len(self._left)

    def parent(self, actor: Actor) -> int:
        """Return the number of the actor's parent in the calibration, or -1 if that one is not in this schedule."""
        return self._numbers.get(self._parents.get(actor.name, ""), -1)

    def admit(self, actor: Actor) -> int:
        """Take the operations of the next actor, by number, from its parent's. Returns how many."""
        total = self._totals.get(actor.name, self._unknown)
        parent = self.parent(actor)
        if parent >= 0:
            self.spend(parent, total)
        self._numbers.setdefault(actor.name, actor.number)
        self._left.append(total)
        return total

    def left(self, number: int) -> int:
        """Return the operations an actor has left, at least 1 while it lives."""
        return max(1, self._left[number])

    def spend(self, number: int, count: int = 1) -> None:
        """Count operations that an actor has done."""
        self._left[number] -= count
