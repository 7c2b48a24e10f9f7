"""Weak memory: stores that others do not see yet, and loads that were done too early.

A store takes effect for its actor at once. Others go on seeing what was there before until the store has *drained*;
in which order the stores of an actor drain, only write barriers say (and the order of stores to one field, which is
always kept). A load may have been done as early as the last read barrier: one that is repeated without a barrier in
between may give once more what it gave. A release or acquisition of a lock is a full barrier for its actor, and so are
its end and an atomic read-modify-write that returns a value, if it does not fail: one that fails orders nothing. The
choice of what a load sees is drawn from the tape as `memory.FIELD`; 0 is the newest value.

That is a part of what Linux's barriers allow on an architecture in which a store becomes visible to all others at once
(ARM since v8 is one, POWER is not): locks are stronger here than acquire and release, and a load that was never done
before is not done early. Dependencies are kept: an address that was loaded is loaded before what is at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, Actor
from ksmactors.interleave.observer import Observer

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor

T = TypeVar("T")


class Store(NamedTuple):
    """A store that has not drained: by whom, to what, what was there, how many write barriers its actor had passed."""

    actor: int
    obj: object
    field: str
    old: object
    barriers: int


class StoreBuffer(Observer):
    """The undrained stores and the early loads of all actors of one schedule."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._stores: list[Store] = []
        self._barriers: dict[int, int] = {}
        self._loads: dict[int, list[tuple[object, str, object]]] = {}
        conductor.observe(self)

    # -- what the kernel does -------------------------------------------------------------------------------------

    def stored(self, obj: object, field: str, old: object) -> None:
        """The actor that has the turn has just overwritten `old`."""
        me = self._conductor.turn.number
        self._stores.append(Store(me, obj, field, old, self._barriers.get(me, 0)))

    def load(self, obj: object, field: str, newest: T) -> T:
        """What the actor that has the turn sees in a field whose newest value is given; drawn, if it may be several."""
        me = self._conductor.turn.number
        waiting = [s for s in self._stores if s.obj is obj and s.field == field and s.actor != me]
        values: list[object] = [newest, *(store.old for store in reversed(waiting))]
        early = self._loads.setdefault(me, [])
        before = next((load for load in early if load[0] is obj and load[1] == field), None)
        loaded = [before[2]] if before is not None else []
        seen = [*values, *(value for value in loaded if value not in values)]
        which = self._conductor.draw(f"memory.{field}", len(seen)) if len(seen) > 1 else 0
        for store in waiting[: max(0, len(values) - 1 - which)] if which < len(values) else ():
            self._drain(store)
        if before is not None:
            early.remove(before)  # a field is never seen to go back
        early.append((obj, field, seen[which]))
        return seen[which]  # type: ignore[return-value]  # all of them were values of this field

    def write_barrier(self) -> None:
        """No store from here on drains before those so far. Of the actor that has the turn."""
        me = self._conductor.turn.number
        self._barriers[me] = self._barriers.get(me, 0) + 1

    def read_barrier(self) -> None:
        """No load from here on was done before. Of the actor that has the turn."""
        self._loads.pop(self._conductor.turn.number, None)

    # -- full barriers ---------------------------------------------------------------------------------------------

    def full_barrier(self) -> None:
        """An atomic read-modify-write that returns a value and has not failed. Of the actor that has the turn."""
        self._full_barrier(self._conductor.turn)

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self._full_barrier(actor)

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        self._full_barrier(actor)

    @override
    def ended(self, actor: Actor) -> None:
        self._full_barrier(actor)

    def _full_barrier(self, actor: Actor) -> None:
        mine = [store for store in self._stores if store.actor == actor.number]
        if mine:
            self._drained(mine)
        self._loads.pop(actor.number, None)

    def _drain(self, store: Store) -> None:
        """A store is seen by all, and so are those of its actor that a barrier has put before it."""
        self._drained(
            [
                one
                for one in self._stores
                if one is store or (one.actor == store.actor and one.barriers < store.barriers)
            ]
        )

    def _drained(self, stores: list[Store]) -> None:
        """Others see these, from now on; it matters whether they have looked before."""
        self._stores = [store for store in self._stores if store not in stores]
        for store in stores:
            self._conductor.touch(RELEASE, store.obj, store.field)
