"""Reordering: the same operations with fewer switches.

A random schedule passes the turn on at places where nothing depends on it. Record which operation happened before which
one, and run the workload under a strategy that keeps this order, but lets the actor that has the turn go on as long as
all that its next operation comes after is done. Where nothing but that order decided what was found, the finding stays,
with those switches only that the order needs. With a slice, operations that did not happen before the last one are put
off until nothing else can be done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.diagnose.trying import Trials
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE, Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.search.execution_order import ExecutionOrder, touches
from ksmactors.interleave.strategies.base import Strategy

ROUNDS_MAX: Final = 6
"""How often the order of what came of it is taken again."""


class _Counting(Observer, ABC):
    """Hears the operations that an order is made of: accesses, attempts to take something, locks taken and given
    back."""

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        kind, obj, field = op
        if kind in (READ, WRITE, ACQUIRE):
            self._add(actor, (READ if kind == ACQUIRE else kind, obj, field))

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self._add(actor, (READ if shared else ACQUIRE, lock, ""))

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        self._add(actor, (READ if shared else RELEASE, lock, ""))

    @abstractmethod
    def _add(self, actor: Actor, op: Operation) -> None:
        """An actor has done such an operation."""


class OperationClocks(_Counting):
    """Which operations of a schedule happened before which: for each actor's operations in order, how many of each
    actor had happened by then."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.clocks: dict[str, list[list[int]]] = {}
        self._happened = ExecutionOrder(patient=False)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        happened = self._happened
        if happened.actors and happened.actors[-1] == actor.number:
            happened.also(touches((kind, obj, field)))

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self._happened.after(woken.number, actor.number)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self._happened.start(None if actor is None else actor.number)
        self.names.append(child.name)
        self.clocks[child.name] = []

    @override
    def _add(self, actor: Actor, op: Operation) -> None:
        self._happened.add(actor.number, op, touches(op), -1)
        self.clocks[actor.name].append(self._happened.clocks[-1])

    def up_to(self, actors: Sequence[str]) -> list[int]:
        """How many operations of each actor had happened by the last ones of these actors."""
        last = [self.clocks[name][-1] for name in actors if self.clocks.get(name)]
        return [
            max((clock[number] for clock in last if number < len(clock)), default=0)
            for number in range(len(self.names))
        ]


class _OperationCounts(_Counting):
    """How many operations each actor has done."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    @override
    def _add(self, actor: Actor, op: Operation) -> None:
        self.done[actor.name] = self.done.get(actor.name, 0) + 1


class Reordered(Strategy):
    """Keeps an order with few switches: the actor that has the turn goes on while it may, else the one that it waits
    for does, else the lowest-numbered one that may.

    Args:
        order: what happened before what.
        progress: what has been done in this schedule; it must observe the schedule.
        wanted: how many operations of each actor are needed; None: all.
    """

    name: ClassVar[str] = "reordered"
    summary: ClassVar[str] = "keeps a recorded order of dependent operations with few switches"
    fair = False

    def __init__(self, order: OperationClocks, progress: _OperationCounts, wanted: Sequence[int] | None) -> None:
        super().__init__()
        self._order, self._done = order, progress.done
        self._numbers = {name: number for number, name in enumerate(order.names)}
        self._wanted = wanted

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        default = ready[0] if current is None else current
        waited = self._waited_for(default.name)
        if waited is None:
            return default
        able = [actor for actor in ready if self._waited_for(actor.name) is None]
        by_name = {actor.name: actor for actor in able}
        for _ in self._order.names:
            if waited is None or waited in by_name:
                break
            waited = self._waited_for(waited)
        return by_name.get(waited or "") or (able[0] if able else default)

    def _waited_for(self, name: str) -> str | None:
        """An actor that must do something before this one goes on, itself if its next operation is not needed; None if
        there is none."""
        number, clocks = self._numbers.get(name), self._order.clocks.get(name, ())
        if number is None:
            return None
        next_one = self._done.get(name, 0)
        if self._wanted is not None and next_one >= self._wanted[number]:
            return name
        if next_one >= len(clocks):
            return None
        for other, count in enumerate(clocks[next_one]):
            if other != number and count > self._done.get(self._order.names[other], 0):
                return self._order.names[other]
        return None


async def fewer_switches(trials: Trials) -> None:
    """Reorder the smallest so far, as long as that leaves fewer departures: only what the finding's actors came to,
    else everything."""
    for _ in range(ROUNDS_MAX):
        order = OperationClocks()
        if not trials.departures or not await trials.watch(order):
            return
        defect = trials.outcome.defect
        slices = (order.up_to(defect.actors if defect is not None else ()), None)
        if not any([await _reordered(trials, order, wanted) for wanted in slices]):
            return


async def _reordered(trials: Trials, order: OperationClocks, wanted: Sequence[int] | None) -> bool:
    progress, before = _OperationCounts(), len(trials.departures)
    taken = await trials.decide(Reordered(order, progress, wanted), progress)
    return taken is not None and taken < before
