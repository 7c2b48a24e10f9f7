"""The objects of a schedule for a reader: what each is called, and all its fields under the kernel's names.

A name is a kind and which one of the kind: `pfn/17`, `rmap_item/3`, `mm/A`. Locks, and fields that have operations of
their own, are called by their labels: `page_lock/17`. Reading passes no scheduling point and changes nothing, and
whatever is broken can be read: unions, freed objects, lists with cycles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from ksmactors.interleave.actor import READ, Actor
from ksmactors.interleave.labels import label_of
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.rbtree import RbNode
from ksmactors.ksm.structs import FREED, STABLE_FLAG, UNSTABLE_FLAG, KsmScan, MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.content import TOKEN_BYTES, Content
from ksmactors.mm.frame import Frame, KsmMapping
from ksmactors.mm.node import Node
from ksmactors.mm.swap_device import SwapSlot

LISTED_MAX: Final = 40
"""Elements of a list that are shown; a broken one may have no end."""

ENTRIES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 64
"""Entries and levels of a tree that are looked at."""

TEXT_MAX: Final = 200
"""Characters of a text that are shown."""

_FLAGS: Final = {0: "0 (volatile)", FREED: "freed", STABLE_FLAG: "STABLE_FLAG", UNSTABLE_FLAG: "UNSTABLE_FLAG"}

_NAMERS: Final[Mapping[type, Any]] = {
    Frame: lambda frame: f"pfn/{frame.pfn}",
    StableNode: lambda node: f"stable_node/{node.number}",
    RmapItem: lambda item: f"rmap_item/{item.number}",
    AddressSpace: lambda mm: f"mm/{mm.name}",
    Vma: lambda vma: f"vma/{vma.mm.name}/{vma.start:#x}",
    AnonVma: lambda anon_vma: f"anon_vma/{anon_vma.number}",
    MmSlot: lambda slot: f"mm_slot/{slot.mm.name}" if slot.mm is not None else "ksm_mm_head",
    SwapSlot: lambda slot: f"swap/{slot.number}",
    Node: lambda node: f"node/{node.nid}",
    KsmScan: lambda _: "ksm_scan",
    Actor: lambda actor: f"actor/{actor.name}",
}

_RENAMED: Final[Mapping[type, Mapping[str, str]]] = {
    Frame: {
        "refcount": "page_count", "mapcount": "page_mapcount", "lru": "PG_lru", "_dirty": "PG_dirty",
        "owner": "PG_locked", "writer": "written last by", "getter": "reference taken last by",
    },
    StableNode: {"first": "hlist", "migrating": "head", "moved_by": "moved last by"},
    RmapItem: {"_head": "head", "hnext": "hlist.next", "hprev": "hlist.pprev"},
    MmSlot: {"next": "mm_list.next", "prev": "mm_list.prev"},
    AddressSpace: {
        "users": "mm_users", "count": "mm_count", "registered": "MMF_VM_MERGEABLE", "vmas": "mmap",
        "ptes": "page table", "swap_ptes": "swap entries",
        "hwpoison_ptes": "hwpoison entries",
    },
    Vma: {
        "start": "vm_start", "end": "vm_end", "pgoff": "vm_pgoff", "mergeable": "VM_MERGEABLE", "locked": "VM_LOCKED",
        "mm": "vm_mm", "chain": "anon_vma_chain", "nid": "vm_policy",
    },
    AnonVma: {"vmas": "rb_root"},
    SwapSlot: {
        "count": "swap_map", "cached": "SWAP_HAS_CACHE", "_writeback": "PG_writeback", "_uptodate": "PG_uptodate",
    },
}  # fmt: skip
"""By class, slots that have another name in the kernel, or none of their own there."""

_HIDDEN: Final[Mapping[type, frozenset[str]]] = {
    object: frozenset({"conductor", "_conductor", "name", "number", "guard", "before_unlock"}),
    RbNode: frozenset({"indexed", "rb_tree"}),
    StableNode: frozenset({"mapping"}),  # it names the node
    RmapItem: frozenset({"seqnr"}),  # shown with the flag
    ContentTree: frozenset({"_by_content", "_epoch", "generation", "root"}),
    AddressSpace: frozenset({"top", "_mmap_cache"}),
    Node: frozenset({"frames", "mlock_listeners", "_zero", "_freed", "_frame_class"}),
}
"""By class, what belongs to the emulator alone, or is shown with something else."""

_HEX: Final = frozenset({"address", "start", "end"})

_ACTORS: Final = frozenset({"writer", "getter", "moved_by"})
"""Slots that have the number of an actor, or -1."""


def name_of_object(obj: object) -> str:
    """Return what an object is called in every replay of its schedule; "" for what has no name."""
    for cls in type(obj).__mro__:
        if cls in _NAMERS:
            name: str = _NAMERS[cls](obj)
            return name
    return label_of((READ, obj, ""))


def fields_of(obj: object, actors: Iterable[Actor] = ()) -> list[tuple[str, str]]:
    """Return all fields of an object: (name, value), as the kernel has them, then what belongs to it elsewhere.

    Args:
        obj: any object with a name.
        actors: those of the schedule, to say who did something last.
    """
    names = {actor.number: actor.name for actor in actors}
    shown = []
    for slot, value in _slots(obj):
        name = _renamed(obj, slot)
        if isinstance(value, int) and slot in _HEX:
            text = f"{value:#x}"
        elif slot in _ACTORS and isinstance(value, int):
            text = names.get(value, "no actor")
        elif isinstance(obj, RmapItem) and slot == "_owner":
            name, text = ("nid", str(value)) if isinstance(value, int) else ("anon_vma", value_text(value))
        elif isinstance(obj, RmapItem) and slot == "flag":
            text = _flag(obj, value)
        elif isinstance(obj, Frame) and slot == "refcount":
            text = "frozen" if value < 0 else str(value)
        elif isinstance(obj, StableNode) and slot == "migrating":
            text = "&migrate_nodes" if value else "none"
        elif isinstance(obj, StableNode) and slot == "first":
            text = listed(_hlist(value))
        elif isinstance(obj, MmSlot) and slot == "rmap_list":
            text = listed(rmap_list(value))
        else:
            text = value_text(value)
        shown.append((name, text))
    return [*shown, *_beside(obj)]


def value_text(value: object) -> str:
    """Return a value for a reader: objects by name, a list by its first elements."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value[:TEXT_MAX] + "..." * (len(value) > TEXT_MAX)
    if isinstance(value, Content):
        return value.data[:TOKEN_BYTES].hex().lstrip("0") or "0"
    if isinstance(value, KsmMapping):
        node = value.stable_node
        return f"PAGE_MAPPING_KSM|{name_of_object(node)}" if node is not None else "PAGE_MAPPING_KSM without a node"
    if isinstance(value, Pte):
        flags = [name for name in ("write", "dirty", "migration") if getattr(value, name)]
        return " ".join((name_of_object(value.frame), *flags))
    if isinstance(value, Mapping):
        return listed(f"{_key(key)}: {value_text(one)}" for key, one in value.items())
    if isinstance(value, set | frozenset):
        return listed(sorted(map(_key, value)))
    if isinstance(value, list | tuple | deque):
        return listed(value)
    return name_of_object(value) or f"a {type(value).__name__}"


