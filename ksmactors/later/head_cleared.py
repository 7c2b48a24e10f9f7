"""The repair of G10 (K1), v5.13 (c89a384e2551)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem


class HeadCleared(Ksm):
    """An rmap_item that is taken off its stable node forgets it.

    In v3.9 `head` goes on naming the node. The mapping is taken off while the node is on migrate_nodes; another
    mapping brings the node back into a tree; at its next visit the first one finds `head` equal to the node, takes it
    for "already in", and is never put back: no reverse mapping finds that page table entry again. Items of a node that
    is removed as a whole still name it: see `freed-head`.
    """

    @override
    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        await super().leave_stable_node(item)
        if node is not None and node.alive:
            item.head = None
