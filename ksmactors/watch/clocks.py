"""Vector clocks: how much of each actor's work happens before the current moment of another one (Lamport; Mattern;
FastTrack's epochs)."""

from __future__ import annotations

from typing import TypeAlias

from ksmactors.interleave.actor import Actor

Clock: TypeAlias = list[int]
"""For each actor, by number, how many of its steps are known; actors beyond the end of the list have 0."""


class Clocks:
    """The clocks of all actors, and the clocks released at locks and fields.

    The work of an actor between two releases is one *epoch*, the pair (its number, its own entry of its clock). It
    happens before another actor's next operation if that one's entry for it is as high. So most queries are one
    comparison, and two clocks are joined only if the last release is new.
    """

    def __init__(self) -> None:
        self.now: dict[int, Clock] = {}
        """The clock of each actor, by number."""
        self._left: dict[object, dict[int, Clock]] = {}
        """Clocks released at an object, by the number of the releasing actor."""
        self._left_by_holder: dict[object, tuple[int, Clock]] = {}
        """The last exclusive holder of each lock, and the clock it released."""
        self._left_by_readers: dict[object, dict[int, Clock]] = {}
        """Clocks released by readers of a lock: only an exclusive holder comes after them."""

    def of(self, actor: Actor) -> Clock:
        """Return the clock of an actor, which may have started before clocks were kept."""
        number = actor.number
        try:
            return self.now[number]
        except KeyError:
            clock = self.now[number] = [0] * number + [1]
            return clock

    def start(self, parent: Actor | None, child: Actor) -> None:
        """Order a new actor after what its parent has done."""
        clock = [0] * child.number if parent is None else self._handed_over(parent)
        clock += [0] * (child.number + 1 - len(clock))
        clock[child.number] = 1
        self.now[child.number] = clock

    def hand(self, actor: Actor, to: Actor) -> None:
        """Order the next operation of `to`, which waits for `actor`, after what `actor` has done."""
        _join(self.of(to), actor.number, self._handed_over(actor))

    def release(self, actor: Actor, at: object) -> None:
        """Release the actor's clock at an object, beside those of other actors."""
        self._left.setdefault(at, {})[actor.number] = self._handed_over(actor)

    def acquire(self, actor: Actor, at: object) -> None:
        """Join the clocks released at an object."""
        left = self._left.get(at)
        if left is not None:
            _join_all(self.of(actor), left)

    def lock(self, actor: Actor, lock: object, shared: bool) -> None:
        """Take a lock: after the last exclusive holder; an exclusive holder also after the readers."""
        last = self._left_by_holder.get(lock)
        if last is not None and last[0] != actor.number:
            _join(self.of(actor), *last)
        if not shared and (readers := self._left_by_readers.get(lock)):
            _join_all(self.of(actor), readers)
            readers.clear()

    def unlock(self, actor: Actor, lock: object, shared: bool) -> None:
        """Release a lock."""
        if shared:
            self._left_by_readers.setdefault(lock, {})[actor.number] = self._handed_over(actor)
        else:
            self._left_by_holder[lock] = actor.number, self._handed_over(actor)

    def exchange(self, actor: Actor, at: object) -> None:
        """Acquire and release at an object. What others released there is in the clock that is released."""
        self.acquire(actor, at)
        self._left[at] = {actor.number: self._handed_over(actor)}

    def _handed_over(self, actor: Actor) -> Clock:
        """Return a copy of the clock, and start a new epoch of the actor."""
        number = actor.number
        clock = self.now.get(number) or self.of(actor)
        left = clock.copy()
        clock[number] += 1
        return left


def _join(clock: Clock, number: int, other: Clock) -> None:
    """Join `clock` with one that the actor of this number has released. Most are known: their epoch says so."""
    if number >= len(clock) or clock[number] < other[number]:
        clock += [0] * (len(other) - len(clock))
        for index, known in enumerate(other):
            if known > clock[index]:
                clock[index] = known


def _join_all(clock: Clock, released: dict[int, Clock]) -> None:
    """Join `clock` with those that some actors, by number, have released."""
    for number, other in released.items():
        if number >= len(clock) or clock[number] < other[number]:
            _join(clock, number, other)
