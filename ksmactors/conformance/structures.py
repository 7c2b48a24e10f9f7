"""KSM's counters and structures, in the form of recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ksmactors.conformance.page_map import PageMap
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import FREED, RmapItem, StableNode
from ksmactors.later.chain_nodes import Chain
from ksmactors.mm.const import PAGE_SIZE

PAGE_MASK: Final = ~(PAGE_SIZE - 1)

UNKNOWN: Final = "?"
"""In place of the name of a page, or of a process whose creation has not ended."""


def counters(kernel: Ksm) -> str:
    """Return a kernel's counters, in the order of the recordings.

    The recorded v3.9 was patched to count the pages that it scans. The later kernels show the counters that they have
    under sysfs.
    """
    files = kernel.sysfs_files()
    chains = "stable_node_chains" in files
    shown = {name: kernel.sysfs_show(f"pages_{name}") for name in ("shared", "sharing", "unshared", "volatile")}
    shown["full_scans"] = kernel.sysfs_show("full_scans")
    if chains:
        shown |= {name: kernel.sysfs_show(f"stable_node_{name}") for name in ("chains", "dups")}
    if counts_scanned(kernel):
        shown["scanned"] = str(kernel.pages_scanned)
    if "pages_skipped" in files:
        shown["skipped"] = kernel.sysfs_show("pages_skipped")
    if "ksm_zero_pages" in files:
        shown["zero"] = kernel.sysfs_show("ksm_zero_pages")
    return " ".join(f"{name}={value}" for name, value in shown.items())


def counts_scanned(kernel: Ksm) -> bool:
    """Whether the kernel's recordings have the number of scanned pages: v6.1 does not count them."""
    files = kernel.sysfs_files()
    return "pages_scanned" in files or "stable_node_chains" not in files


class Structures:
    """Reads KSM's structures without disturbing them: no locks, no scheduling points."""

    def __init__(self, kernel: Ksm, census: PageMap) -> None:
        self.kernel, self.census = kernel, census

    def scan_order(self) -> list[str]:
        """Return the lines `processes` and `cursor`."""
        order = []
        slot = self.kernel.ksm_mm_head.next
        while slot.mm is not None:
            process = self.census.of_mm(slot.mm)
            order.append(UNKNOWN if process is None else process.label)
            slot = slot.next
        return [_line("processes", order), f"cursor {self._cursor()}"]

    def trees(self) -> list[str]:
        """Return the stable trees, the migrate_nodes list, and within a scan the unstable trees."""
        kernel = self.kernel
        lines = [
            _line(f"stable.{nid}", words)
            for nid, root in enumerate(kernel.root_stable_tree)
            for node in root
            for words in self._entry(node)
        ]
        lines += [_line("migrate", self._node(node, nid=True)) for node in kernel.migrate_nodes]
        if kernel.ksm_scan.mm_slot.mm is not None:
            for nid, root in enumerate(kernel.root_unstable_tree[: kernel.ksm_nr_node_ids]):
                items = [self._item(item) for item in root]
                if items:
                    lines.append(_line(f"unstable.{nid}", items))
        return lines

    def _cursor(self) -> str:
        scan = self.kernel.ksm_scan
        if scan.mm_slot.mm is None:
            return "start"
        # The address may lie behind the end of its region: the page before it, the last one scanned, has the name.
        process = self.census.of_mm(scan.mm_slot.mm)
        if process is None:
            return UNKNOWN
        last = process.page(scan.address - PAGE_SIZE)
        return str(last._replace(page=last.page + 1))

    def _entry(self, node: StableNode) -> Iterator[Iterable[str]]:
        """Yield the lines of an entry: a plain node has one; a chain one, and one for each of its dups."""
        if isinstance(node, Chain):
            yield ["chain:"]
            for dup in node.dups:
                yield ["  dup", *self._node(dup)]
        else:
            yield self._node(node)

    def _node(self, node: StableNode, *, nid: bool = False) -> Iterator[str]:
        frame = self.kernel.pfn_to_page(node.kpfn)
        stale = frame.mapping is not node.mapping or frame.refcount == 0
        yield "stale" if stale else f"node={frame.nid}"
        if nid:
            yield f"nid={node.nid}"
        items = [self._item(item) for item in node.hlist()]
        yield f"len={len(items)}:"
        yield from items

    def _item(self, item: RmapItem) -> str:
        """Return the name of an item's page; `?` for a freed one that a tree still has."""
        process = None if item.flag == FREED else self.census.of_mm(item.mm)
        return UNKNOWN if process is None else str(process.page(item.address & PAGE_MASK))


def _line(head: str, words: Iterable[str]) -> str:
    return " ".join([head, *words])
