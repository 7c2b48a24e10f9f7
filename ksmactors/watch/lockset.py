"""Eraser: each shared field has a lock that every actor holds while it accesses the field."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, WRITE, Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, MmSlot, StableNode
from ksmactors.later.chain_nodes import Chain
from ksmactors.machine import Machine
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher
from ksmactors.watch.happens_before import named
from ksmactors.watch.marked_accesses import MARKED, may_be_unlocked

NO_LOCKS: Final[frozenset[object]] = frozenset()

PAGE_LOCK: Final = "the lock of the node's page"
"""Stands for the lock of the node's page, which is another one after each migration."""


EXEMPT: Final[dict[tuple[object, str], str]] = {
    ("vmas", "exit_mmap"): "the last user has gone: ksmd may still come, but sees mm_users 0 under mmap_sem",
}
"""By (field, function): accesses that need no lock, since no other actor can reach the object."""


EITHER_LOCK: Final[dict[str, str]] = {
    "flag": "rmap_items on an hlist are walked under the page lock",
    "anon_vma": "as flag",
    "head": "as flag; a node's says where it is linked, and migration reads it",
    "nid": "as head, of a node",
}
"""Declared fields that are written under two locks and read under either, so that no lock is common to all; with the
reader that has only the other. So is the `rmap_list` of an mm_slot, which __ksm_exit asks under ksm_mmlist_lock."""


class FieldLocks:
    """What is known of one field.

    `owner` is the number of the only actor that has touched it so far, -1 once there were two. Then `common` are the
    locks that all have held since, and `written` says whether it was written since. `last` is the access before.
    """

    __slots__ = ("common", "last", "owner", "written")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.common: frozenset[object] = NO_LOCKS
        self.written = False
        self.last: tuple[int, str, int] = (owner, "", -1)


class Lockset(Watcher, Observer):
    """For each field that two actors touch and one writes, there is a lock that all of them hold when they do.

    A field is its first actor's alone until a second one touches it: who sets something up needs no lock. From then on
    the set of locks that every access has held can only shrink; a reader's hold of a read-write lock counts for reads.
    When it is empty and the field is written, nothing but luck keeps the accesses apart. This finds a forgotten lock in
    any schedule in which the field is touched at all, where `happens_before` may be blind because another lock came in
    between; in turn it knows nothing of an order that is made without locks. So the fields with a discipline of their
    own have it here: the history of a frame ends when it is freed; the hlist of a stable node is protected by the lock
    of the page it names *now*, held with the old frame's before a migration and the new one's after (SN5); trees,
    migrate_nodes and what declares itself (`ksm.instrumented`) belong to ksm_thread_mutex, or to the actor that takes
    memory offline while the OFFLINE bit is set (SN3), but for what has two locks and a reader of either
    (`EITHER_LOCK`). Accesses that are no plain ones (`marked_accesses.MARKED`) are not looked at.
    """

    name: ClassVar[str] = "lockset"
    summary: ClassVar[str] = "each shared field has a lock that every actor holds while it accesses the field"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._fields: dict[object, dict[object, FieldLocks]] = {}
        self._shared: dict[int, list[object]] = {}
        """The locks that each actor holds together with other readers, by its number."""
        machine.trace.listen(ev.FREE_PAGE, self._freed)
        machine.conductor.observe(self)
        machine.kernel.declare_fields()

    @override
    def accessed(self, actor: Actor, op: Operation) -> None:
        if actor.doing not in MARKED:
            self._access(actor, *op)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if kind < ACQUIRE and (field, actor.place) not in EXEMPT:
            self._access(actor, kind, obj, field)

    @override
    def field(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if field not in EITHER_LOCK and not isinstance(obj, MmSlot) and not may_be_unlocked(actor.place, field):
            self._access(actor, kind, obj, field)

    def _access(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        fields = self._fields.get(obj)
        if fields is None:
            fields = self._fields[obj] = {}
        known = fields.get(field)
        if known is None:
            fields[field] = FieldLocks(actor.number)
            return
        number = actor.number
        if known.owner != number:
            held = self._held(actor, kind, obj)
            if known.owner < 0:
                held = held & known.common
            known.owner, known.common = -1, held
            known.written |= kind == WRITE
            if known.written and not held:
                raise self._unprotected(actor, obj, field, known)
        known.last = (number, actor.place, actor.step)

    def _held(self, actor: Actor, kind: int, obj: object) -> frozenset[object]:
        """Return the locks that protect an access, with stand-ins for those that change."""
        held = set(actor.locks)
        if kind == WRITE:
            held.difference_update(self._shared.get(actor.number, ()))
        if isinstance(obj, StableNode) and not isinstance(obj, Chain):  # a chain has no page
            if any(isinstance(lock, Frame) and lock.mapping is obj.mapping for lock in actor.locks):
                held.add(PAGE_LOCK)
        elif self.kernel.ksm_run & KSM_RUN_OFFLINE and self.kernel.memory_hotplug_lock.owner is actor:
            held.add(self.kernel.ksm_thread_mutex)
        return frozenset(held)

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        if shared:
            self._shared.setdefault(actor.number, []).append(lock)

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        if shared:
            self._shared[actor.number].remove(lock)

    def _freed(self, pfn: int, nid: int) -> None:
        node = self.kernel.nodes[nid]
        self._fields.pop(node.frames[pfn - node.start_pfn], None)

    def _unprotected(self, actor: Actor, obj: object, field: object, known: FieldLocks) -> Exception:
        number, place, step = known.last
        before = f"step {step}, by {self.machine.conductor.actors[number].name} in {place}" if place else "the first"
        finding = self.finding(
            "no_common_lock",
            f"{actor.name} touches {named(obj, field)} in {actor.place} at step {actor.step}, and holds none of the "
            f"locks that all accesses have had in common up to {before}",
            where=actor.place,
            other=number,
        )
        finding.other_step = step
        return finding
