"""The repair of G4, v4.5."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame


class PageDirtied(Ksm):
    """A page that becomes a KSM page is marked dirty.

    Its page table entries are clean. Where something else than ksmd can clean an anonymous page's entries (MADV_FREE,
    from v4.5 on), reclaim would take the page for an unused one, and drop it.
    """

    @override
    async def upgrade_page(self, page: Frame) -> None:
        await super().upgrade_page(page)
        page.dirty = True
