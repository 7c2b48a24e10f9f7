"""What the commit message of *make !merge_across_nodes migration safe* says; no kernel does it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.const import EFAULT
from ksmactors.mm.frame import Frame


class KsmIntoKsm(Ksm):
    """The mappings of a moved KSM page are moved, one by one, to the equal page of the node it came to.

    In v3.9 each such merge fails, since write_protect_page cannot find a KSM page in a vma (H0); by then the mapping
    has been taken off its node: it counts as volatile, reverse mapping does not find it, the page cannot be migrated or
    reclaimed. Here the mapping is looked up by the item's own address, and goes back to its node if it cannot be moved
    this time.
    """

    @override
    async def merge_with_found(self, item: RmapItem, page: Frame, kpage: Frame, node: StableNode | None) -> None:
        if node is None or page is kpage:
            await super().merge_with_found(item, page, kpage, node)
            return
        if await self._move_mapping(item, page, kpage) == 0:
            await self.append_to_page(item, kpage)
        else:
            await self._back_to_node(item, page, node)
        await kpage.put()

    async def _move_mapping(self, item: RmapItem, page: Frame, kpage: Frame) -> int:
        """Map kpage where the item maps page: 0 and the item holds an anon_vma reference, or -EFAULT."""
        mm = item.mm
        result = -EFAULT
        await mm.down_read()
        vma = self.find_mergeable_vma(mm, item.address)
        if vma is not None and vma.anon_vma is not None and await self.trylock_to_merge(page):
            pte = await self.page_check_address(page, mm, item.address)
            if pte is not None:
                await mm.page_table_lock.unlock()
                result = await self.replace_page_at(vma, item.address, page, kpage, pte)
            left = await self.hand_mlock_over(page, kpage) if vma.locked and result == 0 else page
            await left.unlock()
            if result == 0:
                item.anon_vma = vma.anon_vma.get()
        await mm.up_read()
        self.emit(ev.KSM_MERGE_WITH_KSM_PAGE, kpage.pfn, page.pfn, item.number, mm.name, result)
        return result

    async def _back_to_node(self, item: RmapItem, page: Frame, node: StableNode) -> None:
        """ksmd's reference, taken through a page table entry, has kept the page the node's all the time."""
        mm = item.mm
        await mm.down_read()
        vma = self.find_mergeable_vma(mm, item.address)
        if vma is not None and vma.anon_vma is not None:
            item.anon_vma = vma.anon_vma.get()
        await mm.up_read()
        if vma is not None:
            await page.lock()
            await self.stable_tree_append(item, node)
            await page.unlock()
