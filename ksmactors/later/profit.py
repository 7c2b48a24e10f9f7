"""general_profit, v6.4 (d21077fbc2fc)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.seams import seam

RMAP_ITEM_BYTES: Final = 64
"""sizeof(struct ksm_rmap_item) on a 64-bit machine with NUMA."""


class Profit(Ksm):
    """What merging saves, less what the rmap_items cost, is shown in bytes; it can be negative."""

    @seam
    def general_profit(self) -> int:
        """Bytes saved by shared pages and KSM's zero pages, less the rmap_items."""
        zero_pages = self.ksm_zero_pages if isinstance(self, ZeroCounted) else 0
        return (self.ksm_pages_sharing + zero_pages) * PAGE_SIZE - self.ksm_rmap_items * RMAP_ITEM_BYTES

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | {"general_profit": False}

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {"general_profit": self.general_profit}
