"""O11: after run=2 nothing is merged."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, KSM_RUN_UNMERGE, StableNode
from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Behind, Probe, address_space, place_of, unmerging_has_passed


class Unmerged(Watcher):
    """When a write of 2 to `run` has succeeded, nothing is merged where ksmd may merge, and no KSM structure is left.

    Promise. No entry in a mergeable vma maps a KSM page or, since v6.6, the zero page in the place of one. There are no
    rmap_items; pages_shared, _sharing and _unshared are 0, and so is full_scans. No stable node is left, except those
    whose page is mapped in a place that unmerging does not visit.

    Why it holds. The mutex is held throughout. The list of address spaces is walked from its head; a process that
    registers meanwhile is appended at its end (S4b), one that exits is moved to just behind the cursor. break_ksm waits
    for a migration entry to become a page again, then breaks it (R1); a page that comes back from swap is copied while
    run is 2 (S4c, R2). At the end all stable nodes are removed, including those of unmapped pages that are still alive,
    in swap or referenced (S4a).

    When checked. Just before the mutex is released, once for each successful write: a failed one (no memory, a signal)
    has set run back to 0 by then, and the OFFLINE bit that comes and goes beside the 2 is no write. Later a fault may
    map a KSM page that it had looked up before. Only address spaces with users are checked: an exiting one has left
    ksmd's list and keeps its entries for a moment (G9). A migration entry that names a KSM page counts as an entry that
    maps it: break_ksm has waited for all there were, and none can have come since. A node that was refused because its
    page is mapped excuses itself and the others of its tree: v3.9 then does not visit the rest of that one. Where the
    mapping itself is a bug (H4b: a fault in a vma that has lost its advice; H8; a fork that shares a page across two
    advices), `rmap` reports it, as reverse mapping cannot find the page there.

    Finding. `ksm_page_left`: a page that no rmap_item will ever lead to; the knob is EBUSY for as long as it is mapped:
    S4b, S4c, R1, R2; on v3.9 and later, H4: the fault or fork read `run` just before 2 was stored, and mapped the page
    after unmerging had passed. `zero_page_left`: memory that run=2 was to give back stays shared. `node_left`: S4a,
    S6d. `items_left`, `wrong_counter`: the walk has missed an address space.
    """

    name: ClassVar[str] = "unmerge"
    summary: ClassVar[str] = "after run=2 nothing is merged and nothing is kept (O11)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._zero_pages = self.kernel if isinstance(self.kernel, ZeroCounted) else None
        self._judged = False
        self._refused: set[StableNode] = set()
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)
        self.kernel.node_listeners["kept"].append(self._kept)

    def _kept(self, node: StableNode) -> None:
        self._refused.add(node)

    def _at_unlock(self) -> None:
        if self.kernel.ksm_run & ~KSM_RUN_OFFLINE != KSM_RUN_UNMERGE:
            self._judged = False
            self._refused.clear()
        elif not self._judged:
            self._judged = True
            self._counters()
            self._entries()
            self._nodes()

    def _counters(self) -> None:
        kernel = self.kernel
        if kernel.ksm_rmap_items:
            raise self.finding("items_left", f"{kernel.ksm_rmap_items} rmap_items are left after run=2")
        left = {
            "pages_shared": kernel.ksm_pages_shared,
            "pages_sharing": kernel.ksm_pages_sharing,
            "pages_unshared": kernel.ksm_pages_unshared,
            "full_scans": kernel.ksm_scan.seqnr,
        }
        for name, value in left.items():
            if value:
                raise self.finding("wrong_counter", f"{name} is {value} after run=2")

    def _entries(self) -> None:
        for mm in self.kernel.address_spaces:
            if not mm.users:
                continue
            for address, pte in mm.ptes.items():
                zero = self._zero_pages is not None and self._zero_pages.is_ksm_zero_pte(pte)
                vma = mm.vma_at(address) if zero or pte.frame.is_ksm else None
                if vma is not None and vma.mergeable:
                    what = "the zero page, which ksmd has put there," if zero else f"the KSM page pfn {pte.frame.pfn}"
                    raise self.finding(
                        "zero_page_left" if zero else "ksm_page_left",
                        f"{mm.name} maps {what} at {address:#x} after run=2",
                        about=(mm,) if zero else (pte.frame, mm),
                        names=(("place", mm.number, address),),
                    )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether a KSM page is mapped where unmerging has passed already."""
        place = place_of(finding)
        if place is None:
            return None
        if finding.kind == "zero_page_left":
            return Probe(lambda: self._zero_page_left(*place))
        behind = Behind(self.kernel, *place)
        return Probe(lambda: behind.is_left(mergeable=True))

    def _zero_page_left(self, number: int, address: int) -> bool:
        kernel, mm = self._zero_pages, address_space(self.kernel, number)
        if kernel is None or mm is None or not kernel.is_ksm_zero_pte(mm.ptes.get(address)):
            return False
        return unmerging_has_passed(kernel, mm)

    def _nodes(self) -> None:
        kernel = self.kernel
        excused = {node.nid for node in self._refused if not node.migrating}
        trees = (entry for root in kernel.root_stable_tree if root.nid not in excused for entry in root)
        for entry in (*trees, *(node for node in kernel.migrate_nodes if node not in self._refused)):
            raise self.finding("node_left", f"{entry} is left after run=2, and its page is not mapped", about=(entry,))
