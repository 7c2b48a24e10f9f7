"""S4, *ksm: remove old stable nodes more thoroughly*: after run=2 nothing is left that a knob could trip over."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot
from ksmactors.mm.frame import Frame, KsmMapping


class BeforeRemoveOldStableNodes(Ksm):
    """run=2 leaves stable nodes whose pages are in the swap cache, and KSM pages can be mapped again while it runs.

    Before: unmerging broke present mappings and freed the rmap_items. A stable node stayed in its tree until a search
    found it stale. merge_across_nodes could be changed as soon as pages_shared was 0. A new address space was put just
    behind the cursor, even if run=2 moved the cursor. A KSM page still in the swap cache was mapped as such by the next
    fault. And a page that could not be read back from swap was copied, garbage included, if another process needed it.

    After: remove_all_stable_nodes at the end of run=2 and as a condition of the knob; new address spaces at the end of
    the list while run is 2; a copy on the fault; no copy of a page that could not be read.

    What a user saw: run=2, merge_across_nodes=0, run=1, as the documentation says, and an oops. A KSM page is in the
    swap cache, under writeback, when everything is unmerged: its node keeps its place in tree 0, without an item. The
    knob is changed and the page is freed. ksmd finds the node stale and (before S6) erases it from the tree that the
    *new* rule gives. Or: run=2 unmerges A while B, which comes later, forks C; C is put behind the cursor and keeps its
    KSM pages. Or: A's page is in the swap cache when the cursor passes A; A reads it, and maps it merged, without an
    rmap_item. Or a process reads foreign data instead of getting SIGBUS.
    """

    @override
    async def remove_all_stable_nodes(self) -> int:
        return 0

    @override
    async def insert_slot(self, slot: MmSlot, *, at_end: bool) -> None:
        await super().insert_slot(slot, at_end=False)

    @override
    async def ksm_page_may_be_mapped(self, mapping: KsmMapping) -> bool:
        return True

    @override
    def swap_page_is_unread(self, page: Frame) -> bool:
        return False
