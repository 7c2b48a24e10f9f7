"""Vector clocks: how much of each actor's work happens before the current moment of another one (Lamport; Mattern;
FastTrack's epochs)."""

from __future__ import annotations

from typing import TypeAlias

from ksmactors.interleave.actor import Actor

Known: TypeAlias = list[int]
"""For each actor, by number, up to which of its epochs its work is known; actors beyond the end of the list have 0.

Released clocks share such a list, so it is never changed: an actor that learns more gets a new one."""

Released: TypeAlias = tuple[int, Known]
"""A clock that was released: the epoch that ended with that, and what its actor knew of others."""


class ActorClock:
    """The clock of an actor: its epoch, and what it knows of others (`known` has an old epoch of its own)."""

    __slots__ = ("epoch", "known")

    def __init__(self, known: Known) -> None:
        self.epoch = 1
        self.known = known


class Clocks:
    """The clocks of all actors, and the clocks released at locks and fields.

    The work of an actor between two releases is one *epoch*, the pair (its number, its own entry of its clock). It
    happens before another actor's next operation if that one's entry for it is as high. So most queries are one
    comparison, and two clocks are joined only if the last release is new. Most releases are never joined: to release a
    clock copies nothing.
    """

    def __init__(self) -> None:
        self.now: dict[int, ActorClock] = {}
        """The clock of each actor, by number."""
        self._left: dict[object, dict[int, Released]] = {}
        """Clocks released at an object, by the number of the releasing actor."""
        self._left_by_holder: dict[object, tuple[int, Released]] = {}
        """The last exclusive holder of each lock, and the clock it released."""
        self._left_by_readers: dict[object, dict[int, Released]] = {}
        """Clocks released by readers of a lock: only an exclusive holder comes after them."""

    def of(self, actor: Actor) -> ActorClock:
        """Return the clock of an actor, which may have started before clocks were kept."""
        number = actor.number
        try:
            return self.now[number]
        except KeyError:
            clock = self.now[number] = ActorClock([])
            return clock

    def start(self, parent: Actor | None, child: Actor) -> None:
        """Order a new actor after what its parent has done."""
        clock = self.now[child.number] = ActorClock([])
        if parent is not None:
            _join(clock, parent.number, self._handed_over(parent))

    def hand(self, actor: Actor, to: Actor) -> None:
        """Order the next operation of `to`, which waits for `actor`, after what `actor` has done."""
        _join(self.of(to), actor.number, self._handed_over(actor))

    def release(self, actor: Actor, at: object) -> None:
        """Release the actor's clock at an object, beside those of other actors."""
        released = self._handed_over(actor)
        left = self._left.get(at)
        if left is None:
            self._left[at] = {actor.number: released}
        else:
            left[actor.number] = released

    def acquire(self, actor: Actor, at: object) -> None:
        """Join the clocks released at an object."""
        left = self._left.get(at)
        if left is not None:
            _join_all(self.of(actor), actor.number, left)

    def lock(self, actor: Actor, lock: object, shared: bool) -> None:
        """Take a lock: after the last exclusive holder; an exclusive holder also after the readers."""
        last = self._left_by_holder.get(lock)
        if last is not None and last[0] != actor.number:
            _join(self.of(actor), *last)
        if not shared and (readers := self._left_by_readers.get(lock)):
            _join_all(self.of(actor), actor.number, readers)
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

    def _handed_over(self, actor: Actor) -> Released:
        """Return the clock to release, and start a new epoch of the actor."""
        clock = self.now.get(actor.number) or self.of(actor)
        epoch = clock.epoch
        clock.epoch = epoch + 1
        return epoch, clock.known


def _join(clock: ActorClock, number: int, released: Released) -> None:
    """Join a clock with one that another actor, of this number, has released. Most are known: their epoch says so."""
    (epoch, other), known = released, clock.known
    if number < len(known) and known[number] >= epoch:
        return
    if len(known) < len(other):
        known, other = other, known
    joined = known.copy()
    if known is not other:
        for index, most in enumerate(other):
            if most > joined[index]:
                joined[index] = most
    if len(joined) <= number:
        joined += [0] * (number + 1 - len(joined))
    joined[number] = epoch
    clock.known = joined


def _join_all(clock: ActorClock, me: int, released: dict[int, Released]) -> None:
    """Join the clock of the actor `me` with those that some actors, by number, have released."""
    for number, other in released.items():
        if number != me:
            _join(clock, number, other)
