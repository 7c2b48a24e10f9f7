"""Happens-before in one schedule: vector clocks, and which pairs of operations raced.

Two operations are dependent if they are on the same field of the same object and not both are reads. An operation
happens before a later one if they are dependent or of the same actor, and transitively. What an actor does before it
wakes, starts or hands a lock to another one happens before all that the other one does next. Schedules with the same
happens-before order are one (Mazurkiewicz) trace: they end the same.

A race is a pair of dependent operations of two actors without a third one between them in happens-before order. Only
the other order of such a pair can lead to another trace.
"""

from __future__ import annotations

from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, YIELD, Operation
from ksmactors.interleave.locks import Mutex, SpinLock
from ksmactors.interleave.mailbox import Mailbox

Touch = tuple[object, object, bool]
"""The effect of an operation: object, field, and whether it is a write."""

LOOKING = (READ, YIELD)


def touches(op: Operation) -> tuple[Touch, ...]:
    """Return what an operation touches.

    `vital` of an object's class names the field whose change can end the object's life: every operation on the object
    reads it.
    """
    kind, obj, field = op
    if obj is None or kind == YIELD:
        return ()
    changes = kind not in LOOKING or isinstance(obj, Mailbox)  # the receiver takes the message
    vital = getattr(obj, "vital", None)
    if vital is None or field == vital:
        return ((obj, field, changes),)
    return (obj, field, changes), (obj, vital, False)


def dependent(some: tuple[Touch, ...], others: tuple[Touch, ...]) -> bool:
    """Whether the order of two operations can matter."""
    for obj, field, changes in some:
        for other, its, changed in others:
            if obj is other and field == its and (changes or changed):
                return True
    return False


class _History:
    """The last operations on one field: the last write, and by actor the last read since."""

    __slots__ = ("looks", "write")

    def __init__(self) -> None:
        self.write = -1
        self.looks: dict[int, int] = {}


