"""L1 to L4: all actors take locks in one order."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.reports import name_of
from ksmactors.machine import Machine
from ksmactors.mm.frame import Frame
from ksmactors.watch.accesses import Detector
from ksmactors.watch.lock_graph import Edge, LockGraph, describe, where

MUTEX: Final = "ksm_thread_mutex"
MMAP_SEM: Final = "mmap_sem"
PAGE_LOCK: Final = "page lock"
PTE_LOCK: Final = "page table lock"
LEAF: Final = "ksm_mmlist_lock"

FORBIDDEN: Final[dict[tuple[str, str], tuple[str, str]]] = {
    (MMAP_SEM, MUTEX): ("L1", "ksmd and the knobs take mmap_sem under the mutex"),
    (PAGE_LOCK, MUTEX): ("L1", "ksmd waits for KSM pages' locks under the mutex"),
    (PTE_LOCK, MUTEX): ("L1", "it sleeps"),
    (PAGE_LOCK, MMAP_SEM): ("L4", "a fault waits for page locks under mmap_sem; only a trylock is allowed"),
}
"""By (held, taken): the rule that forbids to wait for the second lock under the first, and why it is there."""

NESTED: Final[dict[tuple[str, str], str]] = {
    (MMAP_SEM, "dup_mmap"): "fork: the parent's, then the child's, which no other actor can reach yet",
    (PTE_LOCK, "copy_page_range"): "fork: the child's, then the parent's, with both mmap_sems held for write",
    (PTE_LOCK, "copy_one_pte"): "the same again, after the page for the copy of a pinned one was allocated",
}
"""By (class, function): where two locks of one class may be held, since they have an order of their own."""

NEVER_WAITS: Final = frozenset({"try_to_merge_one_page", "trylock_to_merge"})
"""Functions that must not wait for the lock of the page that is to be merged away (L2)."""


class LockOrder(Detector):
    """All actors take locks in one order, whether or not two of them deadlock in this schedule.

    Each lock has a class: all mmap_sems are one, all page locks, all page table locks, and so on. Taking a lock while
    holding others adds an edge from each of their classes to its class. A trylock adds none, since it does not wait,
    but it counts as held. A cycle in this graph is a deadlock in some schedule (lockdep's idea). The graph of a
    schedule is checked at once; the graphs of all schedules of a campaign are merged and checked at its end, since each
    edge of a cycle may need a schedule of its own.

    The rules are checked one by one, without the other half of a cycle: L1 (never wait for ksm_thread_mutex under
    mmap_sem, a page lock or a page table lock), L2 (never wait for the lock of a page to be merged away), L3 (under
    ksm_thread_mutex at most one mmap_sem), L4 (never wait for mmap_sem under a page lock). The operations themselves
    check L5, nothing that may sleep under a spinlock (`Turns.might_sleep`). Two locks of one class are an error, too,
    with two exceptions: classes with an order of their own (`NESTED`), and a second page fresh from the allocator,
    which no other actor will lock: it has no mapping (a keyhole reader may hold a reference on the frame for a moment,
    but sees that the frame is not its page).
    """

    name: ClassVar[str] = "lock_order"
    summary: ClassVar[str] = "locks are taken in one order; reports cycles even without a deadlock (L1 to L4, O15)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.graph = LockGraph()
        self._classes: dict[object, str] = {}

    @override
    def taken(self, actor: Actor, lock: object, tried: bool) -> None:
        if not tried:
            if actor.place in NEVER_WAITS and isinstance(lock, Frame):
                raise self._waits_to_merge(actor, lock)
            if actor.locks:
                self._under_others(actor, lock)

    def _under_others(self, actor: Actor, lock: object) -> None:
        taken, place, classes = self._class(lock), actor.place, self._classes
        for other in actor.locks:
            held = classes.get(other) or self._class(other)
            if (held, taken) in self.graph.edges:
                continue
            if (held, taken) in FORBIDDEN:
                rule, why = FORBIDDEN[held, taken]
                raise self._breach(actor, other, lock, f"{_word(taken)}_under_{_word(held)}", f"{rule}: {why}")
            if held == LEAF:
                raise self._breach(
                    actor, other, lock, "lock_under_leaf", "it is a leaf lock: no lock is taken under it"
                )
            if held == taken:
                self._same_class(actor, other, lock)
                continue
            cycle = self.graph.add(Edge(held, taken, self.history.taken_in(actor, other), place, actor.name))
            if cycle:
                raise self.finding("lock_order_cycle", describe(cycle), where=where(cycle))

    def _same_class(self, actor: Actor, other: object, lock: object) -> None:
        taken = self._class(lock)
        if taken == MMAP_SEM and any(self._class(one) == MUTEX for one in actor.locks):
            raise self._breach(actor, other, lock, "second_mmap_sem", "L3: ksmd holds at most one")
        if (taken, actor.place) in NESTED or (isinstance(lock, Frame) and lock.mapping is None and not lock.mapcount):
            return
        raise self._breach(actor, other, lock, f"nested_{_word(taken)}", "no rule orders two locks of this class")

    def _class(self, lock: object) -> str:
        known = self._classes.get(lock)
        if known is None:
            known = self._classes[lock] = lock_class(lock)
        return known

    def _breach(self, actor: Actor, other: object, lock: object, kind: str, why: str) -> Finding:
        return self.finding(
            kind,
            f"{actor.name} takes {name_of(lock)} in {actor.place} while it holds {name_of(other)} from "
            f"{self.history.taken_in(actor, other)} ({why})",
            where=actor.place,
        )

    def _waits_to_merge(self, actor: Actor, lock: object) -> Finding:
        message = f"{actor.name} waits for {name_of(lock)} in {actor.place}: a busy page must be skipped (L2)"
        return self.finding("waits_to_merge", message, where=actor.place)


def lock_class(lock: object) -> str:
    """Return the class of a lock: its name without its instance."""
    return name_of(lock).partition(" of ")[0].rstrip("0123456789 ")


def _word(lock_class_name: str) -> str:
    return lock_class_name.replace(" ", "_")
