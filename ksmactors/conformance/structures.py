"""KSM's counters and structures, in the form of recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ksmactors.conformance.page_map import PageMap, ScenarioProcess
from ksmactors.conformance.structure_lines import UNKNOWN, NodeSight, TreeSights, scan_order, trees
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import FREED, RmapItem, StableNode
from ksmactors.later.chain_nodes import Chain
from ksmactors.mm.const import PAGE_SIZE

PAGE_MASK: Final = ~(PAGE_SIZE - 1)


class Counters:
    """A kernel's counters, in the order of the recordings.

    The recorded v3.9 was patched to count the pages that it scans. The later kernels show the counters that they have
    under sysfs.
    """

    def __init__(self, kernel: Ksm) -> None:
        self.kernel = kernel
        files = kernel.sysfs_files()
        chains = "stable_node_chains" in files
        self.scanned = "pages_scanned" in files or not chains
        """Whether the kernel's recordings have the number of scanned pages: v6.1 does not count them."""
        self._files = {name: f"pages_{name}" for name in ("shared", "sharing", "unshared", "volatile")}
        self._files["full_scans"] = "full_scans"
        if chains:
            self._files |= {name: f"stable_node_{name}" for name in ("chains", "dups")}
        if self.scanned:
            self._files["scanned"] = ""
        self._files |= {
            name: file for name, file in (("skipped", "pages_skipped"), ("zero", "ksm_zero_pages")) if file in files
        }

    def shown(self) -> str:
        """Return the counters with their values now."""
        show, scanned = self.kernel.sysfs_show, self.kernel.pages_scanned
        return " ".join([f"{name}={show(file) if file else scanned}" for name, file in self._files.items()])


class Structures:
    """Reads KSM's structures without disturbing them: no locks, no scheduling points."""

    def __init__(self, kernel: Ksm, page_map: PageMap) -> None:
        self.kernel, self.page_map = kernel, page_map

    def scan_order(self) -> list[str]:
        """Return the lines `processes` and `cursor`."""
        scan = self.kernel.ksm_scan
        at = None if scan.mm_slot.mm is None else self.page_map.of_mm(scan.mm_slot.mm)
        return scan_order(self._processes(), at, None if scan.mm_slot.mm is None else scan.address)

    def _processes(self) -> Iterator[ScenarioProcess | None]:
        slot = self.kernel.ksm_mm_head.next
        while slot.mm is not None:
            yield self.page_map.of_mm(slot.mm)
            slot = slot.next

    def trees(self) -> list[str]:
        """Return the stable trees, the migrate_nodes list, and within a scan the unstable trees."""
        kernel = self.kernel
        scanning = kernel.ksm_scan.mm_slot.mm is not None
        unstable = kernel.root_unstable_tree[: kernel.ksm_nr_node_ids] if scanning else []
        return trees(
            TreeSights(
                ([self._entry(node) for node in root] for root in kernel.root_stable_tree),
                map(self._node, kernel.migrate_nodes),
                ([self._item(item) for item in root] for root in unstable),
            )
        )

    def _entry(self, node: StableNode) -> NodeSight | list[NodeSight]:
        return [self._node(dup) for dup in node.dups] if isinstance(node, Chain) else self._node(node)

    def _node(self, node: StableNode) -> NodeSight:
        frame = self.kernel.pfn_to_page(node.kpfn)
        stale = frame.mapping is not node.mapping or frame.refcount == 0
        return NodeSight(None if stale else frame.nid, node.nid, [self._item(item) for item in node.hlist()])

    def _item(self, item: RmapItem) -> str:
        """Return the name of an item's page; `?` for a freed one that a tree still has."""
        process = None if item.flag == FREED else self.page_map.of_mm(item.mm)
        return UNKNOWN if process is None else str(process.page(item.address & PAGE_MASK))
