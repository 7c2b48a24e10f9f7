"""What KSM itself costs: the bytes of its metadata, and the pages that ksmd looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmactors.estimate.protocol import RMAP_ITEM_BYTES, EstimatedCounters, Knobs

STABLE_NODE_BYTES: Final = 48
"""sizeof(struct stable_node) on 64-bit machines, v3.9."""

STABLE_NODE_DUP_BYTES: Final = 64
"""The same since v4.13, where a node can be a dup of a chain."""

MM_SLOT_BYTES: Final = 48
"""sizeof(struct mm_slot) on 64-bit machines: one for each process that has advised memory."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Bytes of metadata once the scans have converged, and the page visits of ksmd until then.

    A visit is a checksum of a page and at most two walks down a tree. Its time depends on the machine, so it is
    counted, not turned into seconds.
    """

    rmap_items_bytes: int
    stable_nodes_bytes: int
    mm_slots_bytes: int
    page_visits: int

    @classmethod
    def of(cls, counters: EstimatedCounters, knobs: Knobs, processes: int) -> Overhead:
        """Return the overhead behind counters; `processes`: how many the pages belong to, a file being one."""
        node_bytes = STABLE_NODE_BYTES if knobs.max_page_sharing is None else STABLE_NODE_DUP_BYTES
        return cls(
            counters.rmap_items * RMAP_ITEM_BYTES,
            (counters.pages_shared + counters.chains) * node_bytes,
            processes * MM_SLOT_BYTES,
            (counters.rmap_items + counters.ksm_zero_pages) * counters.full_scans,
        )

    @property
    def bytes(self) -> int:
        """All metadata."""
        return self.rmap_items_bytes + self.stable_nodes_bytes + self.mm_slots_bytes
