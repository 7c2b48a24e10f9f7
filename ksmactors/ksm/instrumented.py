"""Instrumented structures of mm/ksm.c: observers are notified of every access to their fields.

Nearly all of this state is protected by ksm_thread_mutex. A scheduling point at each access would allow no interleaving
that the lock does not. But race detectors need every access, to detect one without the lock. So a structure can be
instrumented: its class is replaced by a subclass whose fields are properties. Without observers this costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

from ksmactors.interleave.actor import READ, WRITE
from ksmactors.interleave.observer import Users
from ksmactors.interleave.turns import Turns
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.structs import KsmScan, MmSlot, RmapItem, StableNode

T = TypeVar("T")

FIELDS: Final[dict[type, dict[str, str]]] = {
    RmapItem: {
        "flag": "flag",
        "seqnr": "seqnr",
        "oldchecksum": "oldchecksum",
        "rmap_list": "rmap_list",
        "_owner": "anon_vma",  # or nid
        "_head": "head",
    },
    StableNode: {"nid": "nid", "migrating": "head"},
    MmSlot: {"rmap_list": "rmap_list"},
    KsmScan: {"address": "address", "rmap_list": "rmap_list", "seqnr": "seqnr"},
    ContentTree: {"root": ""},
}
"""By class, which slots declare themselves, and as which field. What has operations of its own is not among them: kpfn,
hlist, `alive`, the links of trees and lists, and the cursor's slot."""

KERNEL_FIELDS: Final = (
    "ksm_pages_shared", "ksm_pages_sharing", "ksm_pages_unshared", "ksm_rmap_items", "ksm_merge_across_nodes",
    "ksm_nr_node_ids", "migrate_nodes",
)  # fmt: skip
"""The same of the global variables of mm/ksm.c, which are the kernel's."""


class Instrumented:
    """Instruments objects, for one schedule.

    An access counts if a function of the kernel makes it, directly or through a method of the structure. Accesses by
    watchers, tests and reports do not count.
    """

    def __init__(self, turns: Turns, kernel: type) -> None:
        self._classes = _instrumented_classes(kernel)
        _under_way.turns = turns

    def of(self, obj: T) -> T:
        """Return the same object, instrumented."""
        obj.__class__ = self._classes[type(obj)]
        return obj


class _UnderWay:
    """The schedule whose structures are instrumented: one process runs one at a time (`current_conductor`).

    Structures do not know their schedule, and a class of their own for each schedule takes longer to make than a short
    schedule takes to run.
    """

    turns: Turns


_under_way: Final = _UnderWay()


class _InstrumentedClasses(dict[type, type]):
    """By class, the subclass that reports accesses by functions of one kernel; a subclass stands for itself."""

    def __init__(self, users: Users) -> None:
        super().__init__()
        self._users = users

    def __missing__(self, cls: type) -> type:
        body: dict[str, Any] = {"__slots__": ()}
        for base in cls.__mro__:
            for name, field in FIELDS.get(base, {}).items():
                slot = getattr(cls, name)
                body[name] = _declaring(field, slot.__get__, slot.__set__, self._users)
        instrumented = self[cls] = type(cls.__name__, (cls,), body)
        self[instrumented] = instrumented
        return instrumented


@cache
def _instrumented_classes(kernel: type) -> _InstrumentedClasses:
    return _InstrumentedClasses(_users(kernel))


@cache
def instrumented_kernel(kernel: type) -> type:
    """Return the class of a kernel whose global variables are instrumented, for its `__class__`."""
    body = {}
    for name in KERNEL_FIELDS:
        variable = _Attribute(name)
        body[name] = _declaring(name, variable.__get__, variable.__set__, _users(kernel))
    return type(kernel.__name__, (kernel,), body)


class _Attribute:
    """An attribute of an object without slots, with the interface of a slot."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, obj: Any, owner: object = None) -> Any:
        return vars(obj)[self._name]

    def __set__(self, obj: Any, value: Any) -> None:
        vars(obj)[self._name] = value


_METHODS: Final = frozenset(base.__module__ for cls in FIELDS for base in cls.__mro__)
"""Where the structures' own methods are."""

_ASIDES: Final = frozenset({"must_be_alive", "nodes_of"})
"""What asks for the emulator or its watchers, not for the kernel."""


@cache
def _users(kernel: type) -> Users:
    """The functions whose accesses count: a kernel's own."""
    return Users(frozenset(cls.__module__ for cls in kernel.__mro__), _METHODS, _ASIDES)


def _declaring(field: str, get: Callable[[Any], Any], put: Callable[[Any, Any], None], users: Users) -> property:
    def read(obj: Any) -> Any:
        observers = _under_way.turns.observers
        if observers is not None:
            observers.field_used(READ, obj, field, users)
        return get(obj)

    def write(obj: Any, value: Any) -> None:
        observers = _under_way.turns.observers
        if observers is not None:
            observers.field_used(WRITE, obj, field, users)
        put(obj, value)

    return property(read, write)
