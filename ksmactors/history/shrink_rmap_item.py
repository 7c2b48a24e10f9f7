"""R6, *ksm: shrink 32-bit rmap_item back to 32 bytes*: nid and anon_vma share their storage."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.frame import Frame


class RoomyItem(RmapItem):
    """An rmap_item whose `nid` has a place of its own, and may be read whatever is in `anon_vma`."""

    __slots__ = ("_nid",)

    def __init__(self, number: int, mm: AddressSpace, address: int) -> None:
        super().__init__(number, mm, address)
        self._nid = 0

    @property  # type: ignore[explicit-override]  # mypy does not see it on a property with a setter
    @override
    def nid(self) -> int:
        """Index of the unstable tree the item is in, or was in last."""
        return self._nid

    @nid.setter
    def nid(self, nid: int) -> None:
        self._nid = nid


class BeforeShrinkRmapItem(Ksm):
    """An rmap_item has a field each for its unstable tree and its anon_vma, and may have both.

    Before: the item from the unstable tree with which a page was merged got its anon_vma at once, and left that tree
    afterwards, when both pages were merged. After: an item is either in an unstable tree or has an anon_vma, so the two
    share their storage, and the item must leave the tree before the anon_vma is stored (TK5).

    What a user saw: rmap_items of 40 bytes instead of 32 on 32-bit machines. Nothing can go wrong with two fields, so
    this is a control. The mutant `r6-anon-vma-before-removal` has one field and the old order.
    """

    @override
    def new_rmap_item(self, number: int, mm: AddressSpace, address: int) -> RmapItem:
        return RoomyItem(number, mm, address)

    @override
    async def take_anon_vma(self, item: RmapItem, vma: Vma) -> None:
        self._store_anon_vma(item, vma)

    @override
    async def try_to_merge_with_ksm_page(self, item: RmapItem, page: Frame, kpage: Frame | None) -> int:
        result = await super().try_to_merge_with_ksm_page(item, page, kpage)
        if result == 0:  # the only one that is still in the tree is the second of two, when both have been merged
            await self.remove_rmap_item_from_tree(item)
        return result
