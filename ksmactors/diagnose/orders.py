"""Orders between two events of different actors: record them in one schedule, enforce them in others.

An event is named so that other schedules have it too: the actor, what it does to which object, and how many times it
has done the same before. A lock is taken when it is acquired, not when an actor begins to wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Final, NamedTuple

from typing_extensions import override

from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, YIELD, Actor, Operation
from ksmactors.interleave.labels import VERBS, describe_operation, label_of
from ksmactors.interleave.locks import would_wait
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.search.execution_order import touches
from ksmactors.interleave.strategies.base import Strategy, below

HELD_MAX: Final = 20_000
"""Choices for which an actor is held back at one event, at most: the earlier event may never come."""


class Occurrence(NamedTuple):
    """An actor does something for the `nth` time, from 1; `doing` in words, as `labels.describe_operation` has it."""

    actor: str
    doing: str
    nth: int


class Order(NamedTuple):
    """One event before another one."""

    before: Occurrence
    after: Occurrence


class Events(Observer):
    """Counts how often each actor has done what. Locks count when they are acquired, and when they are released; a
    lock that is tried for and not acquired is only read."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self._trying: tuple[Actor, Operation] | None = None

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        self._tried()
        if op[0] == ACQUIRE and hasattr(op[1], "owner"):
            self._trying = actor, op
        else:
            self.add(actor, op)

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self._trying = None
        self.add(actor, (ACQUIRE, lock, ""))

    @override
    def blocked(self, actor: Actor, on: object) -> None:
        self._trying = None  # it will try again

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self._tried()

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        self._tried()

    def _tried(self) -> None:
        """An attempt to take a lock that neither succeeded nor waited has failed."""
        if self._trying is not None:
            (actor, (_, lock, field)), self._trying = self._trying, None
            self.add(actor, (READ, lock, field))

    def add(self, actor: Actor, op: Operation) -> Occurrence:
        """Count an event and return its name."""
        key = actor.name, doing_of(op)
        nth = self.counts[key] = self.counts.get(key, 0) + 1
        return Occurrence(*key, nth)

    def next_of(self, actor: Actor) -> tuple[Occurrence, ...]:
        """The events that an actor may be about to do: a lock is acquired or only read."""
        kind, obj, field = actor.op
        ops = [actor.op, (READ, obj, field)] if kind == ACQUIRE and hasattr(obj, "owner") else [actor.op]
        doings = [doing_of(op) for op in ops]
        return tuple(Occurrence(actor.name, doing, self.counts.get((actor.name, doing), 0) + 1) for doing in doings)

    def happened(self, event: Occurrence) -> bool:
        """Whether an event is done."""
        return self.counts.get((event.actor, event.doing), 0) >= event.nth


def doing_of(op: Operation) -> str:
    """What an event does, in words: an operation, or the end of a wait for something that has no name."""
    if op[0] in (ACQUIRE, YIELD) and not label_of(op):  # the cheap question first: this is asked at every choice
        return "goes on"
    return describe_operation(op)


@dataclass(slots=True)
class _Uses:
    """The last writer of a field, and who has read it since."""

    writer: tuple[Actor, Occurrence] | None = None
    readers: list[tuple[Actor, Occurrence]] = field(default_factory=list)


class Conflicts(Events):
    """The order in which conflicting events of different actors happened, each with the one right before it.

    An event stands for all that its actor does until its next one. No other actor runs in between.

    Attributes:
        position: when each event happened, from 0.
        orders: the orders, by their later event.
        functions: the kernel function of each event.
    """

    def __init__(self) -> None:
        super().__init__()
        self.position: dict[Occurrence, int] = {}
        self.orders: dict[Order, None] = {}
        self.functions: dict[Occurrence, str] = {}
        self._uses: dict[str, _Uses] = {}
        self._latest: dict[int, Occurrence] = {}

    @override
    def add(self, actor: Actor, op: Operation) -> Occurrence:
        event = super().add(actor, op)
        self.position[event] = len(self.position)
        self.functions[event] = actor.place or actor.doing
        self._latest[actor.number] = event
        for obj, name, changes in touches(op):
            self._use(actor, event, label_of((op[0], obj, name)), changes=changes)
        return event

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        super().touched(actor, kind, obj, field)
        self._also(actor, (kind, obj, field), changes=kind not in (READ, YIELD))

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        super().released(actor, lock, shared)
        self._also(actor, (RELEASE, lock, ""), changes=not shared)

    def _also(self, actor: Actor, op: Operation, *, changes: bool) -> None:
        """An actor's latest event uses something else, too."""
        event = self._latest.get(actor.number)
        if event is not None:
            self._use(actor, event, label_of(op), changes=changes)

    def _use(self, actor: Actor, event: Occurrence, label: str, *, changes: bool) -> None:
        if not label:
            return
        uses = self._uses.setdefault(label, _Uses())
        if uses.writer is not None:
            self._order(uses.writer, actor, event)
        if not changes:
            uses.readers.append((actor, event))
            return
        for reader in uses.readers:
            self._order(reader, actor, event)
        uses.writer, uses.readers = (actor, event), []

    def _order(self, before: tuple[Actor, Occurrence], actor: Actor, event: Occurrence) -> None:
        if before[0] is not actor and not event.doing.startswith(VERBS[RELEASE]):  # a release waits for nothing
            self.orders[Order(before[1], event)] = None


class Enforcing(Strategy):
    """Chooses at random among the actors that no order holds back.

    An actor whose next event is the later one of an order waits until the earlier one is done. If all ready actors are
    held back, or one has been for `HELD_MAX` choices, an order is given up: it cannot be kept in this schedule.

    Args:
        orders: what is enforced.
        events: counts the events of this schedule; to be its observer.
    """

    name: ClassVar[str] = "enforcing"
    summary: ClassVar[str] = "random, but keeps given orders between events"

    def __init__(self, orders: Sequence[Order], events: Events) -> None:
        super().__init__()
        self._orders, self._events = tuple(orders), events

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._later: dict[Occurrence, list[Occurrence]] = {}
        for order in self._orders:
            self._later.setdefault(order.after, []).append(order.before)
        self._actors = {event.actor for event in self._later}
        self._held: dict[Occurrence, int] = {}

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        free = [actor for actor in ready if not self._holds_back(actor)]
        if not free:
            for event in (event for actor in ready for event in self._events.next_of(actor)):
                self._later.pop(event, None)
        moving = [actor for actor in free if actor.op[0] != ACQUIRE or not would_wait(actor)]
        among = moving or free or ready
        return among[below(self.rng, len(among))]

    def _holds_back(self, actor: Actor) -> bool:
        if actor.name not in self._actors:
            return False
        return any(self._must_wait(event) for event in self._events.next_of(actor))

    def _must_wait(self, event: Occurrence) -> bool:
        """Whether an earlier event is not done yet. Counts how often an event was held back for that."""
        earlier = self._later.get(event)
        if earlier is None or all(self._events.happened(one) for one in earlier):
            return False
        self._held[event] = self._held.get(event, 0) + 1
        if self._held[event] > HELD_MAX:
            del self._later[event]
            return False
        return True
