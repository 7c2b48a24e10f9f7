"""The state of pages, stable nodes, rmap_items, variables and locks in facts, and which of them have changed.

Objects are named so that every replay of a schedule calls the same object the same: `pfn 2`, `stable node 1`. Reading a
state passes no scheduling point and changes nothing; a freed object has a state, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ksmactors.interleave.reports import holders_of, name_of
from ksmactors.ksm.structs import FREED, STABLE_FLAG, UNSTABLE_FLAG, MmSlot, RmapItem, StableNode
from ksmactors.mm.content import TOKEN_BYTES, Content
from ksmactors.mm.frame import Frame, KsmMapping
from ksmactors.model import Variable

State: TypeAlias = Mapping[str, str]
"""Facts by their names: {"refcount": "3", "mapping": "stable node 1"}."""

ITEM: Final = "rmap_item "
"""What the name of an rmap_item begins with."""

VALUE_MAX: Final = 40
"""Characters of the value of a variable."""

SWAP_CACHE: Final = "swap cache"

MAPPINGS_MAX: Final = 1_000
"""rmap_items of a stable node that are counted."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about an object before and after something."""

    name: str
    before: str
    after: str


def key_of(obj: object) -> str:
    """Return the name of a page, stable node, rmap_item, variable or lock in all replays; "" for anything else."""
    if isinstance(obj, Frame):
        return f"pfn {obj.pfn}"
    if isinstance(obj, StableNode):
        return f"stable node {obj.number}"
    if isinstance(obj, RmapItem):
        return f"{ITEM}{obj.number}"
    if isinstance(obj, Variable):
        return f"variable {obj.name}"
    if hasattr(obj, "name") and (hasattr(obj, "owner") or hasattr(obj, "readers")):
        return name_of(obj)
    return ""


def title_of(obj: object) -> str:
    """Return the name of an object with what never changes about it."""
    if isinstance(obj, Frame):
        return f"pfn {obj.pfn} (node {obj.nid})"
    if isinstance(obj, RmapItem):
        return f"{ITEM}{obj.number} ({obj.mm.name}:{obj.address:#x})"
    return key_of(obj)


def related(obj: object) -> Iterator[object]:
    """Yield the objects without whose state that of `obj` cannot be understood: node and page name each other."""
    if isinstance(obj, Frame) and isinstance(obj.stable_node, StableNode):
        yield obj.stable_node
    elif isinstance(obj, RmapItem) and obj.flag == STABLE_FLAG and obj.head is not None:
        yield obj.head


def labels_of(obj: object) -> tuple[str, ...]:
    """Return labels of operations that concern an object, and are on another one."""
    return (f"pte/{obj.mm.name}/{obj.address:#x}",) if isinstance(obj, RmapItem) else ()


def rmap_items(head: MmSlot) -> Iterator[RmapItem]:
    """Yield the rmap_items of all slots on a list of address spaces."""
    slot = head.next
    while slot is not head:
        item = slot.rmap_list
        while item is not None:
            yield item
            item = item.rmap_list
        slot = slot.next


def state_of(obj: object) -> State:
    """Return the facts about an object as it is now."""
    if isinstance(obj, Frame):
        return _page(obj)
    if isinstance(obj, StableNode):
        return _stable_node(obj)
    if isinstance(obj, RmapItem):
        return {"place": _place_of_item(obj)}
    if isinstance(obj, Variable):
        return {"value": repr(obj.value)[:VALUE_MAX]}
    return {"held by": _holders(obj)}


def facts(before: State, after: State, *, all_of_them: bool) -> tuple[Fact, ...]:
    """Return the facts that differ between two states of an object, or all of them but that a page is not in the swap
    cache."""
    names = dict.fromkeys((*before, *after))
    pairs = (Fact(name, before.get(name, ""), after.get(name, "")) for name in names)
    kept = (fact for fact in pairs if fact.after != "no" or fact.before == "yes" or fact.name != SWAP_CACHE)
    return tuple(fact for fact in kept if all_of_them or fact.before != fact.after)


def _page(page: Frame) -> State:
    return {
        "refcount": "frozen" if page.refcount < 0 else str(page.refcount),
        "mapcount": str(page.mapcount),
        "mapping": _mapping(page),
        "locked by": _holders(page),
        "content": _content(page.content),
        SWAP_CACHE: "yes" if page.swap is not None else "no",
    }


def _mapping(page: Frame) -> str:
    mapping = page.mapping
    if mapping is None:
        return "none"
    if not isinstance(mapping, KsmMapping):
        return f"anon_vma {mapping.number}"
    node = mapping.stable_node
    return f"stable node {node.number}" if isinstance(node, StableNode) else "KSM without node"


def _content(content: Content) -> str:
    return content.data[:TOKEN_BYTES].hex().lstrip("0") or "0"


def _stable_node(node: StableNode) -> State:
    if not node.alive:
        place = "freed"
    elif node.migrating:
        place = "on migrate_nodes"
    else:
        place = f"in stable tree {node.nid}" if node.rb_tree is not None else "in no tree"
    return {"place": place, "kpfn": str(node.kpfn), "rmap_items": _count(node)}


def _count(node: StableNode) -> str:
    """How many rmap_items are on its list, which may be broken."""
    count, item = 0, node.first
    while item is not None and count < MAPPINGS_MAX:
        count, item = count + 1, item.hnext
    return str(count) if item is None else f"more than {MAPPINGS_MAX}"


def _place_of_item(item: RmapItem) -> str:
    if item.flag == FREED:
        return "freed"
    if item.flag == STABLE_FLAG:
        return f"on {key_of(item.head)}" if item.head is not None else "marked stable, on no node"
    if item.flag == UNSTABLE_FLAG:
        owner = item._owner  # `nid` refuses to be read where it is not valid
        return f"in unstable tree {owner if isinstance(owner, int) else '?'} since scan {item.seqnr}"
    return "in no tree"


def _holders(lock: object) -> str:
    return ", ".join(holder.name for holder in holders_of(lock)) or "no actor"
