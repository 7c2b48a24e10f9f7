"""Watchers: each checks one promise of the protocol and reports a finding when it is broken.

Watchers only observe: none passes a scheduling point, takes a lock or changes a choice, so a schedule is the same with
all of them and with none. Use after free, a misused link and a deadlock are detected by the operations themselves and
always reported, since nothing after them is meaningful.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ksmactors.errors import Finding, StepLimit, WatcherFailed, WorkloadCrashed
from ksmactors.escaping import described
from ksmactors.machine import Machine
from ksmactors.places import author_place, is_authors_class
from ksmactors.watch.base import Watcher, culprit
from ksmactors.watch.convergence import Convergence
from ksmactors.watch.counters import CounterInvariants
from ksmactors.watch.happens_before import HappensBefore
from ksmactors.watch.hlist import Hlist
from ksmactors.watch.knob import Knob
from ksmactors.watch.lifetime import Lifetime
from ksmactors.watch.liveness import Liveness
from ksmactors.watch.locality import Locality
from ksmactors.watch.lock_graph import Edge
from ksmactors.watch.lock_order import LockOrder
from ksmactors.watch.lockset import Lockset
from ksmactors.watch.memory_failure import FailedMemory
from ksmactors.watch.migration import MigrationEntries
from ksmactors.watch.mlock import MlockKept
from ksmactors.watch.naming import Naming
from ksmactors.watch.offline import OfflineFrames
from ksmactors.watch.progress import Progress
from ksmactors.watch.pruning import Pruning
from ksmactors.watch.references import References
from ksmactors.watch.refinement import Refinement
from ksmactors.watch.registration import Registration
from ksmactors.watch.rmap import ReverseMapping
from ksmactors.watch.secondary import SecondaryMappings
from ksmactors.watch.shadow import ShadowMemory
from ksmactors.watch.trees import TreeInvariants
from ksmactors.watch.unmerge import Unmerged
from ksmactors.watch.warning import Warnings
from ksmactors.watch.wasted_work import WastedWork
from ksmactors.watch.writable import Writable

__all__ = ["BUILT_IN", "WATCHERS", "Watcher", "attach", "classified", "failure_of", "lock_edges"]

WATCHERS: Final[dict[str, type[Watcher]]] = {
    cls.name: cls
    for cls in (
        ShadowMemory, Lifetime, TreeInvariants, Naming, References, Hlist, CounterInvariants, Writable, MlockKept,
        MigrationEntries, Locality, Unmerged, Knob, Pruning, ReverseMapping, Convergence, Progress, Liveness,
        OfflineFrames, WastedWork, Refinement, LockOrder, HappensBefore, Lockset, Warnings,
        SecondaryMappings, FailedMemory, Registration,
    )
}  # fmt: skip
"""The watchers by name; plug-ins add theirs. If two could report at the same moment, the first one does."""

BUILT_IN: Final = tuple(WATCHERS)
"""The watchers of ksmactors itself."""


FORMER_NAMES: Final = {"economy": "wasted_work", "eventual": "convergence"}
"""Former names of watchers, with the current ones. Commands and finding files may use either."""


def current_name(name: str) -> str:
    """Return the current name of a watcher."""
    return FORMER_NAMES.get(name, name)


def current_signature(signature: str) -> str:
    """Return a signature with the current name of its watcher."""
    watcher, slash, rest = signature.partition("/")
    return f"{current_name(watcher)}{slash}{rest}"


def attach(machine: Machine, names: Iterable[str]) -> list[Watcher]:
    """Attach the named watchers to a machine. Raises KeyError for an unknown name."""
    watchers = [WATCHERS[name](machine) for name in names]
    machine.watchers.extend(watchers)
    return watchers


def lock_edges(machine: Machine | None) -> tuple[Edge, ...]:
    """Return the lock order edges that `lock_order` recorded: which classes of locks were taken under which."""
    watchers = machine.watchers if machine is not None else ()
    return tuple(edge for one in watchers if isinstance(one, LockOrder) for edge in one.graph.edges.values())


def classified(machine: Machine | None, error: Exception) -> Exception:
    """Return the error to report for a schedule in which `error` was raised.

    That is `error` itself, with two exceptions: a finding, if the steps have run out and a watcher knows why;
    WatcherFailed, if a watcher raised something that is no finding.
    """
    if isinstance(error, StepLimit) and machine is not None:
        try:
            for watcher in machine.watchers:
                watcher.at_step_limit(error)
        except Exception as raised:  # a finding, or a bug of the watcher
            error = raised
    failing = None if isinstance(error, Finding) else culprit(error)
    return error if failing is None else failure_of(type(failing), error)


def failure_of(watcher: type[Watcher], error: BaseException, place: str = "") -> WatcherFailed:
    """Return the error to report for what the code of a watcher raised; `place` is that of the author, if known."""
    cause = error.__cause__ if isinstance(error, WorkloadCrashed) and error.__cause__ is not None else error
    if not place and is_authors_class(watcher):
        place = author_place(cause)
    failed = WatcherFailed(watcher.name, described(cause), place)
    failed.__cause__ = cause
    return failed
