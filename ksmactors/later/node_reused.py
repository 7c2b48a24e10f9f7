"""Slabs hand the memory of freed stable nodes out again (H5). Recordings: confirmed h5, c_71108_h5."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.later.chain_nodes import Chain, DupNode
from ksmactors.mm.hardware import Hardware


class NodeReused(Ksm):
    """A new stable node stands where the one that was freed last stood: the slab's freelist is a stack.

    An rmap_item that has left a node may go on naming it. If another node comes to stand at the address, and its page
    is found at the item's, the item passes for one that is on its hlist.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._freelist: list[StableNode | None] = []
        """Free places, with the node that was there last; None: there was only ever a chain."""
        self._under_chains: dict[int, StableNode | None] = {}
        """By the number of a chain, the node that was last at its place."""

    @override
    def free_stable_node(self, node: StableNode) -> None:
        super().free_stable_node(node)
        self._freelist.append(self._under_chains.pop(node.number) if isinstance(node, Chain) else node)

    @override
    def chain_from_slab(self, chain: StableNode) -> None:
        self._under_chains[chain.number] = self._freelist.pop() if self._freelist else None

    @override
    def node_from_slab(self, number: int) -> StableNode | None:
        node = self._freelist.pop() if self._freelist else None
        if node is None:
            return super().node_from_slab(number)
        node.number, node.first, node.moves, node.moved_by, node.alive = number, None, 0, -1, True
        if isinstance(node, DupNode):
            node.rmap_hlist_len = 0
        return node
