"""The meter: an observer that measures a schedule for comparisons.

It looks on as watchers do: it passes no point and draws nothing, so a schedule is the same with it and without it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from time import process_time_ns
from typing import Any, Final

from typing_extensions import override

from ksmactors.call_stack import callers
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import READ, Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import name_of
from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.machine import Machine
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame
from ksmactors.run.lock_times import LockTimes
from ksmactors.run.measured import LockUse, Measured, TreeUse

STABLE: Final = "stable"
UNSTABLE: Final = "unstable"

_SEARCHES: Final = {
    "stable_tree_search": STABLE, "stable_tree_insert": STABLE, "unstable_tree_search_insert": UNSTABLE,
}  # fmt: skip
"""The kernel's searches, with the trees that they search."""

_LOOKUPS: Final = ("get_ksm_page", "get_mergeable_page")
"""The functions that get the page of an entry, of a stable and of an unstable tree."""

_INSTANCE: Final = re.compile(r" of .*$| \d+$")
"""What the name of a lock has beside its kind, as in the view `locks` of logs."""


class Meter(Observer):
    """Measures one schedule. `attach` it to the machine once there is one."""

    def __init__(self) -> None:
        self._began = process_time_ns()
        self._machine: Machine | None = None
        self._times: LockTimes | None = None
        self._locks: dict[str, list[int]] = {}
        self._kinds: dict[str, list[int]] = {}
        """By the name of a lock: the sums of its kind."""
        self._trees: dict[str, list[int]] = {STABLE: [0, 0, 0], UNSTABLE: [0, 0, 0]}
        self._in_hand: object = None
        """The page that is searched for."""
        self._merged_after: list[int] = []
        self._saved = 0

    def attach(self, machine: Machine) -> None:
        """Measure what happens on a machine from now on."""
        self._machine = machine
        self._times = LockTimes(lambda: machine.conductor.now)
        kernel = machine.kernel
        machine.conductor.observe(self)
        machine.trace.listen(ev.STABLE_TREE_APPEND, self._merged)
        for name, tree in _SEARCHES.items():
            _call_first(kernel, name, self._search_of(tree))
        for name in _LOOKUPS:
            _call_first(kernel, name, self._look_up)
        for tree, roots in ((STABLE, kernel.root_stable_tree), (UNSTABLE, kernel.root_unstable_tree)):
            for root in roots:
                self._observe(root, tree)

    def measured(self) -> Measured | None:
        """Return the figures; None if the schedule had no machine."""
        machine = self._machine
        if machine is None:
            return None
        return Measured(
            machine.conductor.now, machine.kernel.pages_scanned, self._saved, tuple(self._merged_after),
            {tree: TreeUse(*sums) for tree, sums in self._trees.items()},
            {kind: LockUse(*sums) for kind, sums in sorted(self._locks.items())},
            process_time_ns() - self._began,
        )  # fmt: skip

    # -- merges -------------------------------------------------------------------------------------------------------

    def _merged(self, *_: object) -> None:
        assert self._machine is not None
        kernel = vars(self._machine.kernel)  # read here, no access is reported
        sharing, shared = kernel["ksm_pages_sharing"], kernel["ksm_pages_shared"]
        self._saved = max(self._saved, sharing)
        if sharing + shared > len(self._merged_after):
            self._merged_after.append(kernel["pages_scanned"])

    # -- searches -----------------------------------------------------------------------------------------------------

    def _search_of(self, tree: str) -> Callable[..., None]:
        sums = self._trees[tree]

        def begin(*args: object) -> None:
            sums[0] += 1
            self._in_hand = next((one for one in args if isinstance(one, Frame)), None)

        return begin

    def _look_up(self, *_: object) -> None:
        tree = _searched()
        if tree is not None:
            self._trees[tree][1] += 1

    @override
    def arrived(self, actor: Actor) -> None:
        kind, obj, field = actor.op
        if kind == READ and field == "content" and obj is not self._in_hand:
            tree = _searched()
            if tree is not None:
                self._trees[tree][2] += 1

    def _observe(self, root: ContentTree[Any], tree: str) -> None:
        """Count what the index of a tree saves: its class gives way to a subclass, as in `ksm.instrumented`."""
        sums = self._trees[tree]
        looked_up = tree == UNSTABLE  # the page of an equal entry, after the index has found the entry
        plain: Any = type(root)

        class Measuring(plain):  # type: ignore[misc]
            __slots__ = ()

            @override
            def find(self, content: Content) -> InsertPosition:
                place: InsertPosition = super().find(content)
                depth, entry = 0, place.entry or place.parent
                while entry is not None:
                    depth, entry = depth + 1, entry.rb_parent
                sums[1] += depth - (looked_up and place.entry is not None)
                sums[2] += depth
                return place

        Measuring.__name__ = plain.__name__
        root.__class__ = Measuring

    # -- locks --------------------------------------------------------------------------------------------------------

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        assert self._times is not None
        self._times.did(actor, op[1])

    @override
    def blocked(self, actor: Actor, on: object) -> None:
        assert self._times is not None
        self._times.blocked(actor, on)

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        assert self._times is not None
        waited, _ = self._times.acquired(actor, lock)
        self._sums_of(lock)[1] += waited

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        assert self._times is not None
        held, _ = self._times.released(actor, lock)
        sums = self._sums_of(lock)
        sums[0] += held
        sums[2] = max(sums[2], held)

    def _sums_of(self, lock: object) -> list[int]:
        name = name_of(lock)
        sums = self._kinds.get(name)
        if sums is None:
            sums = self._kinds[name] = self._locks.setdefault(_INSTANCE.sub("", name), [0, 0, 0])
        return sums


def _searched() -> str | None:
    """The kind of tree that the running actor searches; None if it is in no search."""
    for frame in callers(sys._getframe(2)):
        tree = _SEARCHES.get(frame.f_code.co_name)
        if tree is not None:
            return tree
    return None


def _call_first(kernel: Ksm, name: str, listener: Callable[..., None]) -> None:
    """Have each call of a kernel function notify a listener first, with the arguments.

    The function itself is called as before: no frame is between it and its caller when it runs.
    """
    function = getattr(kernel, name)

    def called(*args: Any, **keywords: Any) -> Any:
        listener(*args)
        return function(*args, **keywords)

    vars(kernel)[name] = called
