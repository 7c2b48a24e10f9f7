"""Objects of a replay by name: `pfn/17`, `stable node 1`, `pte/A/0x10000`, `mmap_sem/A`, `ksm_pages_shared`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final

from ksmactors.diagnose.objects import entries_of, fields_of, name_of_object, raw, rmap_list, value_text
from ksmactors.diagnose.standing import actors_of
from ksmactors.diagnose.stepping import Walker
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.interleave.labels import label_of, matches
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.rbtree import RbNode, RbTree
from ksmactors.ksm.structs import MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.watch.probe import frame_at

ITEMS_MAX: Final = 1_000_000
"""rmap_items that are looked at for one of a number: a broken list may have no end."""

KINDS: Final = {
    "pfn": "a page frame, by number; also page/N",
    "stable_node": "a stable node",
    "rmap_item": "an rmap_item",
    "mm": "an address space, by name",
    "vma": "vma/MM/ADDRESS",
    "pte": "a page table entry: pte/MM/ADDRESS",
    "anon_vma": "an anon_vma",
    "mm_slot": "the mm_slot of an address space",
    "swap": "a swap slot",
    "node": "a NUMA node",
    "stable_tree": "the stable tree of a node",
    "unstable_tree": "the unstable tree of a node",
    "actor": "an actor, by name",
}
"""Kinds of objects that have one name each, with what their names are like."""

SINGLE: Final = {
    "ksm_scan": "the cursor of ksmd",
    "migrate_nodes": "the list of that name",
    "counters": "all counters and knobs of mm/ksm.c",
}
"""Objects of which there is one. Variables of mm/ksm.c (`ksm_run`) and locks (`mmap_sem/A`) go by their names, too."""

ADDRESS_DIGITS: Final = 20
"""Digits of an address: more than 64 bits have."""

_ALIASES: Final = {"page": "pfn", "frame": "pfn", "item": "rmap_item", "process": "mm"}

_OUR_VARIABLES: Final = frozenset({"offline_timer_ns"})
"""Numbers of the kernel that mm/ksm.c does not have, of those that are not in slots."""


def canonical(text: str) -> str:
    """Return the name of an object as this module has it: `stable node 1` is `stable_node/1`. A label stays."""
    words = text.split()
    for count in (2, 1):
        kind = "_".join(words[:count])
        if _ALIASES.get(kind, kind) in KINDS and len(words) > count:
            words = ["/".join((kind, *words[count:]))]
    kind, *parts = "_".join(words).split("/")
    kind = _ALIASES.get(kind, kind)
    if kind in ("pte", "vma") and parts and parts[-1].isdecimal():
        parts[-1] = hex(int(parts[-1][:ADDRESS_DIGITS]))
    return "/".join((kind, *parts))


def find(walker: Walker, name: str) -> tuple[str, list[tuple[str, str]]] | None:
    """Return an object by its canonical name: what it is called, and its fields; None if there is none now."""
    actors = walker.conductor.actors
    kernel = walker.machine.kernel if walker.machine is not None else None
    if kernel is not None:
        if name == "counters":
            return name, _variables(kernel)
        kind, _, which = name.partition("/")
        if kind == "pte":
            return _pte(kernel, name, which)
        variables = vars(kernel)
        if name in variables and not name.startswith("_") and _is_value(variables[name]):
            return name, [(name, value_text(variables[name]))]
    if name.startswith("actor/"):
        actor = next((one for one in actors_of(walker) if one.name == name.removeprefix("actor/")), None)
        return None if actor is None else (name, [(key, value_text(value)) for key, value in asdict(actor).items()])
    found = _object(walker, kernel, name)
    if isinstance(found, Frame) and name.startswith("page_lock/"):
        waiters = found.node.lock_waiters.get(found.pfn, [])
        return name, [("owner", value_text(found.owner)), ("waiters", value_text(waiters))]
    if found is None:
        return None
    tree = [("linked in", _tree_of(kernel, found))] if kernel is not None and isinstance(found, RbNode) else []
    return name_of_object(found) or name, [*fields_of(found, actors), *tree]


def _tree_of(kernel: Ksm, entry: RbNode) -> str:
    """The tree in which an entry is linked."""
    roots: list[RbTree[Any]] = [*kernel.root_stable_tree, *kernel.root_unstable_tree]
    tree = next((root.name for root in roots if root.has(entry)), None)
    return tree or ("no tree" if entry.rb_tree is None else "a tree that has been reset since")


def _object(walker: Walker, kernel: Ksm | None, name: str) -> object | None:
    kind, _, which = name.partition("/")
    if kernel is not None and kind in _FINDERS and (found := _FINDERS[kind](kernel, which)) is not None:
        return found
    if kernel is not None and name in ("ksm_scan", "ksm_mm_head"):
        return kernel.ksm_scan if name == "ksm_scan" else kernel.ksm_mm_head
    return walker.seen.get(name) or walker.labels.get(name) or _lock(walker, kernel, name)


def _lock(walker: Walker, kernel: Ksm | None, name: str) -> object | None:
    """A lock by its label: one that is held or waited for, or one of the kernel's."""
    locks: list[object] = [lock for actor in walker.conductor.actors for lock in (*actor.locks, actor.waiting_on)]
    if kernel is not None:
        locks += [value for value in vars(kernel).values() if isinstance(value, Mutex | SpinLock | RwSem)]
        locks += [lock for mm in kernel.address_spaces for lock in (mm.mmap_sem, mm.page_table_lock)]
        if name.startswith("page_lock/"):
            locks.append(_frame(kernel, name.removeprefix("page_lock/")))
    return next((one for one in locks if one is not None and label_of((ACQUIRE, one, "")) == name), None)


