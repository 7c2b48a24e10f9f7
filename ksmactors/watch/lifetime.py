"""O1: nothing is used after it was freed, and nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.structs import STABLE_FLAG, RmapItem
from ksmactors.later.chain_nodes import Chain
from ksmactors.mm.frame import Frame
from ksmactors.mm.node import Node
from ksmactors.watch.base import Watcher, frame_at
from ksmactors.watch.probe import Probe, address_space, number_of, references, swap_count


class Lifetime(Watcher):
    """No frame, stable node, rmap_item, mm_slot, mm or anon_vma is used after its free; nothing leaks.

    The operation that uses a freed object detects that itself. This watcher checks for leaks at the end: when all
    processes have exited and ksmd has passed, all frames but the zero page must be free; no rmap_item, slot, mm or
    anon_vma may be left. Stable nodes may: a stale one stays in its tree until a search meets it. But each must be in a
    tree or on a list.

    Why it holds. An rmap_item holds its anon_vma, a slot its mm, a look-up its page. ksmd frees an item only after it
    has taken it from its node or tree, and a slot only when neither the list nor the hash leads to it. An object
    without a reference is used only under a lock that its end needs, too (a cycle of mmap_sem in __ksm_exit).

    When not checked. Before the very end: a frame may wait in a pagevec, an item for ksmd's next visit, a slot for the
    cursor.

    Finding. A use after free is an oops, or another object's data: S2a, S4f, S5a to S5f, S6a, N9, G5 (K2 on v3.9), G11;
    H2 and H6 are detected where they end, in the same way. A leak: F1, S6c without its own watcher.
    """

    name: ClassVar[str] = "lifetime"
    summary: ClassVar[str] = "nothing is used after its free, nothing leaks (O1)"

    @override
    def at_exit(self) -> None:
        kernel = self.kernel
        for node in kernel.nodes:
            self._check_frames(node)
        if kernel.swap.used:
            message = f"{len(kernel.swap.used)} swap slots are left"
            raise self.finding("leaked_swap_slot", message, about=tuple(kernel.swap.used.values())[:1])
        if kernel.ksm_rmap_items or kernel.mm_slots_hash:
            raise self.finding(
                "leaked_rmap_item",
                f"{kernel.ksm_rmap_items} rmap_items and {len(kernel.mm_slots_hash)} mm_slots are left",
            )
        for mm in kernel.address_spaces:
            if mm.alive:
                message = f"mm {mm.name} has {mm.users} users and {mm.count} holds left"
                raise self.finding("leaked_mm", message, about=(mm,))
        for anon_vma in kernel.anon_vmas:
            if anon_vma.alive:
                raise self.finding(
                    "leaked_anon_vma",
                    f"anon_vma {anon_vma.number} has {anon_vma.refcount} references left",
                    about=(anon_vma,),
                )
        placed = self._placed_nodes()
        if kernel.nodes_allocated - kernel.nodes_freed != placed:
            raise self.finding(
                "leaked_stable_node",
                f"{kernel.nodes_allocated - kernel.nodes_freed} stable nodes are alive, {placed} are in a tree or on "
                "migrate_nodes",
            )

    def _check_frames(self, node: Node) -> None:
        free = {frame.pfn for frame in node.free_list}
        for frame in node.frames:
            if frame.refcount != frame.kept and frame is not self.kernel.zero_page:
                raise self.finding(
                    "leaked_frame",
                    f"pfn {frame.pfn} has {frame.refcount} references and {frame.mapcount} mappings, "
                    "and all processes have exited",
                    about=(frame,),
                )
            if not (frame.refcount or frame.pfn in free or _may_be_free(frame)):
                message = f"pfn {frame.pfn} has no references, and has not been freed"
                raise self.finding("frame_not_freed", message, about=(frame,))

    def _is_not_freed(self, pfn: int) -> bool:
        frame = frame_at(self.kernel, pfn)
        return frame is not None and not (frame.refcount or _may_be_free(frame) or frame in frame.node.free_list)

    def _placed_nodes(self) -> int:
        entries = [entry for root in self.kernel.root_stable_tree for entry in root]
        dups = sum(len(entry.dups) for entry in entries if isinstance(entry, Chain))
        return len(self.kernel.migrate_nodes) + len(entries) + dups

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Return how many objects are alive beyond those with a known holder: each actor drops its reference or passes
        it on."""
        kernel, pfn, number = self.kernel, number_of(finding, "pfn"), number_of(finding, "swap")
        if finding.kind == "frame_not_freed" and pfn is not None:
            return Probe(lambda: self._is_not_freed(pfn))
        anon_vma, mm = number_of(finding, "anon_vma"), number_of(finding, "mm")
        leaks: dict[str, Callable[[], int | None] | None] = {
            "leaked_frame": references(kernel, pfn).wrong if pfn is not None else None,
            "leaked_swap_slot": swap_count(kernel, number).wrong if number is not None else None,
            "leaked_rmap_item": lambda: kernel.ksm_rmap_items - sum(1 for _ in self._items()),
            "leaked_mm": (lambda: self._holds_of_mm(mm)) if mm is not None else None,
            "leaked_anon_vma": (lambda: self._holds_of_anon_vma(anon_vma)) if anon_vma is not None else None,
            "leaked_stable_node": lambda: kernel.nodes_allocated - kernel.nodes_freed - self._placed_nodes(),
        }
        wrong = leaks.get(finding.kind)
        return Probe(wrong, adds_up=True) if wrong is not None else None

    def _items(self) -> Iterator[RmapItem]:
        """Yield the rmap_items on the lists of all slots."""
        for slot in self.kernel.mm_slots_hash.values():
            item = slot.rmap_list
            while item is not None:
                yield item
                item = item.rmap_list

    def _holds_of_mm(self, number: int) -> int:
        mm = address_space(self.kernel, number)
        return 0 if mm is None else mm.count - (mm.users > 0) - (number in self.kernel.mm_slots_hash)

    def _holds_of_anon_vma(self, number: int) -> int:
        one = next((one for one in self.kernel.anon_vmas if one.number == number), None)
        if one is None:
            return 0
        held = sum(item.flag == STABLE_FLAG and item._owner is one for item in self._items())
        return one.refcount - bool(one.vmas) - held


def _may_be_free(frame: Frame) -> bool:
    """Whether a frame may be free without being on the free list: it is never given out, or not now."""
    node = frame.node
    return frame.pfn in node.poisoned or node.holds_back(range(frame.pfn, frame.pfn + 1))
