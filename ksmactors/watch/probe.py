"""Probes: a broken promise as a query that can be evaluated after any step of a replay.

A finding identifies its objects by names that are the same in every replay of its schedule: `("pfn", 17)`, `("node",
3)`, `("place", 2, 0x10000)`. A probe is the promise about these objects as a pure query: by how much it is broken at
this instant. It reads the machine's state, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from ksmactors.errors import Finding
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.rbtree import RbTree
from ksmactors.ksm.structs import FREED, KSM_RUN_UNMERGE, STABLE_FLAG, UNSTABLE_FLAG, MmSlot, RmapItem, StableNode
from ksmactors.later.chain_nodes import DupNode
from ksmactors.mm.address_space import AddressSpace, Vma, entries_mapping
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame, KsmMapping
from ksmactors.mm.reports import WRONG_MAPCOUNT
from ksmactors.mm.swap_device import SwapSlot

Name: TypeAlias = tuple[str | int, ...]
"""The name of an object in every replay: its kind, and which one of the kind."""


class Probe(NamedTuple):
    """A promise as a query.

    Attributes:
        wrong: by how much the promise is broken now; 0 if it holds; None if the state is transient, and the last
            value stands.
        adds_up: whether the amount is a sum of shares of actors: references taken and not dropped, a counter changed
            without what it counts. Else it is one fact, which any actor may break or repair.
        too_few: of a sum, whether only shares below 0 are to blame: where a reference is missing, those that other
            actors hold for a while may hide it.
        of_references: of a sum, whether its units are references, each of which is put by the function that took it or
            by a caller.
    """

    wrong: Callable[[], int | None]
    adds_up: bool = False
    too_few: bool = False
    of_references: bool = False


def name_of(obj: object) -> Name | None:
    """Return the name of an object in every replay, or None without one."""
    for kind, name in _NAMES.items():
        if isinstance(obj, kind):
            return name(obj)
    return None


_NAMES: dict[type, Callable[..., Name]] = {
    Frame: lambda frame: ("pfn", frame.pfn),
    StableNode: lambda node: ("node", node.number),
    RmapItem: lambda item: ("item", item.number),
    AddressSpace: lambda mm: ("mm", mm.number),
    Vma: lambda vma: ("vma", vma.mm.number, vma.start),
    AnonVma: lambda anon_vma: ("anon_vma", anon_vma.number),
    MmSlot: lambda slot: ("slot", slot.mm.number if slot.mm is not None else 0),
    SwapSlot: lambda slot: ("swap", slot.number),
    RbTree: lambda tree: ("tree", tree.name),
}


def names_of(finding: Finding) -> tuple[Name, ...]:
    """Return the names of the objects of a finding: those that its watcher gives, and those of `about`."""
    return (*finding.names, *filter(None, map(name_of, finding.about)))


def number_of(finding: Finding, kind: str) -> int | None:
    """Return the number of the first object of a kind that a finding is about, or None."""
    return next((int(name[1]) for name in names_of(finding) if name[0] == kind), None)


def place_of(finding: Finding) -> tuple[int, int] | None:
    """Return the page of a process that a finding is about, as (number of the mm, address)."""
    return next((((int(name[1]), int(name[2]))) for name in names_of(finding) if name[0] == "place"), None)


def frame_at(kernel: Ksm, pfn: int) -> Frame | None:
    """Return the frame of a number, or None if it never existed or has been removed."""
    nid = pfn // kernel.frames_per_node
    if not 0 <= nid < len(kernel.nodes):
        return None
    node = kernel.nodes[nid]
    index = pfn - node.start_pfn
    if index >= len(node.frames) or node.is_absent(pfn):
        return None
    return node.frames[index]


def address_space(kernel: Ksm, number: int) -> AddressSpace | None:
    """Return the address space of a number, or None before it was created."""
    return next((mm for mm in kernel.address_spaces if mm.number == number), None)


def unmerging_has_passed(kernel: Ksm, mm: AddressSpace) -> bool:
    """Whether run is 2 and the walk of all address spaces will not visit this one any more."""
    if not kernel.ksm_run & KSM_RUN_UNMERGE:
        return False
    slot = kernel.ksm_scan.mm_slot
    while slot is not kernel.ksm_mm_head:
        if slot.mm is mm:
            return False
        slot = slot.next
    return True


class Behind:
    """A page of a process while run is 2: whether a KSM page stays mapped there after unmerging has passed.

    That is so if the walk of all address spaces will not visit it any more; or if the page has been mapped since run
    became 2, which no fault or fork may do where unmerging may have passed.
    """

    def __init__(self, kernel: Ksm, number: int, address: int) -> None:
        self._kernel, self._number, self._address = kernel, number, address
        self._since_before = False
        """Whether the mapping existed when run became 2."""

    def is_left(self, *, mergeable: bool) -> bool:
        """Whether a KSM page stays mapped. Call after each step; `mergeable`: only where ksmd may merge."""
        kernel, address = self._kernel, self._address
        mm = address_space(kernel, self._number)
        pte = mm.ptes.get(address) if mm is not None else None
        if mm is None or pte is None or not (pte.migration or pte.frame.is_ksm):
            self._since_before = False
            return False
        if not kernel.ksm_run & KSM_RUN_UNMERGE:
            self._since_before = True
            return False
        vma = mm.vma_at(address)
        if pte.migration or (mergeable and (vma is None or not vma.mergeable)):
            return False
        return not self._since_before or unmerging_has_passed(kernel, mm)


# -- promises of several watchers and of the operations themselves -------------------------------------------------


def references(kernel: Ksm, pfn: int, *, too_few: bool = False) -> Probe:
    """A frame has a reference for each mapping, for the swap cache and for its place in a pagevec. References beyond
    these were taken by an actor, which must drop them."""

    def wrong() -> int | None:
        frame = frame_at(kernel, pfn)
        if frame is None:
            return 0
        if frame.refcount < 0:
            return None  # frozen: the freezing actor holds them all
        waiting = sum(page is frame for page in kernel.batched_pages())
        return frame.refcount - frame.mapcount - (frame.swap is not None) - waiting - frame.kept

    return Probe(wrong, adds_up=True, too_few=too_few, of_references=True)


def map_count(kernel: Ksm, pfn: int) -> Probe:
    """The map count of a frame is the number of the entries that map it; migration entries do not."""

    def wrong() -> int:
        frame = frame_at(kernel, pfn)
        if frame is None:
            return 0
        return frame.mapcount - entries_mapping(frame, kernel.address_spaces)

    return Probe(wrong, adds_up=True)


def swap_count(kernel: Ksm, number: int) -> Probe:
    """The count of a swap slot is the number of the entries that name it."""

    def wrong() -> int:
        slot = kernel.swap.used.get(number)
        entries = sum(one is slot for mm in kernel.address_spaces for one in mm.swap_ptes.values())
        return slot.count - entries if slot is not None else 0

    return Probe(wrong, adds_up=True)


def placed(node: StableNode, kernel: Ksm) -> bool:
    """Whether a stable node is where its fields say: in the tree of its nid, on a chain, or on migrate_nodes."""
    if isinstance(node, DupNode) and node.chain is not None:
        return node.rb_tree is None and not node.migrating
    return node.migrating != kernel.root_stable_tree[node.nid].has(node)


def item_is_sound(item: RmapItem) -> bool:
    """Whether the content of an rmap_item's union matches its flag."""
    if item.flag == UNSTABLE_FLAG:
        return isinstance(item._owner, int)  # the property would raise
    return item.flag != STABLE_FLAG or not isinstance(item._owner, int)


