"""Vector clocks: what each actor knows of what the others have done (Lamport; Mattern; FastTrack's epochs)."""

from __future__ import annotations

from typing import TypeAlias

from ksmactors.interleave.actor import Actor

Clock: TypeAlias = list[int]
"""For each actor, by number, how many of its steps are known; those beyond the end of the list: none."""


class Clocks:
    """The clocks of all actors, and what was handed over at locks and fields.

    What an actor does between two releases is one *epoch*, the pair (its number, its own entry of its clock). Another
    actor knows of it exactly if that one's entry for it is as high. So most questions are one comparison, and a clock
    is joined with another only where the last release is news.
    """

    def __init__(self) -> None:
        self.now: dict[int, Clock] = {}
        """By number of the actor, its clock."""
        self._left: dict[object, dict[int, Clock]] = {}
        """What was handed over at an object: by the number of who did, its clock then."""
        self._left_by_readers: dict[object, dict[int, Clock]] = {}
        """The same of those who held a lock shared: only who takes it alone comes after them."""

    def of(self, actor: Actor) -> Clock:
        """The clock of an actor; it may have come to life before anybody kept clocks."""
        number = actor.number
        try:
            return self.now[number]
        except KeyError:
            clock = self.now[number] = [0] * number + [1]
            return clock

    def start(self, parent: Actor | None, child: Actor) -> None:
        """A new actor knows what its parent has done."""
        clock = [0] * child.number if parent is None else self._handed_over(parent)
        clock += [0] * (child.number + 1 - len(clock))
        clock[child.number] = 1
        self.now[child.number] = clock

    def hand(self, actor: Actor, to: Actor) -> None:
        """One actor does something that another one waits for."""
        _join(self.of(to), actor.number, self._handed_over(actor))

    def release(self, actor: Actor, at: object) -> None:
        """Leave at an object what the actor has done, beside what others have left there."""
        self._left.setdefault(at, {})[actor.number] = self._handed_over(actor)

    def acquire(self, actor: Actor, at: object) -> None:
        """Take up what was left at an object."""
        left = self._left.get(at)
        if left is not None:
            clock = self.of(actor)
            for number, other in left.items():
                _join(clock, number, other)

    def lock(self, actor: Actor, lock: object, shared: bool) -> None:
        """Get a lock: after the last who had it alone; alone, after those too who had it shared."""
        self.acquire(actor, lock)
        if not shared and (readers := self._left_by_readers.get(lock)):
            clock = self.of(actor)
            for number, other in readers.items():
                _join(clock, number, other)
            readers.clear()

    def unlock(self, actor: Actor, lock: object, shared: bool) -> None:
        """Give a lock back."""
        if shared:
            self._left_by_readers.setdefault(lock, {})[actor.number] = self._handed_over(actor)
        else:
            self._left[lock] = {actor.number: self._handed_over(actor)}

    def exchange(self, actor: Actor, at: object) -> None:
        """Take up what was left at an object, and leave one's own."""
        self.acquire(actor, at)
        self.unlock(actor, at, False)

    def _handed_over(self, actor: Actor) -> Clock:
        """The clock as it is, to be left somewhere; the actor begins a new epoch."""
        clock = self.of(actor)
        left = clock.copy()
        clock[actor.number] += 1
        return left


def _join(clock: Clock, number: int, other: Clock) -> None:
    """Make known to `clock` what `other` knows, the clock of actor `number` when it left it."""
    if len(clock) <= number:
        clock += [0] * (number + 1 - len(clock))
    elif clock[number] >= other[number]:
        return
    if len(clock) < len(other):
        clock += [0] * (len(other) - len(clock))
    for index, known in enumerate(other):
        if known > clock[index]:
            clock[index] = known
