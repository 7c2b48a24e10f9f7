"""A repair for H7; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame, KsmMapping
from ksmactors.mm.hardware import Hardware


class HalfKsm(Ksm):
    """A page that becomes a KSM page gets its node at once, or becomes an ordinary page again.

    v3.9 upgrades the page of one process, maps it into the other, and only then asks the stable tree. If that fails, or
    the second mapping did, each process gets a private copy. But one that has forked meanwhile leaves a child that maps
    the page: a KSM page without a node, which reverse mapping never finds, so that it can be neither migrated nor
    reclaimed until it is written.

    Here the node comes before the second process. If there can be none, only the first process and its children map the
    page, which all are linked to the anon_vma it had: it can be given back. If the second process cannot be had, the
    children keep a KSM page with a node, to which ksmd adds them when it comes to them.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._mapping_before: AnonVma | KsmMapping | None = None

    @override
    async def upgrade_page(self, page: Frame) -> None:
        self._mapping_before = page.mapping
        await super().upgrade_page(page)

    @override
    async def merge_two(self, item: RmapItem, page: Frame, tree_item: RmapItem, tree_page: Frame) -> None:
        if await self.try_to_merge_with_ksm_page(item, page, None) == 0:
            await page.lock()
            node = await self.stable_tree_insert(page)
            await page.unlock()
            if node is None:
                await self.break_cow(item)
                await self._downgrade(page)
            elif await self.try_to_merge_with_ksm_page(tree_item, tree_page, page):
                await self._break_or_append(item, page, node)
            else:
                await page.lock()
                await self.stable_tree_append(tree_item, node)
                await self.stable_tree_append(item, node)
                await page.unlock()
        await tree_page.put()

    async def _break_or_append(self, item: RmapItem, page: Frame, node: StableNode) -> None:
        """Like break_cow; but a process that keeps the page, since there is no memory for a copy, is on its node."""
        if await self.break_mapping_of(item):
            await page.lock()
            await self.stable_tree_append(item, node)
            await page.unlock()
        else:
            item.anon_vma.put()

    async def _downgrade(self, page: Frame) -> None:
        """Give a page that got no node the mapping it had. With the lock held no migration has unmapped it for now."""
        await page.lock()
        if page.mapping is KSM_WITHOUT_NODE and page.page_mapcount():
            await page.set_mapping(self._mapping_before)
        await page.unlock()
