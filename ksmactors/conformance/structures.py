"""KSM's counters and structures, in the form that recordings show them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ksmactors.conformance.census import Census
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.const import PAGE_SIZE

PAGE_MASK: Final = ~(PAGE_SIZE - 1)


@dataclass(frozen=True, slots=True)
class Counters:
    """What sysfs shows, and how many pages ksmd has looked at; printed in this order."""

    shared: int
    sharing: int
    unshared: int
    volatile: int
    full_scans: int
    scanned: int

    @classmethod
    def of(cls, kernel: Ksm) -> Counters:
        """The counters as they are now."""
        return cls(
            kernel.ksm_pages_shared, kernel.ksm_pages_sharing, kernel.ksm_pages_unshared, kernel.pages_volatile,
            kernel.ksm_scan.seqnr, kernel.pages_scanned,
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"shared={self.shared} sharing={self.sharing} unshared={self.unshared} volatile={self.volatile} "
            f"full_scans={self.full_scans} scanned={self.scanned}"
        )


class Structures:
    """Looks at KSM's structures without disturbing them: no locks, no points."""

    def __init__(self, kernel: Ksm, census: Census) -> None:
        self.kernel, self.census = kernel, census

    def scan_order(self) -> list[str]:
        """The lines `processes` and `cursor`."""
        order = []
        slot = self.kernel.ksm_mm_head.next
        while slot.mm is not None:
            order.append(self.census.of_mm(slot.mm).label)
            slot = slot.next
        return [_line("processes", order), f"cursor {self._cursor()}"]

    def trees(self) -> list[str]:
        """The stable trees, the migrate_nodes list, and within a scan the unstable trees."""
        kernel = self.kernel
        lines = [
            _line(f"stable.{nid}", self._node(node))
            for nid, root in enumerate(kernel.root_stable_tree)
            for node in root
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
        last = self.census.of_mm(scan.mm_slot.mm).page(scan.address - PAGE_SIZE)
        return str(last._replace(page=last.page + 1))

    def _node(self, node: StableNode, *, nid: bool = False) -> Iterator[str]:
        frame = self.kernel.pfn_to_page(node.kpfn)
        stale = frame.mapping is not node.mapping or frame.mapcount == 0
        yield "stale" if stale else f"node={frame.nid}"
        if nid:
            yield f"nid={node.nid}"
        items = [self._item(item) for item in node.hlist()]
        yield f"len={len(items)}:"
        yield from items

    def _item(self, item: RmapItem) -> str:
        return str(self.census.of_mm(item.mm).page(item.address & PAGE_MASK))


def _line(head: str, words: Iterable[str]) -> str:
    return " ".join([head, *words])
