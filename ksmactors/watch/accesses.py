"""What all race detectors know: who holds which locks, what is ordered before what, and the history of each field.

One observer, `AccessHistory`, is notified of the operations of a schedule. It classifies each access once, and calls
the detectors with the one record that there is of its field. `happens_before`, `lockset` and `lock_order` are
detectors: each has a rule for accesses, or for locks that are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Final, TypeAlias

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher
from ksmactors.watch.clocks import Clocks
from ksmactors.watch.marked_accesses import MARKED, UNLOCKED_PLACES, Ordering, may_be_unlocked

_ORDERS: Final = {name: order for name, (order, _) in MARKED.items()}

ALLOCATOR: Final = "allocator"
"""Key of the release from the last user of a frame to the next."""

NOBODY: Final = -2
"""Owner of a field that has not been accessed."""

SHARED: Final = -1
"""Owner of a field that two actors have accessed."""

NO_LOCKS: Final[frozenset[object]] = frozenset()

Access: TypeAlias = tuple[int, int, str, int, tuple[object, ...]]
"""One access: actor number and epoch, and for the report the function, step and locks held."""

Rule: TypeAlias = "Callable[[Actor, int, FieldHistory], None]"
"""What a detector asks of an access: by whom, READ or WRITE, to what."""


class FieldHistory:
    """What is known of one field of one object.

    `happens_before` has its last write, and the reads since, by actor. `lockset` has the only actor that has accessed
    it so far (`owner`); once there were two, the locks that all have held since (`common`) and whether it was written
    since; the actor number, function and step of the last access; and the access after which there was no common lock,
    with READ or WRITE (`emptied`).
    """

    __slots__ = ("common", "emptied", "field", "last", "obj", "owner", "reads", "rules", "write", "written")

    def __init__(self, obj: object, field: object) -> None:
        self.obj, self.field = obj, field
        self.rules: Sequence[Rule] | None = None
        """Of an instrumented field: the rules for it, once they have been asked for."""
        self.write: Access | None = None
        self.reads: dict[int, Access] = {}
        self.forget_locks()

    def forget_locks(self) -> None:
        """Begin again with the first actor that accesses it."""
        self.owner = NOBODY
        self.common = NO_LOCKS
        self.written = False
        self.last: tuple[int, str, int] = (NOBODY, "", -1)
        self.emptied: tuple[int, Access] | None = None


class LocksHeld:
    """What is known of the locks of one actor, besides which they are: that is in `Actor.locks`."""

    __slots__ = ("places", "shared")

    def __init__(self) -> None:
        self.shared: list[object] = []
        """Those that it holds with other readers: they protect reads alone."""
        self.places: dict[object, str] = {}
        """The function that has taken each lock."""


class Detector(Watcher):
    """Base of the watchers that `AccessHistory` serves. Those methods that a subclass overrides are called."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.history = AccessHistory.of(machine)
        self.history.serve(self)

    def accessed(self, actor: Actor, kind: int, field: FieldHistory) -> None:
        """An actor has read or written a field, as a plain access, at a point."""

    def touched(self, actor: Actor, kind: int, field: FieldHistory) -> None:
        """As `accessed`, as part of another operation."""

    def judges_declared(self, obj: object, field: object) -> bool:
        """Return whether `accessed` is called for this instrumented field, too."""
        return False

    def taken(self, actor: Actor, lock: object, tried: bool) -> None:
        """An actor has taken a lock (not in `actor.locks` yet): `tried` if it would not have waited."""

    def met(
        self, what: str, message: str, field: FieldHistory, before: int, other: Access, kind: int, actor: Actor
    ) -> Finding:
        """Make a finding about two accesses to a field.

        Args:
            what, message: kind and message of the finding.
            field: what was accessed.
            before, other: the earlier access: READ or WRITE, and who made it where.
            kind, actor: the later one, which `actor` is about to make.
        """
        number, _, place, step, locks = other
        where = "+".join(sorted({actor.place, place}))
        finding = self.finding(what, message, where=where, other=number)
        finding.other_step = step
        finding.met = (
            (number, step, place, (before, field.obj, field.field), locks),
            (actor.number, actor.step, actor.place, (kind, field.obj, field.field), actor.locks),
        )
        return finding