def listed(values: Iterable[object]) -> str:
    """Return a list by its first elements."""
    first = list(islice(values, LISTED_MAX + 1))
    texts = [value if isinstance(value, str) else value_text(value) for value in first[:LISTED_MAX]]
    return f"[{', '.join(texts)}{', ...' if len(first) > LISTED_MAX else ''}]"


def rmap_list(first: object) -> Iterator[RmapItem]:
    """Yield the rmap_items of an address space from one on, in ascending order of address."""
    item = first
    while isinstance(item, RmapItem):
        yield item
        item = raw(item, "rmap_list")


def entries_of(root: ContentTree[Any]) -> Iterator[tuple[Any, int]]:
    """Yield the entries of a tree in order, each with its depth. What a race has made a ring of comes to an end."""
    stack: list[tuple[Any, int]] = []
    entry, depth = raw(root, "root"), 0
    for _ in range(ENTRIES_MAX):
        while entry is not None and len(stack) < DEPTH_MAX:
            stack.append((entry, depth))
            entry, depth = entry.rb_left, depth + 1
        if not stack:
            return
        entry, depth = stack.pop()
        yield entry, depth
        entry, depth = entry.rb_right, depth + 1


def raw(obj: object, slot: str) -> Any:
    """Return what is in a slot, past all properties: no observer is told, and a union is not checked."""
    for cls in reversed(type(obj).__mro__):
        if slot in _own_slots(cls):
            return vars(cls)[_mangled(cls, slot)].__get__(obj)
    return vars(obj)[slot]


def _slots(obj: object) -> Iterator[tuple[str, Any]]:
    """The slots of an object with what is in them: those of its first base class first."""
    hidden = frozenset[str]().union(*(names for cls, names in _HIDDEN.items() if isinstance(obj, cls)))
    for cls in reversed(type(obj).__mro__):
        for slot in _own_slots(cls):
            if slot in hidden:
                continue
            try:
                yield slot, vars(cls)[_mangled(cls, slot)].__get__(obj)
            except AttributeError:  # never set
                continue
    for name, value in getattr(obj, "__dict__", {}).items():
        if name not in hidden and not callable(value):
            yield name, value


def _own_slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _mangled(cls: type, slot: str) -> str:
    return f"_{cls.__name__.lstrip('_')}{slot}" if slot.startswith("__") else slot


def _renamed(obj: object, slot: str) -> str:
    for cls, names in _RENAMED.items():
        if isinstance(obj, cls) and slot in names:
            return names[slot]
    return slot


def _flag(item: RmapItem, flag: int) -> str:
    text = _FLAGS.get(flag, str(flag))
    return f"{text}, scan {raw(item, 'seqnr')}" if flag == UNSTABLE_FLAG else text


def _hlist(first: object) -> Iterator[RmapItem]:
    """The rmap_items of a stable node, latest first."""
    item = first
    while isinstance(item, RmapItem):
        yield item
        item = raw(item, "hnext")


def _beside(obj: object) -> Iterator[tuple[str, str]]:
    """What the kernel keeps with an object, and the emulator keeps elsewhere."""
    if isinstance(obj, Frame):
        yield "PG_swapcache", value_text(obj.node.swap_cache.get(obj.pfn))
        yield "PG_mlocked", value_text(obj.pfn in obj.node.mlocked)
        if obj.hwpoison:
            yield "PG_hwpoison", value_text(True)
    elif isinstance(obj, ContentTree):
        yield "entries, in order", listed(entry for entry, _ in entries_of(obj))


def _key(key: object) -> str:
    return f"{key:#x}" if isinstance(key, int) and key >= 0x1000 else str(key)[:TEXT_MAX]
