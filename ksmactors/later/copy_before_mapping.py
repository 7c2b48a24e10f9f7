"""Migration copies a page before anything else, v6.11 (folio_mc_copy in __migrate_folio). Recording: races r73."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import READ, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import EAGAIN
from ksmactors.mm.frame import Frame


class CopyBeforeMapping(Ksm):
    """The order of a migration is: count references, copy, count again, mapping, flags, stable node.

    A copy can fail on broken memory, so it comes where the migration can still be given up. Since then the new page
    never names the stable node before it has the content: a lookup by an old kpfn finds that it is not the
    node's page. Before, the mapping came first (W0), and only the barrier of SetPageUptodate kept that reader right.
    """

    @override
    async def move_to_new_page(self, new: Frame, page: Frame, *, remap: bool) -> int:
        await new.lock()
        result = await self._migrate_folio(new, page)
        if result == 0:
            if remap:
                await self.remove_migration_ptes(page, new)  # W7
            await page.set_mapping(None)  # W8
        await new.unlock()
        return result

    async def _migrate_folio(self, new: Frame, page: Frame) -> int:
        """__migrate_folio: 0, or -EAGAIN with nothing changed but the content of `new`."""
        if await page.count() != 1 + (page.swap is not None):
            return -EAGAIN
        await self.migrate_page_copy(new, page)
        result = await self.migrate_page_move_mapping(new, page)
        if result == 0:
            await self.migrate_page_states(new, page)
        return result

    @override
    async def migrate_page_copy(self, new: Frame, page: Frame) -> None:
        """folio_mc_copy: the content only."""
        await self._copy_content(new, page)

    @override
    async def no_turning_back(self, new: Frame, page: Frame) -> None:
        await super().no_turning_back(new, page)
        self.conductor.touch(READ, page, "index")
        self.conductor.touch(WRITE, new, "index")
        new.index = page.index
        await new.set_mapping(page.mapping)