def alive(obj: object) -> bool:
    """Whether an object has not been freed."""
    if isinstance(obj, Frame):
        return obj.refcount != 0
    if isinstance(obj, RmapItem):
        return obj.flag != FREED
    return bool(getattr(obj, "alive", True))


def found_by_walk(kernel: Ksm, mapping: object, index: int) -> Iterator[tuple[int, int]]:
    """Yield the places that a reverse mapping walk of a page with this mapping would visit, as (number of the mm,
    address)."""
    node = mapping.stable_node if isinstance(mapping, KsmMapping) else None
    if isinstance(node, StableNode):
        item = node.first
        while item is not None:
            if not isinstance(item._owner, int):
                for vma in kernel.vmas_of_item(item):
                    if vma.start <= item.address < vma.end:
                        yield vma.mm.number, item.address
            item = item.hnext
    elif isinstance(mapping, AnonVma):
        for vma in mapping.vmas:
            address = vma.address_of(index)
            if address is not None:
                yield vma.mm.number, address


def stranded(kernel: Ksm, pfn: int) -> Probe:
    """Each migration entry names a locked page, whose migration will find it.

    The migration finds entries through the page's mapping, or through the new page's once that has taken it over.
    """
    names: list[object] = [None]

    def wrong() -> int:
        page = frame_at(kernel, pfn)
        if page is None:
            return 0
        if isinstance(page.mapping, AnonVma) or page.stable_node is not None:
            names[0] = page.mapping
        places = [
            (mm.number, address)
            for mm in kernel.address_spaces
            for address, pte in mm.ptes.items()
            if pte.migration and pte.frame is page
        ]
        if not places:
            return 0
        found = set(found_by_walk(kernel, names[0], page.index))
        return sum(page.owner is None or place not in found for place in places)

    return Probe(wrong)