def missing(walker: Walker, name: str) -> str:
    """Return one line about a name that nothing has, with those that are near."""
    known = [*KINDS, *SINGLE, *walker.labels, *walker.seen]
    near = get_close_matches(name, known, n=2, cutoff=0.6)
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"no object {name[:80]!r}{guess}"


def known_names(walker: Walker) -> list[str]:
    """Return the names and labels of all objects of operations so far, sorted."""
    return sorted({*walker.seen, *walker.labels} - {""})


def is_known(walker: Walker, name: str) -> bool:
    """Whether any operation so far was on an object of that name or label, or of that kind."""
    return any(matches(one, name) for one in known_names(walker))


def mm_named(kernel: Ksm, which: str) -> AddressSpace | None:
    """Return an address space by name, else by number."""
    spaces = kernel.address_spaces
    named = next((mm for mm in spaces if mm.name == which), None)
    return named or next((mm for mm in spaces if str(mm.number) == which), None)


def slots_of(kernel: Ksm) -> Iterator[MmSlot]:
    """Yield the mm_slots on ksmd's list."""
    slot, head = kernel.ksm_mm_head.next, kernel.ksm_mm_head
    for _ in range(len(kernel.address_spaces) + 1):
        if slot is head:
            return
        yield slot
        slot = slot.next


def _frame(kernel: Ksm, which: str) -> Frame | None:
    return frame_at(kernel, number) if (number := _number(which)) is not None else None


def _stable_node(kernel: Ksm, which: str) -> StableNode | None:
    candidates: list[object] = [*kernel.migrate_nodes]
    candidates += [entry for root in kernel.root_stable_tree for entry, _ in entries_of(root)]
    candidates += [frame.stable_node for node in kernel.nodes for frame in node.frames]
    return next((one for one in candidates if isinstance(one, StableNode) and str(one.number) == which), None)


def _rmap_item(kernel: Ksm, which: str) -> RmapItem | None:
    items = (item for slot in slots_of(kernel) for item in rmap_list(raw(slot, "rmap_list")))
    return next((item for item in islice(items, ITEMS_MAX) if str(item.number) == which), None)


def _vma(kernel: Ksm, which: str) -> object | None:
    name, _, address = which.rpartition("/")
    mm, start = mm_named(kernel, name), _number(address)
    return mm.vmas.get(start) if mm is not None and start is not None else None


def _pte(kernel: Ksm, name: str, which: str) -> tuple[str, list[tuple[str, str]]] | None:
    of, _, text = which.rpartition("/")
    mm, address = mm_named(kernel, of), _number(text)
    if mm is None or address is None:
        return None
    pte = mm.ptes.get(address)
    if pte is None:
        slot, poisoned = mm.swap_ptes.get(address), mm.hwpoison_ptes.get(address)
        if poisoned is not None:
            return name, [("pte", f"hwpoison entry {name_of_object(poisoned)}")]
        return name, [("pte", f"swap entry {name_of_object(slot)}" if slot is not None else "none")]
    kind = "migration entry" if pte.migration else "present"
    shown = [("pte", kind), ("page", name_of_object(pte.frame)), ("write", value_text(pte.write))]
    return name, [*shown, ("dirty", value_text(pte.dirty)), ("young", value_text(address in mm.young))]


def _tree(kernel: Ksm, roots: str, which: str) -> object | None:
    nid = _number(which)
    trees = getattr(kernel, f"root_{roots}")
    return trees[nid] if nid is not None and nid < len(trees) else None


def _anon_vma(kernel: Ksm, which: str) -> object | None:
    vmas = (vma for mm in kernel.address_spaces for vma in mm.vmas.values())
    chained = (one for vma in vmas for one in (*vma.chain, *([vma.anon_vma] if vma.anon_vma else [])))
    return next((one for one in chained if str(one.number) == which), None)


def _node(kernel: Ksm, which: str) -> object | None:
    nid = _number(which)
    return kernel.nodes[nid] if nid is not None and nid < len(kernel.nodes) else None


def _mm_slot(kernel: Ksm, which: str) -> MmSlot | None:
    mm = mm_named(kernel, which)
    return kernel.mm_slots_hash.get(mm.number) if mm is not None else None


def _swap(kernel: Ksm, which: str) -> object | None:
    number = _number(which)
    return kernel.swap.used.get(number) if number is not None else None


_FINDERS: Final[dict[str, Callable[[Ksm, str], object | None]]] = {
    "pfn": _frame,
    "stable_node": _stable_node,
    "rmap_item": _rmap_item,
    "mm": mm_named,
    "vma": _vma,
    "anon_vma": _anon_vma,
    "mm_slot": _mm_slot,
    "swap": _swap,
    "node": _node,
    "stable_tree": lambda kernel, which: _tree(kernel, "stable_tree", which),
    "unstable_tree": lambda kernel, which: _tree(kernel, "unstable_tree", which),
}


def _variables(kernel: Ksm) -> list[tuple[str, str]]:
    """The counters and knobs of mm/ksm.c."""
    shown = [
        (name, value_text(value))
        for name, value in vars(kernel).items()
        if isinstance(value, int | str) and not name.startswith("_") and name not in _OUR_VARIABLES
    ]
    return [*shown, ("pages_volatile", value_text(kernel.pages_volatile)), ("ksm_scan.seqnr", str(_seqnr(kernel)))]


def _seqnr(kernel: Ksm) -> Any:
    return raw(kernel.ksm_scan, "seqnr")


def _is_value(value: object) -> bool:
    return value is None or isinstance(value, int | str | list)


def _number(text: str) -> int | None:
    """A number in decimal or hexadecimal, or None."""
    try:
        return int(text, 0) if text.isascii() and len(text) < 20 else None
    except ValueError:
        return None
