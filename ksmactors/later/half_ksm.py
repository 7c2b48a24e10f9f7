"""A repair of ours for H7 of the field guide; no kernel has it."""

from __future__ import annotations

from typing import Any

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame, KsmMapping


class HalfKsm(Ksm):
    """A page that was made a KSM page in vain becomes an ordinary page again.

    When the second half of a merge fails, v3.9 gives the process at hand a private copy and forgets the page. If the
    process has forked meanwhile, or there is no memory for the copy, the page stays mapped: a KSM page without a node,
    which reverse mapping never finds, so that it can be neither migrated nor reclaimed until it is written.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._upgraded: tuple[Frame, AnonVma | KsmMapping | None] | None = None

    async def upgrade_page(self, page: Frame) -> None:
        self._upgraded = (page, page.mapping)
        await super().upgrade_page(page)

    async def break_cow(self, item: RmapItem) -> None:
        """ksmd holds a reference on the page it upgraded until the visit is over."""
        await super().break_cow(item)
        if self._upgraded is None:
            return
        page, mapping = self._upgraded
        await page.lock()
        if page.mapping is KSM_WITHOUT_NODE and page.mapcount:
            await page.set_mapping(mapping)
        await page.unlock()
