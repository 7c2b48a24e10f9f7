"""The repair of G8, v5.1."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.frame import Frame


class _Busy(Exception):  # never leaves this module
    """ERR_PTR(-EBUSY): the page of the equal node is locked by another actor. It is the result of the whole search."""


class TrylockSearch(Ksm):
    """ksmd no longer waits for the lock of an equal KSM page: the page at hand is left for the next scan.

    v3.9 waits, with ksm_thread_mutex, for a reclaim or a migration that walks a long hlist with the page locked; and
    a write to a knob waits for ksmd.
    """

    @override
    async def second_look(self, node: StableNode) -> Frame | None:
        while True:
            page = await self.get_ksm_page(node, lock=False)
            if page is None:
                return None
            if not await self.trylock_page(page):
                owner = page.owner
                self.race(ev.RACE_TRYLOCK_LOST, owner.name if owner is not None else "unknown", page, tree="stable")
                await page.put()
                raise _Busy
            mapping = await page.read_mapping()
            await page.unlock()
            if mapping is node.mapping:
                return page
            await page.put()  # it was migrated before the lock was had

    @override
    async def cmp_and_merge_page(self, page: Frame, item: RmapItem) -> None:
        try:
            await super().cmp_and_merge_page(page, item)
        except _Busy:
            await self.remove_rmap_item_from_tree(item)  # CM6 comes whatever the search's result is
