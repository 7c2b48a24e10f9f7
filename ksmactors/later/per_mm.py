"""What /proc/PID says of a process: ksm_merging_pages since v5.19 (7609385337a4), ksm_stat since v6.1."""

from __future__ import annotations

from collections import Counter

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.hardware import Hardware


class PerMm(Ksm):
    """Each process shows how many of its pages are merged, and how many rmap_items it has.

    A child of a fork starts with its parent's numbers, which are copied with everything else.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.mm_merging_pages: Counter[int] = Counter()
        self.mm_rmap_items: Counter[int] = Counter()
        """Both by the number of the address space."""

    @override
    def alloc_rmap_item(self, mm: AddressSpace, address: int) -> RmapItem | None:
        item = super().alloc_rmap_item(mm, address)
        if item is not None:
            self.mm_rmap_items[mm.number] += 1
        return item

    @override
    def free_rmap_item(self, item: RmapItem) -> None:
        super().free_rmap_item(item)
        self.mm_rmap_items[item.mm.number] -= 1

    @override
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        await super().stable_tree_append(item, node)
        self.mm_merging_pages[item.mm.number] += 1

    @override
    def item_left_node(self, item: RmapItem) -> None:
        super().item_left_node(item)
        self.mm_merging_pages[item.mm.number] -= 1

    @override
    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        self.mm_merging_pages[mm.number] = self.mm_merging_pages[oldmm.number]
        self.mm_rmap_items[mm.number] = self.mm_rmap_items[oldmm.number]
        return await super().ksm_fork(mm, oldmm)

    @override
    def ksm_stat(self, mm: AddressSpace) -> dict[str, int | str]:
        return super().ksm_stat(mm) | {
            "merging_pages": self.mm_merging_pages[mm.number],
            "rmap_items": self.mm_rmap_items[mm.number],
        }


class PerMmFork(PerMm):
    """The child of a registered parent starts with no merged pages and no rmap_items."""

    @override
    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        failed = await super().ksm_fork(mm, oldmm)
        if oldmm.registered:
            self.mm_merging_pages[mm.number] = self.mm_rmap_items[mm.number] = 0
        return failed
