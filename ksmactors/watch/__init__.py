"""Witnesses: each listens to one promise of the protocol, and convicts when it is broken.

They only listen: none passes a point, takes a lock or changes a choice, so that a schedule is the same with all of
them and with none. The use of freed objects, a misused link and a deadlock are found by the operations themselves
and reported whether or not somebody watches, since nothing that comes after them means anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher
from ksmactors.watch.counters import Counters
from ksmactors.watch.lifetime import Lifetime
from ksmactors.watch.references import References
from ksmactors.watch.rmap import ReverseMapping
from ksmactors.watch.shadow import ShadowMemory
from ksmactors.watch.structure import Structure
from ksmactors.watch.warning import Warnings
from ksmactors.watch.writable import Writable

__all__ = ["WATCHERS", "Watcher", "attach"]

WATCHERS: Final[dict[str, type[Watcher]]] = {
    cls.name: cls
    for cls in (ShadowMemory, Lifetime, Structure, References, Counters, Writable, ReverseMapping, Warnings)
}
"""The witnesses by name; plug-ins add theirs."""


def attach(machine: Machine, names: Iterable[str]) -> list[Watcher]:
    """Have the named witnesses watch a machine from now on. KeyError: there is no such witness."""
    watchers = [WATCHERS[name](machine) for name in names]
    machine.watchers.extend(watchers)
    return watchers
