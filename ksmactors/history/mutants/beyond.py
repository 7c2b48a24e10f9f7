"""Mutants of the cases that were found with the emulator (X): wake-ups, checksums, skips, walks, locked memory,
devices."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import UNSTABLE_FLAG, RmapItem, StableNode
from ksmactors.later.smart_scan import AgedItem, SmartScan
from ksmactors.mm.content import Content, memcmp_pages
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.page_io import SWAP_IO_MOMENTS
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.mm.vmscan import FREED


class NeverWoken(Ksm):
    """A registration on an empty list does not wake ksmd (X1a)."""

    @override
    def wake_ksmd(self) -> None:
        pass


class AlwaysWoken(Ksm):
    """Every registration wakes ksmd, whether the list was empty or not (X1b)."""

    @override
    def needs_wakeup(self, was_empty: bool) -> bool:
        return True


class SkipsNeverRunOut(SmartScan):
    """A skipped item is to be skipped as often afterwards as before (X2a)."""

    @override
    async def should_skip_rmap_item(self, page: Frame, item: RmapItem) -> bool:
        skipped = await super().should_skip_rmap_item(page, item)
        if skipped and isinstance(item, AgedItem):
            item.remaining_skips += 1
        return skipped


class EverySecondScan(SmartScan):
    """Old pages are looked at in every second scan, all in the same ones (X2b)."""

    @override
    def skips_after(self, age: int, scan: int) -> int:
        return 1 - scan % 2


class ChecksumNotKept(Ksm):
    """The checksum of a page that has changed is not stored (X3a)."""

    @override
    async def checksum_changed(self, item: RmapItem, page: Frame) -> bool:
        before = item.oldchecksum
        changed = await super().checksum_changed(item, page)
        item.oldchecksum = before
        return changed


class FirstSightSuffices(Ksm):
    """A page that ksmd sees for the first time need not stay as it is for a scan (X3b)."""

    @override
    async def checksum_changed(self, item: RmapItem, page: Frame) -> bool:
        new = not item.oldchecksum
        return await super().checksum_changed(item, page) and not new


class PlaceRemembered(Ksm):
    """A new node is linked where the search for its page ended, without another walk (X4a)."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._ended: tuple[Frame, InsertPosition] | None = None

    @override
    async def stable_tree_walk(
        self, root: ContentTree[StableNode], page: Frame, *, prune: bool = True
    ) -> InsertPosition:
        if not prune and self._ended is not None and self._ended[0] is page:
            return self._ended[1]
        place = await super().stable_tree_walk(root, page, prune=prune)
        if prune and place.entry is None and not place.stale:
            self._ended = page, place
        return place


class ReadOnce(Ksm):
    """A search compares with what the page in hand was at the root, whatever is written to it meanwhile (X4b)."""

    @override
    async def stable_tree_walk(
        self, root: ContentTree[StableNode], page: Frame, *, prune: bool = True
    ) -> InsertPosition:
        content = await page.read_content()
        entry, parent, left = root.root, None, False
        while entry is not None:
            entry, tree_page = await self.visit_stable_entry(root, entry, prune)
            if tree_page is None:
                return InsertPosition(None, None, False, stale=True)
            order = memcmp_pages(content, await tree_page.read_content())
            await tree_page.put()
            if order == 0:
                return InsertPosition(entry, None, False)
            parent, left = entry, order < 0
            entry = entry.rb_left if left else entry.rb_right  # type: ignore[assignment]  # a tree of StableNodes
        return InsertPosition(None, parent, left)


class SearchedOnce(Ksm):
    """A page that was in the unstable tree in the last scan is not looked for in the stable one (X9a)."""

    @override
    async def stable_tree_search(self, page: Frame) -> Frame | None:
        item = self._visited
        if item is None or item.flag != UNSTABLE_FLAG or page.is_ksm:
            return await super().stable_tree_search(page)
        changed = item.oldchecksum != (await page.read_content()).checksum
        return await super().stable_tree_search(page) if changed else None

    @override
    async def cmp_and_merge_page(self, page: Frame, item: RmapItem) -> None:
        self._visited = item
        try:
            await super().cmp_and_merge_page(page, item)
        finally:
            self._visited = None

    _visited: RmapItem | None = None


class EntriesRemembered(Ksm):
    """A search of the unstable tree goes by what its entries were when they were linked (X9b)."""

    @override
    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None:
        nid = self.get_kpfn_nid(page.pfn)
        root = self.root_unstable_tree[nid]
        entry, parent, left = root.root, None, False
        while entry is not None:
            tree_page = await self.visit_unstable_entry(entry, page, nid)
            if tree_page is None:
                return None
            was = self._linked.get(entry.number) or await tree_page.read_content()
            order = memcmp_pages(await page.read_content(), was)
            if order == 0:
                return await self._if_on_node(entry, tree_page, nid)
            await tree_page.put()
            parent, left = entry, order < 0
            entry = entry.rb_left if left else entry.rb_right  # type: ignore[assignment]  # a tree of RmapItems
        self._linked[item.number] = page.content
        await self.unstable_tree_link(root, item, InsertPosition(None, parent, left), page.content)
        self.ksm_pages_unshared += 1
        self.emit(ev.UNSTABLE_TREE_INSERT, item.mm.name, item.address, page.pfn, item.number, nid)
        return None

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._linked: dict[int, Content] = {}


class LockNotHandedOver(Ksm):
    """A KSM page that takes the place of a locked page is not locked (X5a)."""

    @override
    async def hand_mlock_over(self, page: Frame, kpage: Frame) -> Frame:
        return page


class FlagIgnored(Ksm):
    """Reclaim does not go by the flag of a locked page, only by the vmas that it comes to (X5b)."""

    @override
    def inactive_pages(self, nid: int) -> list[Frame]:
        return self.movable_frames(nid)

    @override
    async def shrink_locked_page(self, page: Frame) -> str:
        mlocked = page.mlocked
        if mlocked:
            page.node.mark_mlocked(page, False)
        outcome = await super().shrink_locked_page(page)
        if mlocked and outcome not in (FREED, "writing"):
            page.node.mark_mlocked(page, True)
        return outcome


class ReferencesIgnored(Ksm):
    """ksmd does not check for other references on a page that it merges (X6a)."""

    @override
    async def has_other_references(self, page: Frame, swapped: bool) -> bool:
        await super().has_other_references(page, swapped)
        return False


class ReferencesAskedTwice(Ksm):
    """ksmd checks once more for other references on a page (X6b)."""

    @override
    async def has_other_references(self, page: Frame, swapped: bool) -> bool:
        first = await super().has_other_references(page, swapped)
        return first or await super().has_other_references(page, swapped)


class CleanAfterWriteback(Ksm):
    """A page is clean when the swap device has written it, whatever has become of it meanwhile (X7a)."""

    @override
    async def end_page_writeback(self, page: Frame, slot: SwapSlot) -> None:
        await super().end_page_writeback(page, slot)
        page.dirty = False


class ReadAtOnce(Ksm):
    """The swap device reads a page soon after its write was submitted, always (X7b)."""

    @override
    def swap_read_moment(self) -> int:
        return SWAP_IO_MOMENTS - 1
