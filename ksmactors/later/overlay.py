"""The item's index in its anon_vma lies over its checksum and age, v7.x."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.structs import STABLE_FLAG, RmapItem, StableNode
from ksmactors.later.smart_scan import AgedItem, SmartScan
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.frame import Frame


class LinearItem(AgedItem):
    """An rmap_item with the index of its page in its anon_vma, valid while it is stable, in place of its checksum, its
    age and its skips."""

    __slots__ = ("linear_page_index",)

    def __init__(self, number: int, mm: AddressSpace, address: int) -> None:
        super().__init__(number, mm, address)
        self.linear_page_index = 0

    def forget(self) -> None:
        """Set what lies there to 0, under whatever name it will be read next."""
        self.linear_page_index = 0
        self.oldchecksum = self.age = self.remaining_skips = 0


def linear(item: RmapItem) -> LinearItem:
    """An item as what it is in this kernel."""
    assert isinstance(item, LinearItem), "every rmap_item of this kernel has an index"
    return item


class Overlay(SmartScan):
    """Reverse mapping asks an item's anon_vma only for the vmas at its index; the price is its checksum and its age.

    Before, each item's walk asked for all vmas of the anon_vma. The index needs a place, and the checksum of an item
    in the stable tree is not needed; but when the sharing is broken, the page is as unknown as a new one: it needs one
    visit more than before, even if it has got its old content back.
    """

    @override
    def new_rmap_item(self, number: int, mm: AddressSpace, address: int) -> RmapItem:
        return LinearItem(number, mm, address)

    @override
    def item_left_node(self, item: RmapItem) -> None:
        super().item_left_node(item)
        linear(item).forget()

    @override
    async def break_cow(self, item: RmapItem) -> None:
        linear(item).forget()
        await super().break_cow(item)

    @override
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        """The kernel stores the index a little earlier, with the reference on the anon_vma; it is not read in
        between."""
        linear(item).forget()
        linear(item).linear_page_index = self._index_of(item)
        await super().stable_tree_append(item, node)

    def _index_of(self, item: RmapItem) -> int:
        """linear_page_index, by the vma that the anon_vma was taken from."""
        for vma in item.anon_vma.vmas:
            if vma.mm is item.mm and vma.start <= item.address < vma.end:
                return vma.index_of(item.address)
        return 0

    @override
    async def should_skip_rmap_item(self, page: Frame, item: RmapItem) -> bool:
        return item.flag != STABLE_FLAG and await super().should_skip_rmap_item(page, item)

    @override
    def skip_state(self, item: RmapItem) -> tuple[int, int]:
        return (0, 0) if item.flag == STABLE_FLAG else super().skip_state(item)

    @override
    def vmas_of_item(self, item: RmapItem) -> list[Vma]:
        index = linear(item).linear_page_index
        return [vma for vma in super().vmas_of_item(item) if vma.address_of(index) is not None]