class ExecutionOrder:
    """The operations of one schedule in order, each with its clock.

    An operation is identified by its index. `actors` has its actor, `nodes` the index in the search's path at which
    that actor was chosen (-1: there was no choice), `clocks` for each actor how many of its operations had happened by
    then, this one included.

    Args:
        patient: an actor is not scheduled while it would only wait for a lock, so a lock races when it is taken, not
            when it is released.
    """

    def __init__(self, *, patient: bool) -> None:
        self.patient = patient
        self.actors: list[int] = []
        self.nodes: list[int] = []
        self.clocks: list[list[int]] = []
        self._now: list[list[int]] = []
        self._fields: dict[tuple[object, object], _History] = {}
        self._unhashable: list[tuple[object, object]] = []
        self._taken: dict[object, int] = {}
        self._given: dict[object, list[int]] = {}

    # -- actors -----------------------------------------------------------------------------------------------

    def start(self, parent: int | None) -> None:
        """Add an actor, the next in number; `parent` starts it."""
        for clock in self._now:
            clock.append(0)
        count = len(self._now) + 1
        self._now.append([0] * count if parent is None else self._now[parent][:])

    def after(self, actor: int, other: int) -> None:
        """Order the next operation of `actor` after all that `other` has done."""
        _join(self._now[actor], self._now[other])

    def settled(self, actor: int) -> bool:
        """Whether all that was done so far happened before the next operation of `actor`."""
        mine = self._now[actor]
        return all(clock[number] <= mine[number] for number, clock in enumerate(self._now))

    def forget(self) -> None:
        """Order all that was done before all that will be done: no race leads back there."""
        self._fields.clear()
        self._taken.clear()
        self._given.clear()

    # -- operations -------------------------------------------------------------------------------------------

    def add(self, actor: int, op: Operation, what: tuple[Touch, ...], node: int) -> list[int]:
        """Add an operation; return the earlier operations that it raced with."""
        clock = self._now[actor]
        if self.patient and isinstance(op[1], (Mutex, SpinLock)):
            rivals = self._locked(op[0], op[1], actor, clock)
        else:
            rivals = self._touched(what, actor, clock)
        clock[actor] += 1
        self.actors.append(actor)
        self.nodes.append(node)
        self.clocks.append(clock[:])
        if self.patient and op[0] == RELEASE and isinstance(op[1], (Mutex, SpinLock)):
            self._given[op[1]] = self.clocks[-1]
        return rivals

    def took(self, actor: int, lock: object) -> None:
        """Note that the last operation of an actor has taken a lock."""
        if self.actors and self.actors[-1] == actor:
            self._taken[lock] = len(self.actors) - 1

    def also(self, what: tuple[Touch, ...]) -> list[int]:
        """Add what else the last operation has touched; return the earlier operations that it raced with there."""
        actor = self.actors.pop()
        node, before = self.nodes.pop(), self.clocks.pop()
        clock = self._now[actor]
        rivals = self._touched(what, actor, clock)
        self.actors.append(actor)
        self.nodes.append(node)
        self.clocks.append(before)
        before[:] = clock
        return rivals

    def changed(self, actor: int, index: int, what: tuple[Touch, ...]) -> bool:
        """Whether another actor has changed some of this since the operation with that index."""
        writes = (self._history(obj, field).write for obj, field, _ in what)
        return any(write > index and self.actors[write] != actor for write in writes)

    def _locked(self, kind: int, lock: object, actor: int, clock: list[int]) -> list[int]:
        if kind != ACQUIRE:
            return []
        rival = self._taken.get(lock, -1)
        rivals = [] if rival < 0 or self._before(rival, clock) else [rival]
        given = self._given.get(lock)
        if given is not None:
            _join(clock, given)
        return rivals

    def _touched(self, what: tuple[Touch, ...], actor: int, clock: list[int]) -> list[int]:
        last: list[int] = []
        index = len(self.actors)
        for obj, field, changes in what:
            history = self._history(obj, field)
            if history.write == index:  # touched twice in one operation
                continue
            if changes:
                looks = [look for number, look in history.looks.items() if number != actor]
                last += looks or ([history.write] if history.write >= 0 else [])
                history.write, history.looks = index, {}
            else:
                if history.write >= 0:
                    last.append(history.write)
                history.looks[actor] = index
        rivals = sorted({one for one in last if not self._before(one, clock)})
        for one in last:
            _join(clock, self.clocks[one])
        return self._immediate(rivals)

    def _history(self, obj: object, field: object) -> _History:
        try:
            history = self._fields.get((obj, field))
        except TypeError:  # such as a list
            obj = next((stand for one, stand in self._unhashable if one is obj), None) or self._stand_in(obj)
            history = self._fields.get((obj, field))
        if history is None:
            history = self._fields[obj, field] = _History()
        return history

    def _stand_in(self, obj: object) -> object:
        stand = object()
        self._unhashable.append((obj, stand))
        return stand

    def _immediate(self, rivals: list[int]) -> list[int]:
        """Drop the rivals that another rival happens after."""
        if len(rivals) < 2:
            return rivals
        return [
            one for one in rivals if not any(other > one and self._before(one, self.clocks[other]) for other in rivals)
        ]

    def _before(self, index: int, clock: list[int]) -> bool:
        """Whether an operation happened before one with this clock."""
        actor = self.actors[index]
        return clock[actor] >= self.clocks[index][actor]

    # -- the other order --------------------------------------------------------------------------------------

    def initials(self, first: int, last: int) -> int:
        """Return the actors, as a bit mask, that could run first where `first` was about to be done, in a run of
        everything that does not need `first`, followed by `last`."""
        actor = self.actors[first]
        seq = self.clocks[first][actor]
        began: dict[int, int] = {}
        mask = 0
        for index in range(first + 1, last + 1):
            clock = self.clocks[index]
            number = self.actors[index]
            if number in began or (clock[actor] >= seq and index != last):
                continue
            if all(clock[other] < begun for other, begun in began.items()):
                mask |= 1 << number
            began[number] = clock[number]
        return mask


def _join(clock: list[int], other: list[int]) -> None:
    for number, count in enumerate(other):
        if count > clock[number]:
            clock[number] = count
