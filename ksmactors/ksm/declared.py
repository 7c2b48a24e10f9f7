"""Fields of the structures of mm/ksm.c that tell of every access to them, while somebody wants to hear it.

Nearly all of this state belongs to ksm_thread_mutex. To pass a point for each access would let nobody in who could not
get in at the lock; but a race detector must hear of them all, or it would not notice when somebody comes without the
lock. So a structure can be made one that declares itself: its class gives way to a subclass whose fields are
properties. That costs nothing as long as nobody has asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from ksmactors.interleave.actor import READ, WRITE
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


class Declared:
    """Makes objects declare their fields, for one schedule.

    An access is told if a function of the kernel makes it, itself or through a method of the structure: who only looks
    on (a witness, a test, a report) is no actor.
    """

    def __init__(self, turns: Turns, kernel: type) -> None:
        self._turns = turns
        self._modules = frozenset(cls.__module__ for cls in kernel.__mro__)
        self._methods = frozenset(base.__module__ for cls in FIELDS for base in cls.__mro__)
        self._classes: dict[type, type] = {}

    def of(self, obj: T) -> T:
        """The same object, which tells of its fields from now on."""
        cls = type(obj)
        declaring = self._classes.get(cls)
        if declaring is None:
            declaring = self._classes[cls] = self._subclass(cls, dict(_fields_of(cls)), slots=True)
        obj.__class__ = declaring
        return obj

    def variables(self, kernel: object, names: tuple[str, ...]) -> None:
        """The same for attributes of the kernel itself."""
        kernel.__class__ = self._subclass(type(kernel), {name: name for name in names}, slots=False)

    def _subclass(self, cls: type, fields: dict[str, str], *, slots: bool) -> type:
        body: dict[str, Any] = {"__slots__": ()} if slots else {}
        for name, field in fields.items():
            slot = getattr(cls, name) if slots else _Variable(name)
            body[name] = self._property(field, slot.__get__, slot.__set__)
        return type(cls.__name__, (cls,), body)

    def _property(self, field: str, get: Callable[[Any], Any], put: Callable[[Any, Any], None]) -> property:
        turns, modules, methods = self._turns, self._modules, self._methods

        def read(obj: Any) -> Any:
            if turns.audience is not None:
                turns.audience.field_used(READ, obj, field, modules, methods)
            return get(obj)

        def write(obj: Any, value: Any) -> None:
            if turns.audience is not None:
                turns.audience.field_used(WRITE, obj, field, modules, methods)
            put(obj, value)

        return property(read, write)


class _Variable:
    """An attribute of an object without slots, with the interface of one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, obj: Any, owner: object = None) -> Any:
        return vars(obj)[self._name]

    def __set__(self, obj: Any, value: Any) -> None:
        vars(obj)[self._name] = value


def _fields_of(cls: type) -> Iterator[tuple[str, str]]:
    for base in cls.__mro__:
        yield from FIELDS.get(base, {}).items()