def of_operation(kernel: Ksm, finding: Finding, seen: dict[Name, object]) -> Probe | None:
    """Return the promise that an operation itself has found broken (`lifetime/use_after_free_...`, `structure/...`).

    Args:
        kernel: that of the replay.
        finding: the finding of the original schedule.
        seen: the objects of the replay by name, once an operation has touched them.

    Returns:
        None if there is no query: the broken object has no name.
    """
    pfn = number_of(finding, "pfn")
    if finding.kind == "null_dereference" and pfn is not None:
        return Probe(lambda: getattr(frame_at(kernel, pfn), "stable_node", None) is None)
    if finding.watcher == "references" and pfn is not None:
        return map_count(kernel, pfn) if WRONG_MAPCOUNT in finding.names else references(kernel, pfn, too_few=True)
    if finding.kind == "stranded_migration_entry" and pfn is not None:
        return stranded(kernel, pfn)
    names = names_of(finding)
    if finding.kind.startswith("use_after_free_"):
        return Probe(lambda: sum(name in seen and not alive(seen[name]) for name in names[:1]))
    if finding.watcher == "structure":
        concerned = names[1:2] if finding.kind == "linked_below_nonmember" else names[:1]
        return Probe(lambda: sum(name in seen and not _is_sound(seen[name], kernel) for name in concerned))
    return None


def names_no_node(page: Frame | None) -> bool:
    """Whether a page is a KSM page without a stable node."""
    return page is not None and page.is_ksm and page.stable_node is None


def is_half(page: Frame | None) -> bool:
    """Whether a mapped page is a KSM page without a node. (A page that is only in swap may be.)"""
    return page is not None and page.mapcount > 0 and names_no_node(page)


def _is_sound(obj: object, kernel: Ksm) -> bool:
    """Whether an entry of a tree is where its fields say."""
    if isinstance(obj, StableNode):
        return obj.alive and placed(obj, kernel)
    if isinstance(obj, Frame):
        return obj.refcount != 0 or obj.mapping is None  # a free frame has none
    if isinstance(obj, RmapItem) and obj.flag == UNSTABLE_FLAG and item_is_sound(obj):
        tree = kernel.root_unstable_tree[obj.nid]
        return obj.seqnr != kernel.ksm_scan.seqnr & 0xFF or tree.has(obj)
    return not isinstance(obj, RmapItem) or item_is_sound(obj)
