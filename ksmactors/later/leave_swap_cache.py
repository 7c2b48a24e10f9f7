"""A page that a write fault has copied leaves the swap cache, v5.14. Recordings: races h43, h48."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame


class LeaveSwapCache(Ksm):
    """The old page of a copy leaves the swap cache, if nothing maps it and no swap entry needs it any more.

    Before, it stayed until reclaim found it: a KSM page without mappings kept its stable node, and a chain with it.
    """

    @override
    async def page_was_copied(self, old: Frame) -> None:
        await super().page_was_copied(old)
        await self.free_swap_cache(old)
