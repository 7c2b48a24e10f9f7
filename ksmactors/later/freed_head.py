"""A repair for H5; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem


class FreedHead(Ksm):
    """The rmap_items of a removed stable node drop their link to it, as single removed items do.

    In every kernel they go on naming it. The memory of the freed node may become another node: if the page of that one
    is found at the address of such an item, it passes for "already in", and the mapping is never put on its hlist.
    """

    @override
    def item_left_node(self, item: RmapItem) -> None:
        super().item_left_node(item)
        item.head = None
