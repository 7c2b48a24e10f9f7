"""A repair for pages that smart_scan keeps apart; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.later.smart_scan import SmartScan


class SkipsInStep(SmartScan):
    """All items that are skipped equally often are looked at in the same scans.

    With smart_scan an item that is eight times skipped is looked at in every ninth scan, counted from when its page
    appeared. Two equal pages merge only in a scan that looks at both; if the second one appeared, say, 13 scans after
    the first, there is none, ever: the unstable tree, thrown away at each scan, never has one when the other comes.

    Here the scans are counted, not an item's visits: an item that is to be skipped n times is looked at next when the
    number of the scan is divisible by n + 1. So it is skipped n times at most, and old items come all together.
    """

    @override
    def skips_after(self, age: int, scan: int) -> int:
        period = super().skips_after(age, scan) + 1
        return -(scan + 1) % period
