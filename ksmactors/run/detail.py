"""Events of detail: who holds which lock, who blocks and who wakes whom, turns, pages and trees.

Recorded only for `--detail`. What listens here looks on as watchers do: it passes no point and changes nothing, so a
schedule is the same with it and without it, and its events are in no digest.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from typing_extensions import override

from ksmactors.call_stack import running_functions
from ksmactors.events import catalogue as ev
from ksmactors.events.check import HEAD
from ksmactors.events.trace import DetailedTrace, Record
from ksmactors.interleave.actor import ACQUIRE, START, WRITE, YIELD, Actor, Operation
from ksmactors.interleave.labels import describe_operation
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import holders_of, name_of
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame, KsmMapping
from ksmactors.run.lock_times import LockTimes
from ksmactors.seams import PASSED_OVER
from ksmactors.watch.probe import frame_at

_BY_REFERENCE: Final = tuple(
    code for code, event in enumerate(ev.CATALOGUE) if event.race is not None and event.race.by_reference
)
"""Races whose recorded winner is the actor that took the last reference, which may be the loser."""

_BY_CHANGE: Final = (
    *_BY_REFERENCE, ev.RACE_CHECKSUM_CHANGED, ev.RACE_CONTENT_CHANGED, ev.RACE_UNSTABLE_MOVED,
)  # fmt: skip
"""Races that an actor has won by changing the page that they name."""

_TAKES_NOTHING: Final = describe_operation((ACQUIRE, None, ""))

_NONE: Final = -1
"""Stands for the number of an object that there is not."""


_COUNTERS: Final = itemgetter("ksm_pages_shared", "ksm_pages_sharing", "ksm_pages_unshared", "ksm_rmap_items")


class DetailObserver(Observer):
    """Records events of detail about one schedule. `attach` it to the machine once there is one."""

    def __init__(self, trace: DetailedTrace) -> None:
        self._trace = trace
        self._detail = trace.detail
        self._blocked: dict[Actor, tuple[object, int]] = {}
        """Actors that are blocked, in the order in which they came to be: on what, and since when (virtual ns)."""
        self._locks = LockTimes(lambda: trace.clock.stamp()[1])
        self._places: dict[Actor, str] = {}
        self._described = _Descriptions()
        self._gone: Actor | None = None
        self._last: dict[int, tuple[str, str]] = {}
        """By page, the actors that changed it last: the very last, and the last other one (empty if there is none)."""
        trace.knows_better = self._with_winner
        self._kernel: dict[str, Any] | None = None
        """The global variables of mm/ksm.c, by name: read here, no access to them is reported."""
        self._counters: tuple[int, ...] = ()

    def attach(self, machine: Machine) -> None:
        """Listen to changes of pages and trees too."""
        structures = _StructureRecorder(machine.kernel, self._trace)
        structures.on_page = lambda pfn: self._changed(machine.conductor.turn, pfn)
        self._kernel = vars(machine.kernel)

    @property
    def _now(self) -> int:
        return self._trace.clock.stamp()[1]

    # -- turns and actors ---------------------------------------------------------------------------------------------

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        kind, obj, field = op
        place = actor.place
        if self._places.get(actor) != place:
            self._places[actor] = place
            self._detail(ev.FUNCTION_ENTERED, place, self._described.of(op))
        if self._kernel is not None:
            self._count(self._kernel)
        if actor in self._blocked:
            self._awake(actor, None)
        self._locks.did(actor, obj)
        if kind == WRITE and isinstance(obj, Frame):
            self._changed(actor, obj.pfn)
            if field == "refcount":
                self._detail(ev.PAGE_REFERENCES, obj.pfn, obj.nid, obj.refcount, place)
            elif field == "mapping":
                self._detail(ev.PAGE_MAPPING, obj.pfn, obj.nid, *_mapping_of(obj))

    def _changed(self, actor: Actor, pfn: int) -> None:
        """An actor has changed a page: its references, mapping or content, or an entry that maps it."""
        last, _ = self._last.get(pfn, ("", ""))
        if actor.name != last:
            self._last[pfn] = actor.name, last

    def _with_winner(self, record: Record) -> Record:
        """A race with its winner, where the kernel does not know it or takes the loser for it: the other actor that was
        the last to change the page."""
        code = record[0]
        if code not in _BY_CHANGE:
            return record
        head, (winner, loser, *rest) = record[:HEAD], record[HEAD:]
        if winner != "unknown" and (winner != loser or code not in _BY_REFERENCE):
            return record
        last, other = self._last.get(rest[-1], ("", ""))
        return *head, (other if last == loser else last) or winner, loser, *rest

    def _count(self, kernel: dict[str, Any]) -> None:
        counters = *_COUNTERS(kernel), len(kernel["migrate_nodes"])
        if counters != self._counters:
            self._counters = counters
            self._detail(ev.KSM_COUNTERS, *counters)

    @override
    def passed(self, actor: Actor, to: Actor) -> None:
        self._notice_awake()
        function, operation = actor.place, "" if actor.op[0] == START else self._described.of(actor.op)
        if actor in self._blocked:
            why = "slept" if isinstance(self._blocked[actor][0], tuple) else "blocked"
        elif actor is self._gone:
            why, function, operation = "ended", "", ""
        else:
            why = "yielded" if actor.op[0] == YIELD else "switched"
        self._detail(ev.TURN_PASSED, to.name, why, function, operation)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        if actor is not None:
            self._detail(ev.ACTOR_STARTED, child.name, child.cpu, child.node)

    @override
    def ended(self, actor: Actor) -> None:
        self._gone = actor
        self._detail(ev.ACTOR_ENDED)

    @override
    def blocked(self, actor: Actor, on: object) -> None:
        self._blocked[actor] = on, self._now
        self._locks.blocked(actor, on)
        holder = next((one.name for one in holders_of(on)), None)
        self._detail(ev.ACTOR_BLOCKED, name_of(on), holder, _running_function(on))

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self._awake(woken, actor.name)

    def _awake(self, woken: Actor, by: str | None) -> None:
        waited = self._blocked.pop(woken, None)
        if waited is None:
            return
        on, since = waited
        self._locks.woken(woken, by)
        self._detail(ev.ACTOR_WOKEN, woken.name, by, name_of(on), self._now - since)

    def _notice_awake(self) -> None:
        """An alarm is not reported: it is noticed when the turn passes."""
        for one in [one for one in self._blocked if one.waiting_on is None]:
            self._awake(one, None)

    # -- locks --------------------------------------------------------------------------------------------------------

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        waited, by = self._locks.acquired(actor, lock)
        self._detail(ev.LOCK_ACQUIRED, name_of(lock), shared, tried, waited, by, actor.place)

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        held, waited = self._locks.released(actor, lock)
        self._detail(ev.LOCK_RELEASED, name_of(lock), shared, held, waited, actor.place)


class _StructureRecorder:
    """Records what happens to page table entries, trees and migrate_nodes of one kernel."""

    def __init__(self, kernel: Ksm, trace: DetailedTrace) -> None:
        self._kernel = kernel
        self._detail = trace.detail
        self.on_page: Callable[[int], None] = lambda _: None
        """Called with each page whose mappings change."""
        kernel.pte_listeners.append(self._pte_changed)
        for news, code in (("listed", ev.NODE_LISTED), ("unlisted", ev.NODE_UNLISTED), ("freed", ev.NODE_FREED)):
            kernel.node_listeners[news].append(self._teller(code))
        for name, roots in (("stable", kernel.root_stable_tree), ("unstable", kernel.root_unstable_tree)):
            for root in roots:
                self._observe(root, name)

    def _teller(self, code: int) -> Any:
        def tell(node: StableNode) -> None:
            page = frame_at(self._kernel, node.kpfn)
            where = () if code == ev.NODE_FREED else (page.nid if page is not None else _NONE,)
            self._detail(code, node.number, node.kpfn, *where, node.nid)

        return tell

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, after: Pte | None) -> None:
        was = before.frame if before is not None and not before.migration else None
        now = after.frame if after is not None and not after.migration else None
        for page in (was, now):
            if page is not None:
                self.on_page(page.pfn)
        if before is not None and was is not None and was is now:
            assert after is not None
            if before.write != after.write:
                self._detail(ev.PAGE_PROTECTED, mm.name, address, was.pfn, after.write)
            return
        if was is not None:
            self._detail(ev.PAGE_UNMAPPED, mm.name, address, was.pfn, was.nid, self._became(mm, address, after))
        if now is not None and after is not None:
            self._detail(ev.PAGE_MAPPED, mm.name, address, now.pfn, now.nid, after.write)

    @staticmethod
    def _became(mm: AddressSpace, address: int, after: Pte | None) -> str:
        if after is not None:
            return "migration" if after.migration else "page"
        if address in mm.hwpoison_ptes:
            return "hwpoison"
        return "swap" if address in mm.swap_ptes else "nothing"

    def _observe(self, root: ContentTree[Any], name: str) -> None:
        """Have a tree record who comes and who goes: its class gives way to a subclass, as in `ksm.instrumented`."""
        detail, entry_of = self._detail, self._entry
        plain: Any = type(root)

        class Observed(plain):  # type: ignore[misc]
            __slots__ = ()

            @override
            def insert(self, node: Any, parent: Any, left: bool) -> None:
                super().insert(node, parent, left)
                detail(ev.TREE_INSERTED, name, root.nid, *entry_of(node))

            @override
            def erase(self, node: Any) -> None:
                super().erase(node)
                detail(ev.TREE_ERASED, name, root.nid, *entry_of(node))

            @override
            def replace(self, victim: Any, new: Any) -> None:
                super().replace(victim, new)
                detail(ev.TREE_ERASED, name, root.nid, *entry_of(victim))
                detail(ev.TREE_INSERTED, name, root.nid, *entry_of(new))

            @override
            def reset(self) -> None:
                super().reset()
                detail(ev.TREE_RESET, name, root.nid)

        Observed.__name__ = plain.__name__
        root.__class__ = Observed

    def _entry(self, node: StableNode | RmapItem) -> tuple[int, int, int, int]:
        """Numbers of stable node and rmap_item, frame and its node, as the fields of an event about a tree."""
        if isinstance(node, StableNode):
            page = frame_at(self._kernel, node.kpfn)
            return node.number, _NONE, node.kpfn, page.nid if page is not None else _NONE
        pte = node.mm.ptes.get(node.address)
        if pte is None:
            return _NONE, node.number, _NONE, _NONE
        return _NONE, node.number, pte.frame.pfn, pte.frame.nid


def _mapping_of(page: Frame) -> tuple[str, int]:
    mapping = page.mapping
    if not isinstance(mapping, KsmMapping):
        return "none" if mapping is None else "anon", _NONE
    node = mapping.stable_node
    return "ksm", node.number if isinstance(node, StableNode) else _NONE


class _Descriptions(dict[Operation, str]):
    """The operations of one schedule in words: most are performed again and again, and no object changes its name."""

    def of(self, op: Operation) -> str:
        """Describe an operation, whose object need not be hashable: it may be a workload's own."""
        try:
            return self[op]
        except TypeError:
            return describe(op)

    def __missing__(self, op: Operation) -> str:
        self[op] = described = describe(op)
        return described


def describe(op: Operation) -> str:
    """Return an operation as a predicate, sleeping and waiting included: `waits for mmap_sem of A`."""
    if isinstance(op[1], tuple):
        return "sleeps"
    described = describe_operation(op)
    return f"waits for {name_of(op[1])}" if described == _TAKES_NOTHING else described


def _running_function(on: object) -> str:
    """The kernel function that the actor which is about to wait for `on` is in."""
    names = running_functions(on)[:-2]  # without those of this module
    return next((name for name in reversed(names) if not PASSED_OVER[name]), "")
