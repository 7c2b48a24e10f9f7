"""smart_scan, v6.7: pages that do not merge are looked at less and less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from typing_extensions import override

from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.booleans import Booleans
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam

AGE_MAX: Final = 255
DEFAULT_AGE: Final = 3
"""Younger items are never skipped."""

SKIPS: Final = ((3, 1), (5, 2), (8, 4))
"""How many visits are skipped in a row, by the age up to which it is so."""

SKIPS_MAX: Final = 8


class AgedItem(RmapItem):
    """An rmap_item that knows how often its page was looked at (`age`), and how often it is still to be skipped."""

    __slots__ = ("age", "remaining_skips")

    def __init__(self, number: int, mm: AddressSpace, address: int) -> None:
        super().__init__(number, mm, address)
        self.age = 0
        self.remaining_skips = 0


def skip_age(age: int) -> int:
    """How many visits to skip at an age."""
    for up_to, skips in SKIPS:
        if age <= up_to:
            return skips
    return SKIPS_MAX


class SmartScan(Booleans):
    """A page that has not merged for some scans is skipped for 1, 2, 4, then 8 scans between two visits.

    A skipped item leaves the unstable tree, so it counts as volatile, and no other page can merge with it that time. A
    page's age grows whatever becomes of its content. So two equal pages may be looked at in turns, for ever (X2).
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_smart_scan = 1
        self.ksm_pages_skipped = 0

    @override
    def new_rmap_item(self, number: int, mm: AddressSpace, address: int) -> RmapItem:
        return AgedItem(number, mm, address)

    @override
    async def should_skip_rmap_item(self, page: Frame, item: RmapItem) -> bool:
        if not self.ksm_smart_scan or page.is_ksm:
            return False
        assert isinstance(item, AgedItem), "every rmap_item of this kernel has an age"
        age = item.age
        item.age = min(age + 1, AGE_MAX)
        if age < DEFAULT_AGE:
            return False
        if not item.remaining_skips:
            item.remaining_skips = self.skips_after(age, self.ksm_scan.seqnr)
            return False
        self.ksm_pages_skipped += 1
        item.remaining_skips -= 1
        await self.remove_rmap_item_from_tree(item)
        return True

    @seam
    def skips_after(self, age: int, scan: int) -> int:
        """How many visits to skip after the one in scan number `scan`, to an item of this age."""
        return skip_age(age)

    @seam
    def skip_state(self, item: RmapItem) -> tuple[int, int]:
        """For observers: an item's age, and how often it is still to be skipped."""
        assert isinstance(item, AgedItem), "every rmap_item of this kernel has an age"
        return item.age, item.remaining_skips

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | {"smart_scan": True, "pages_skipped": False}

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {
            "smart_scan": lambda: self.ksm_smart_scan,
            "pages_skipped": lambda: self.ksm_pages_skipped,
        }

    @override
    async def knob_store(self, knob: str, text: str) -> int:
        if knob != "smart_scan":
            return await super().knob_store(knob, text)
        value = self.kstrtobool(text)
        if value >= 0:
            await self.conductor.point(WRITE, self, knob)
            self.ksm_smart_scan = value
        return min(value, 0)
