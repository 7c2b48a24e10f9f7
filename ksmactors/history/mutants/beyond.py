"""Mutants of what the specification of KSM does not number (X): wake-ups, checksums, skips."""

from __future__ import annotations

from typing import Final

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.smart_scan import AgedItem, SmartScan
from ksmactors.mm.frame import Frame


class NeverWoken(Ksm):
    """A registration on an empty list wakes nobody (X1a)."""

    def wake_ksmd(self) -> None:
        pass


class AlwaysWoken(Ksm):
    """Every registration wakes ksmd, whether the list was empty or not (X1b)."""

    def _needs_wakeup(self, was_empty: bool) -> bool:
        return True


class SkipsNeverRunOut(SmartScan):
    """A skipped item is to be skipped as often afterwards as before (X2a)."""

    async def should_skip_rmap_item(self, page: Frame, item: RmapItem) -> bool:
        skipped = await super().should_skip_rmap_item(page, item)
        if skipped and isinstance(item, AgedItem):
            item.remaining_skips += 1
        return skipped


class EverySecondScan(SmartScan):
    """Old pages are looked at in every second scan, all in the same ones (X2b)."""

    def skips_after(self, age: int, scan: int) -> int:
        return 1 - scan % 2


class ChecksumNotKept(Ksm):
    """The checksum of a page that has changed is not stored (X3a)."""

    async def _checksum_changed(self, item: RmapItem, page: Frame) -> bool:
        before = item.oldchecksum
        changed = await super()._checksum_changed(item, page)
        item.oldchecksum = before
        return changed


class FirstSightSuffices(Ksm):
    """A page that ksmd sees for the first time need not stay as it is for a scan (X3b)."""

    async def _checksum_changed(self, item: RmapItem, page: Frame) -> bool:
        new = not item.oldchecksum
        return await super()._checksum_changed(item, page) and not new


BEYOND: Final[dict[str, type[Ksm]]] = {
    "x1a-never-woken": NeverWoken,
    "x1b-always-woken": AlwaysWoken,
    "x2a-skips-never-run-out": SkipsNeverRunOut,
    "x2b-every-second-scan": EverySecondScan,
    "x3a-checksum-not-kept": ChecksumNotKept,
    "x3b-first-sight-suffices": FirstSightSuffices,
}
"""By name."""
