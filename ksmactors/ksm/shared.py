"""Operations on the state that the actors share: each passes its point, then acts. The algorithms call these.

They are primitives (`seams`): a finding names the kernel function that called them.
"""

from __future__ import annotations

from ksmactors.interleave.actor import READ, WRITE
from ksmactors.ksm.core import KsmCore
from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.structs import SEQNR_MASK, STABLE_FLAG, UNSTABLE_FLAG, MmSlot, RmapItem, StableNode
from ksmactors.mm.content import Content
from ksmactors.mm.reports import misuse
from ksmactors.seams import part, primitive


class SharedState(KsmCore):
    """Links of trees and hlists, kpfn, ksm_run, the list of address spaces."""

    @primitive
    async def write_ksm_run(self, value: int) -> None:
        """ksm_thread_mutex; others read it without."""
        await self.conductor.point(WRITE, self, "ksm_run")
        self.ksm_run = value

    # -- trees --------------------------------------------------------------------------------------------------

    @primitive
    async def stable_tree_link(
        self, root: ContentTree[StableNode], node: StableNode, place: InsertPosition, content: Content
    ) -> None:
        """rb_link_node and rb_insert_color where a search ended."""
        await self.conductor.point(WRITE, root)
        self._must_be_off_list(node)
        root.link(node, place, content, self.ksm_epoch)

    @primitive
    async def stable_tree_replace(self, root: ContentTree[StableNode], entry: StableNode, new: StableNode) -> None:
        """rb_replace_node; the indices know nothing of replacements."""
        await self.conductor.point(WRITE, root)
        self._must_be_off_list(new)
        root.replace(entry, new)
        self.ksm_epoch += 1

    @staticmethod
    def _must_be_off_list(node: StableNode) -> None:
        """The links of a tree lie where those of migrate_nodes are."""
        if node.migrating:
            raise misuse("union_misuse", f"{node} is linked into a tree while it is on migrate_nodes", node)

    @primitive
    async def unstable_tree_link(
        self, root: ContentTree[RmapItem], item: RmapItem, place: InsertPosition, content: Content
    ) -> None:
        """Link an item where a search ended: its nid overwrites anon_vma, its rb links overwrite head."""
        await self.conductor.point(WRITE, root)
        item.flag = UNSTABLE_FLAG
        item.seqnr = self.ksm_scan.seqnr & SEQNR_MASK
        item.nid = root.nid
        item.links_overwrite_head()
        root.link(item, place, content, self.memory_epoch)

    @primitive
    async def unstable_tree_unlink(self, root: ContentTree[RmapItem], item: RmapItem) -> None:
        """rb_erase."""
        await self.conductor.point(WRITE, root)
        root.unlink(item, self.memory_epoch)

    # -- stable nodes -------------------------------------------------------------------------------------------

    @primitive
    async def hlist_add_head(self, node: StableNode, item: RmapItem) -> None:
        """The item's head and flag are stored before it can be found."""
        await self.conductor.point(WRITE, node, "hlist")
        node.must_be_alive()
        self._tell("hlist", node)
        item.head = node
        item.flag = STABLE_FLAG
        node.hlist_add_head(item)

    @primitive
    async def hlist_del(self, node: StableNode, item: RmapItem) -> None:
        """Unlink an item under its page's lock."""
        await self.conductor.point(WRITE, node, "hlist")
        self._tell("hlist", node)
        node.hlist_del(item)

    @part
    async def write_kpfn(self, node: StableNode, kpfn: int) -> None:
        """Written by a migration without the mutex, under the page locks of both frames."""
        await self.conductor.point(WRITE, node, "kpfn")
        node.must_be_alive()
        node.kpfn = kpfn
        node.moves += 1
        node.moved_by = self.conductor.turn.number
        self.ksm_epoch += 1
        self.memory_epoch += 1

    # -- the list of address spaces: ksm_mmlist_lock, but for the first ---------------------------------------------

    @primitive
    async def mm_list_empty(self) -> bool:
        """An unlocked look."""
        await self.conductor.point(READ, self.ksm_mm_head)
        return self.ksm_mm_head.next is self.ksm_mm_head

    @primitive
    async def mm_list_add(self, slot: MmSlot, before: MmSlot) -> None:
        """Hash a slot and link it."""
        assert slot.mm is not None, "only the head has no mm"
        await self.conductor.point(WRITE, self.ksm_mm_head)
        self.mm_slots_hash[slot.mm.number] = slot
        slot.add_before(before)

    @primitive
    async def mm_list_del(self, slot: MmSlot) -> None:
        """Unhash a slot and unlink it."""
        assert slot.mm is not None, "only the head has no mm"
        await self.conductor.point(WRITE, self.ksm_mm_head)
        del self.mm_slots_hash[slot.mm.number]
        slot.unlink()

    @primitive
    async def mm_list_move(self, slot: MmSlot, behind: MmSlot) -> None:
        """list_move: to the place just behind another slot, which it may have already."""
        await self.conductor.point(WRITE, self.ksm_mm_head)
        slot.unlink()
        slot.add_before(behind.next)
