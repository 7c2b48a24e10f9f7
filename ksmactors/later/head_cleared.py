"""G10 of the field guide (K1), v5.13 (c89a384e2551)."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem


class HeadCleared(Ksm):
    """An rmap_item that leaves its stable node forgets it.

    In v3.9 `head` goes on naming the node. The mapping is taken off while the node is on migrate_nodes; another
    mapping brings the node back into a tree; at its next visit the first one finds `head` equal to the node, takes it
    for "already in", and is never put back: no reverse mapping finds that page table entry again. It also lets a new
    node at the address of a freed one pass for the old (H5).
    """

    def item_left_node(self, item: RmapItem) -> None:
        super().item_left_node(item)
        item.head = None
