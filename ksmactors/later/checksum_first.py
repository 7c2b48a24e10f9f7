"""The checksum before the stable tree, v6.11 (d58a361b0350)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.frame import Frame


class ChecksumFirst(Ksm):
    """A page's checksum is looked at before the stable tree is searched, and a KSM page's not at all.

    Before, every page that changes all the time was compared with the stable tree at each visit, without effect. Now a
    page equal to a KSM page merges at the second visit that finds it unchanged, not at first sight; and it leaves its
    own node, or the unstable tree, before the search instead of after it.
    """

    @override
    async def done_before_search(self, item: RmapItem, page: Frame) -> bool:
        await self.remove_rmap_item_from_tree(item)
        return await super().done_after_search(item, page)

    @override
    async def done_after_search(self, item: RmapItem, page: Frame) -> bool:
        return False
