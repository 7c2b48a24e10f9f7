"""A page of the swap cache migrates by migration entries, v4.4. Recordings: races h81, differences diff1."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot


class MigrateSwapped(Ksm):
    """Migration unmaps to migration entries, whether the page is in the swap cache or not.

    v3.9 leaves swap entries where a page of the swap cache was mapped: its processes have to fault it in again.
    """

    @override
    def slot_of_unmapped(self, page: Frame, reclaim: bool) -> SwapSlot | None:
        return super().slot_of_unmapped(page, reclaim) if reclaim else None
