"""Eraser: each shared field has a lock that every actor holds while it accesses the field."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE, Actor
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, MmSlot, StableNode
from ksmactors.later.chain_nodes import Chain
from ksmactors.machine import Machine
from ksmactors.mm.frame import Frame
from ksmactors.watch.accesses import NOBODY, SHARED, Access, Detector, FieldHistory
from ksmactors.watch.happens_before import named

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


class Lockset(Detector):
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
        machine.trace.listen(ev.FREE_PAGE, self._freed)
        machine.kernel.declare_fields()

    @override
    def accessed(self, actor: Actor, kind: int, field: FieldHistory) -> None:
        number, owner = actor.number, field.owner
        if owner == NOBODY:
            field.owner, field.last = number, (number, "", -1)
            return
        if owner != number:
            if owner != SHARED or not self.history.holds(actor, kind, field.common):
                held = self._with_stand_ins(actor, self.history.held(actor, kind), field.obj)
                field.common = held if owner != SHARED else held & field.common
                field.owner = SHARED
                if not field.common and field.emptied is None:
                    field.emptied = kind, (number, 0, actor.place, actor.step, actor.locks)
            field.written |= kind == WRITE
            if field.written and not field.common:
                raise self._unprotected(actor, field)
        field.last = (number, actor.place, actor.step)

    @override
    def touched(self, actor: Actor, kind: int, field: FieldHistory) -> None:
        if (field.field, actor.place) not in EXEMPT:
            self.accessed(actor, kind, field)

    @override
    def judges_declared(self, obj: object, field: object) -> bool:
        return field not in EITHER_LOCK and not isinstance(obj, MmSlot)

    def _with_stand_ins(self, actor: Actor, held: frozenset[object], obj: object) -> frozenset[object]:
        """Return the locks that protect an access to an object, with stand-ins for those that change."""
        if isinstance(obj, StableNode) and not isinstance(obj, Chain):  # a chain has no page
            if any(isinstance(lock, Frame) and lock.mapping is obj.mapping for lock in actor.locks):
                return held | {PAGE_LOCK}
        elif self.kernel.ksm_run & KSM_RUN_OFFLINE and self.kernel.memory_hotplug_lock.owner is actor:
            return held | {self.kernel.ksm_thread_mutex}
        return held

    def _freed(self, pfn: int, nid: int) -> None:
        node = self.kernel.nodes[nid]
        for field in self.history.fields_of(node.frames[pfn - node.start_pfn]):
            field.forget_locks()

    def _unprotected(self, actor: Actor, field: FieldHistory) -> Exception:
        """Name the access without the common lock, which may have been a read, before this write."""
        number, place, step = field.last
        if field.emptied is not None and field.emptied[1][3] != actor.step:
            return self._unprotected_since(actor, field, *field.emptied)
        before = f"step {step}, by {self.machine.conductor.actors[number].name} in {place}" if place else "the first"
        finding = self.finding(
            "no_common_lock",
            f"{actor.name} touches {named(field.obj, field.field)} in {actor.place} at step {actor.step}, and holds "
            f"none of the locks that all accesses have had in common up to {before}",
            where=actor.place,
            other=number,
        )
        finding.other_step = step
        return finding

    def _unprotected_since(self, actor: Actor, field: FieldHistory, kind: int, access: Access) -> Exception:
        number, _, place, step, _ = access
        what = named(field.obj, field.field)
        name = self.machine.conductor.actors[number].name
        message = (
            f"{name} touches {what} in {place} at step {step}, and holds none of the locks that all accesses have had "
            f"in common before; {actor.name} writes it in {actor.place} at step {actor.step}"
        )
        return self.met("no_common_lock", message, field, kind, access, WRITE, actor)
