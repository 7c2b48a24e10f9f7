"""Data races: two accesses to one field, one of them a write, that happens-before does not order."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE, Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import name_of
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, frame_at
from ksmactors.watch.clocks import Clocks
from ksmactors.watch.marked_accesses import MARKED, Ordering, may_be_unlocked

_MARKS = {name: order for name, (order, _) in MARKED.items()}
_ALLOCATOR = "allocator"
"""Key of the release from the last user of a frame to the next."""
_FREED = "freed"
"""Key of the release from the last user of a frame to actors that find it reused."""


Access: TypeAlias = tuple[int, int, str, int, tuple[object, ...]]
"""One access: actor number and epoch, and for the report the place, step and locks held."""


class FieldAccesses:
    """What is known of one field: its last write, and the reads since, by actor."""

    __slots__ = ("reads", "write")

    def __init__(self) -> None:
        self.write: Access | None = None
        self.reads: dict[int, Access] = {}


class HappensBefore(Watcher, Observer):
    """Two plain accesses to one field, at least one of them a write, are ordered by happens-before.

    Happens-before comes from the kernel's own means: one actor releases a lock that another takes, wakes it, starts it,
    sends it a message, or stores with release semantics what the other loads with acquire semantics. Two accesses that
    such a chain connects have the same order in *every* schedule with the same chain. Two unconnected ones would, in
    another schedule, come in the other order or at the same time on two CPUs, even if they are far apart here. So this
    watcher reports a race before it does harm. Each actor has a vector clock, and each field the epochs of its last
    write and of the reads since (FastTrack: Flanagan, Freund, PLDI 2009).

    What is looked at: fields whose operations pass a point, those that are touched as a part of one, and the structures
    and counters of mm/ksm.c, which declare themselves for the two race detectors (`ksm.instrumented`). What the kernel
    lets race on purpose, and which atomics order what, is in the tables of `marked_accesses`: map counts and page flags
    are atomics without an order. What this watcher cannot see: two accesses that a lock has happened to order this
    time (`lockset` looks at that).
    """

    name: ClassVar[str] = "happens_before"
    summary: ClassVar[str] = "no two unordered accesses to one field, one of them a write, unless marked as meant"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._clocks = Clocks()
        self._fields: dict[tuple[object, object], FieldAccesses] = {}
        machine.trace.listen(ev.FREE_PAGE, self._freed)
        machine.trace.listen(ev.RACE_STALE_NODE, self._found_stale)
        machine.conductor.observe(self)
        machine.kernel.declare_fields()

    @override
    def accessed(self, actor: Actor, op: Operation) -> None:
        order = _MARKS.get(actor.doing)
        if order is None:
            self._plain(actor, op[0], (op[1], op[2]))
        elif order is not Ordering.NONE:
            self._marked(actor, order, op)

    def _marked(self, actor: Actor, order: Ordering, op: Operation) -> None:
        field = op[2]
        at = _ALLOCATOR if field == "free_list" else (op[1], "refcount" if field == "writeback" else field)
        if order is Ordering.BOTH:
            self._clocks.exchange(actor, at)
        elif order is Ordering.ACQUIRE:
            self._clocks.acquire(actor, at)
        else:
            self._clocks.release(actor, at)

    def _plain(self, actor: Actor, kind: int, what: tuple[object, object]) -> None:
        field = self._fields.get(what)
        if field is None:
            field = self._fields[what] = FieldAccesses()
        number, clock = actor.number, self._clocks.of(actor)
        write = field.write
        if write is not None and write[0] != number and not _is_ordered(clock, write):
            raise self._race(actor, kind, what, write, WRITE)
        epoch = clock[number]
        if kind == READ:
            known = field.reads.get(number)
            if known is None or known[1] != epoch:
                field.reads[number] = (number, epoch, actor.place, actor.step, actor.locks)
            return
        if field.reads:
            for read in field.reads.values():
                if read[0] != number and not _is_ordered(clock, read):
                    raise self._race(actor, kind, what, read, READ)
            field.reads.clear()
        field.write = (number, epoch, actor.place, actor.step, actor.locks)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if kind < ACQUIRE:
            self._plain(actor, kind, (obj, field))
        elif kind == ACQUIRE:
            self._clocks.acquire(actor, (obj, field))
        elif kind == RELEASE:
            self._clocks.release(actor, (obj, field))

    @override
    def field(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if not may_be_unlocked(actor.place, field):
            self._plain(actor, kind, (obj, field))

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self._clocks.lock(actor, lock, shared)

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        self._clocks.unlock(actor, lock, shared)

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self._clocks.hand(actor, woken)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self._clocks.start(actor, child)

    def _freed(self, pfn: int, nid: int) -> None:
        """Order the last reference to a frame after all its users, and before the next user of the frame."""
        actor, node = self._settled(), self.kernel.nodes[nid]
        frame = node.frames[pfn - node.start_pfn]
        self._clocks.acquire(actor, (frame, "refcount"))
        self._clocks.release(actor, _ALLOCATOR)
        self._clocks.release(actor, (frame, _FREED))

    def _found_stale(self, winner: str, loser: str, tree: str | None, tree_nid: int, nid: int, kpfn: int) -> None:
        """Order the actor that finds a stable node stale after the one that freed its page: its writes depend on what
        it read of the page, which was freed with a full barrier."""
        page = frame_at(self.kernel, kpfn)
        if page is not None:
            self._clocks.acquire(self._settled(), (page, _FREED))

    def _settled(self) -> Actor:
        """Return the running actor, after its last operation has been reported."""
        conductor = self.machine.conductor
        if conductor.observers is not None:
            conductor.observers.settle(conductor.turn)
        return conductor.turn

    def _race(self, actor: Actor, kind: int, what: tuple[object, object], other: Access, before: int) -> Exception:
        number, _, place, step, locks = other
        name = self.machine.conductor.actors[number].name
        finding = self.finding(
            "data_race",
            f"{actor.name} {_VERBS[kind]} {named(*what)} in {actor.place} at step {actor.step}{_with(actor.locks)}, "
            f"and nothing orders that after step {step}, where {name} {_VERBS[before]} it in {place}"
            f"{_with(locks)}",
            where="+".join(sorted({actor.place, place})),
            other=number,
        )
        finding.other_step = step
        finding.met = (
            (number, step, place, (before, *what), locks),
            (actor.number, actor.step, actor.place, (kind, *what), actor.locks),
        )
        return finding


_VERBS = ("reads", "writes")


def _is_ordered(clock: list[int], access: Access) -> bool:
    number = access[0]
    return len(clock) > number and clock[number] >= access[1]


def _with(locks: tuple[object, ...]) -> str:
    return f" (holds {', '.join(name_of(lock) for lock in locks)})" if locks else " (holds no lock)"


def named(obj: object, field: object) -> str:
    """Return the name of a field for a report."""
    if type(obj).__repr__ is not object.__repr__ and not isinstance(obj, list):
        thing = str(getattr(obj, "name", obj))
    else:
        thing = str(getattr(obj, "name", type(obj).__name__))
    if isinstance(field, int):
        return f"the entry at {field:#x} of {thing}"
    return f"{field} of {thing}" if field else thing