class AccessHistory(Observer):
    """Serves the detectors of one machine. They are called in the order in which they were attached."""

    selective: ClassVar[bool] = True

    def __init__(self, machine: Machine) -> None:
        self.clocks: Clocks | None = None
        """What is ordered before what, if a detector asks for that."""
        self._fields: dict[object, dict[object, FieldHistory]] = {}
        self._holds: dict[int, LocksHeld] = {}
        """By number of the actor."""
        self._detectors: list[Detector] = []
        self._accessed: list[Rule] = []
        self._touched: list[Rule] = []
        self._taken: list[Callable[[Actor, object, bool], None]] = []
        machine.conductor.observe(self)

    @classmethod
    def of(cls, machine: Machine) -> AccessHistory:
        """Return the history of a machine, which begins when a detector first asks for it."""
        observers = machine.conductor.observers
        known = observers.find(cls) if observers is not None else None
        return known or cls(machine)

    def serve(self, detector: Detector) -> None:
        """Call a detector from now on."""
        self._detectors.append(detector)
        for fields in self._fields.values():
            for field in fields.values():
                field.rules = None
        for name, calls in (("accessed", self._accessed), ("touched", self._touched), ("taken", self._taken)):
            if getattr(type(detector), name) is not getattr(Detector, name):
                calls.append(getattr(detector, name))

    def forget(self) -> None:
        """Let go of the detectors and of what they know, after the schedule: both refer to this history."""
        for known in (self._detectors, self._accessed, self._touched, self._taken):
            known.clear()
        self._fields.clear()

    # -- fields -------------------------------------------------------------------------------------------------------

    @override
    def accessed(self, actor: Actor, op: Operation) -> None:
        order = _ORDERS.get(actor.doing)
        if order is None:
            kind, obj, field = op
            self._access(actor, kind, obj, field, self._accessed)
        elif order is not Ordering.NONE and self.clocks is not None:
            self._marked(actor, order, op, self.clocks)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if kind < ACQUIRE:
            self._access(actor, kind, obj, field, self._touched)
        elif self.clocks is not None:
            if kind == ACQUIRE:
                self.clocks.acquire(actor, (obj, field))
            elif kind == RELEASE:
                self.clocks.release(actor, (obj, field))

    @override
    def field(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if actor.place in UNLOCKED_PLACES and may_be_unlocked(actor.place, field):
            return
        try:
            history = self._fields[obj][field]
        except KeyError:
            history = self._first_access(obj, field)
        rules = history.rules
        if rules is None:
            rules = history.rules = [one.accessed for one in self._detectors if one.judges_declared(obj, field)]
        for rule in rules:
            rule(actor, kind, history)

    def _access(self, actor: Actor, kind: int, obj: object, field: object, rules: Sequence[Rule]) -> None:
        try:
            history = self._fields[obj][field]
        except KeyError:
            history = self._first_access(obj, field)
        for rule in rules:
            rule(actor, kind, history)

    def _first_access(self, obj: object, field: object) -> FieldHistory:
        history = self._fields.setdefault(obj, {})[field] = FieldHistory(obj, field)
        return history

    def _marked(self, actor: Actor, order: Ordering, op: Operation, clocks: Clocks) -> None:
        field = op[2]
        at = ALLOCATOR if field == "free_list" else (op[1], "refcount" if field == "writeback" else field)
        if order is Ordering.BOTH:
            clocks.exchange(actor, at)
        elif order is Ordering.ACQUIRE:
            clocks.acquire(actor, at)
        else:
            clocks.release(actor, at)

    def fields_of(self, obj: object) -> Iterable[FieldHistory]:
        """Return the histories of all fields of an object that have been accessed."""
        return self._fields.get(obj, {}).values()

    # -- locks --------------------------------------------------------------------------------------------------------

    def holds(self, actor: Actor, kind: int, locks: frozenset[object]) -> bool:
        """Return whether the running actor holds all these locks, so that they protect an access of this kind."""
        mine = actor.locks
        for lock in locks:
            if lock not in mine:
                return False
        return kind == READ or locks.isdisjoint(self._holds_of(actor).shared)

    def held(self, actor: Actor, kind: int) -> frozenset[object]:
        """Return the locks that protect an access of this kind by the running actor."""
        held = frozenset(actor.locks)
        return held if kind == READ else held.difference(self._holds_of(actor).shared)

    def taken_in(self, actor: Actor, lock: object) -> str:
        """Return the function in which an actor has taken a lock."""
        return self._holds_of(actor).places[lock]

    def _holds_of(self, actor: Actor) -> LocksHeld:
        holds = self._holds.get(actor.number)
        if holds is None:
            holds = self._holds[actor.number] = LocksHeld()
        return holds

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        for rule in self._taken:
            rule(actor, lock, tried)
        if self.clocks is not None:
            self.clocks.lock(actor, lock, shared)
        holds = self._holds_of(actor)
        holds.places[lock] = actor.place
        if shared:
            holds.shared.append(lock)

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        if shared:
            self._holds_of(actor).shared.remove(lock)
        if self.clocks is not None:
            self.clocks.unlock(actor, lock, shared)

    # -- actors -------------------------------------------------------------------------------------------------------

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        if self.clocks is not None:
            self.clocks.hand(actor, woken)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        if self.clocks is not None:
            self.clocks.start(actor, child)
