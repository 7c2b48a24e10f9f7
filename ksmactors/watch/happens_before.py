"""Data races: two accesses to one field, one of them a write, that happens-before does not order."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, WRITE, Actor
from ksmactors.interleave.reports import name_of
from ksmactors.machine import Machine
from ksmactors.watch.accesses import ALLOCATOR, Access, Detector, FieldHistory
from ksmactors.watch.base import frame_at
from ksmactors.watch.clocks import Clocks

_FREED = "freed"
"""Key of the release from the last user of a frame to actors that find it reused."""


class HappensBefore(Detector):
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
        self._clocks = self.history.clocks = Clocks()
        machine.trace.listen(ev.FREE_PAGE, self._freed)
        machine.trace.listen(ev.RACE_STALE_NODE, self._found_stale)
        machine.kernel.declare_fields()

    @override
    def accessed(self, actor: Actor, kind: int, field: FieldHistory) -> None:
        number = actor.number
        clock = self._clocks.now.get(number) or self._clocks.of(actor)
        epoch, write, before = clock.epoch, field.write, field.reads.get(number)
        if before is not None and kind == READ:  # the last write has been found ordered before that read
            if before[1] != epoch:
                field.reads[number] = (number, epoch, actor.place, actor.step, actor.locks)
            return
        if write is not None and write[0] != number and not _is_ordered(clock.known, write):
            raise self._race(actor, kind, field, write, WRITE)
        if kind == READ:
            field.reads[number] = (number, epoch, actor.place, actor.step, actor.locks)
            return
        if field.reads:
            for read in field.reads.values():
                if read[0] != number and not _is_ordered(clock.known, read):
                    raise self._race(actor, kind, field, read, READ)
            field.reads.clear()
        field.write = (number, epoch, actor.place, actor.step, actor.locks)

    touched = accessed

    @override
    def judges_declared(self, obj: object, field: object) -> bool:
        return True

    def _freed(self, pfn: int, nid: int) -> None:
        """Order the last reference to a frame after all its users, and before the next user of the frame."""
        actor, node = self._settled(), self.kernel.nodes[nid]
        frame = node.frames[pfn - node.start_pfn]
        self._clocks.acquire(actor, (frame, "refcount"))
        self._clocks.release(actor, ALLOCATOR)
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

    def _race(self, actor: Actor, kind: int, field: FieldHistory, other: Access, before: int) -> Exception:
        number, _, place, step, locks = other
        name = self.machine.conductor.actors[number].name
        message = (
            f"{actor.name} {_VERBS[kind]} {named(field.obj, field.field)} in {actor.place} at step {actor.step}"
            f"{_with(actor.locks)}, and nothing orders that after step {step}, where {name} {_VERBS[before]} it in "
            f"{place}{_with(locks)}"
        )
        return self.met("data_race", message, field, before, other, kind, actor)


_VERBS = ("reads", "writes")


def _is_ordered(known: list[int], access: Access) -> bool:
    number = access[0]
    return len(known) > number and known[number] >= access[1]


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
