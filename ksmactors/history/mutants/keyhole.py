"""Mutants of the keyhole protocol: get_ksm_page, and the migration that it must be right against (S3, S5)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.ksm.trees import Visit
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame


class NoRecheckAfterLock(Ksm):
    """A page whose lock had to be waited for is used without a check of its mapping (S3a)."""

    @override
    async def lock_page_if_of_node(self, page: Frame, node: StableNode) -> bool:
        await page.lock()
        return True


class RemovalUnlocked(Ksm):
    """An rmap_item is taken off its node's hlist without the page lock (S3b)."""

    @override
    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        assert node is not None, "a stable item's head is set, and only the unstable tree overwrites it"
        page = await self.get_ksm_page(node, lock=False)
        if page is None:
            return
        await self.hlist_del(node, item)
        await page.put()
        self._make_volatile(item, last=node.first is None)


class LockedDescent(Ksm):
    """The page of each entry on the way down is locked (S3c)."""

    @override
    async def visit_stable_entry(self, root: ContentTree[StableNode], entry: StableNode, prune: bool) -> Visit:
        page = await self.get_ksm_page(entry, lock=True)
        if page is not None:
            await page.unlock()
        return Visit(entry, page)


class NoKpfnRecheck(Ksm):
    """A stable node is stale at the first mismatch: kpfn is not read again (S5a)."""

    @override
    async def page_has_moved(self, node: StableNode, seen: tuple[int, ...]) -> bool:
        return False


class NoRecheckAfterReference(Ksm):
    """A page is the node's if it was before the reference was taken: GK5 is left out (S5-GK5)."""

    @override
    async def get_page_if_of_node(self, page: Frame, node: StableNode, lock: bool) -> bool:
        if await page.read_mapping() is not node.mapping:
            return False
        if not await page.get_unless_zero() and not await self.get_when_unfrozen(page, node):
            return False
        return not lock or await self.lock_page_if_of_node(page, node)


class RecheckOnce(Ksm):
    """A page that is to be locked is looked at once more when it is, not when it was referenced (S5-GK5GK6)."""

    @override
    async def get_page_if_of_node(self, page: Frame, node: StableNode, lock: bool) -> bool:
        if not lock:
            return await super().get_page_if_of_node(page, node, lock)
        if await page.read_mapping() is not node.mapping:
            return False
        if not await page.get_unless_zero() and not await self.get_when_unfrozen(page, node):
            return False
        return await self.lock_page_if_of_node(page, node)


class MappingBeforeKpfn(Ksm):
    """The old page forgets the stable node before the node learns of the new page (S5b)."""

    @override
    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        node = newpage.stable_node
        if isinstance(node, StableNode):
            await oldpage.set_mapping(KSM_WITHOUT_NODE)
            await self.write_kpfn(node, newpage.pfn)
            self.emit(ev.KSM_MIGRATE_PAGE, node.number, newpage.pfn, oldpage.pfn, newpage.nid, node.nid)


class FrozenIsStale(Ksm):
    """A page without references counts as free, and its node as stale, even if the references are frozen (S5c)."""

    @override
    async def get_when_unfrozen(self, page: Frame, node: StableNode) -> bool:
        return False


class OldMappingKept(Ksm):
    """The old page goes on naming the stable node until the migration is over (S5d)."""

    @override
    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        node = newpage.stable_node
        if isinstance(node, StableNode):
            await self.write_kpfn(node, newpage.pfn)
            self.emit(ev.KSM_MIGRATE_PAGE, node.number, newpage.pfn, oldpage.pfn, newpage.nid, node.nid)


class NoLockCycle(Ksm):
    """The page of an equal entry is used as it was found, without a cycle of its lock (S5e)."""

    @override
    async def second_look(self, node: StableNode) -> Frame | None:
        return await self.get_ksm_page(node, lock=False)


class SwapCacheBeforeKpfn(Ksm):
    """The old page leaves the swap cache first of all: before the copy, before the stable node learns of the new one
    (S5f)."""

    @override
    async def migrate_page_copy(self, new: Frame, page: Frame) -> None:
        if page.swap is not None:
            await self.clear_page_swap_cache(page)
        await super().migrate_page_copy(new, page)


class AppendUnlocked(Ksm):
    """An rmap_item is put on the hlist of the page it was merged into without the page lock (S5g)."""

    @override
    async def append_to_page(self, item: RmapItem, kpage: Frame) -> None:
        await self.stable_tree_append(item, await self.page_stable_node(kpage))


class LockedIsGone(Ksm):
    """A search ends at a locked page (S5h)."""

    @override
    async def visit_stable_entry(self, root: ContentTree[StableNode], entry: StableNode, prune: bool) -> Visit:
        kpfn, *_ = await self.read_kpfn(entry)
        if self.pfn_to_page(kpfn).owner is not None:
            return Visit(entry, None)
        return await super().visit_stable_entry(root, entry, prune)
