"""use_zero_pages, v4.11 (e86c59b1b12d): pages of zeros are mapped to the kernel's zero page."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.booleans import Booleans
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam


class ZeroPages(Booleans):
    """A page of zeros is replaced by the zero page, if the knob says so, instead of becoming a KSM page.

    The zero page needs no stable node, has no limit of mappings, and is the right one on every node. The rmap_item
    stays, volatile, until the scan finds no page at its address. Up to v6.5 such an entry cannot be distinguished from
    one that a read has made, so neither MADV_UNMERGEABLE nor run=2 gives the process a page of its own again.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_use_zero_pages = 0

    @override
    async def done_after_search(self, item: RmapItem, page: Frame) -> bool:
        return await super().done_after_search(item, page) or await self.try_to_merge_with_zero_page(item, page)

    @seam
    async def try_to_merge_with_zero_page(self, item: RmapItem, page: Frame) -> bool:
        """Replace a page of zeros, whose checksum has just been looked at; False: it is something else, go on."""
        if not self.ksm_use_zero_pages or item.oldchecksum != self.contents.zero.checksum:
            return False
        mm = item.mm
        result = 0  # with the mapping, the page is gone, too: nothing left to do
        await mm.down_read()
        vma = self.find_mergeable_vma(mm, item.address)
        if vma is not None:
            result = await self.try_to_merge_one_page(vma, page, self.zero_page)
            self.emit(ev.KSM_MERGE_ONE_PAGE, self.zero_page.pfn, item.number, mm.name, result)
        await mm.up_read()
        return result == 0

    @override
    async def map_kpage(self, mm: AddressSpace, kpage: Frame) -> Pte:
        """The zero page is mapped without reference and without being counted."""
        return Pte(kpage) if kpage is self.zero_page else await super().map_kpage(mm, kpage)

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | {"use_zero_pages": True}

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {"use_zero_pages": lambda: self.ksm_use_zero_pages}

    @override
    async def knob_store(self, knob: str, text: str) -> int:
        if knob != "use_zero_pages":
            return await super().knob_store(knob, text)
        value = self.kstrtobool(text)
        if value >= 0:
            await self.conductor.point(WRITE, self, knob)
            self.ksm_use_zero_pages = value
        return min(value, 0)
