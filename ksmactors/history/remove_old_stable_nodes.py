"""S4, *ksm: remove old stable nodes more thoroughly*: after run=2 nothing is left that a knob could trip over."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot
from ksmactors.mm.frame import Frame, KsmMapping


class BeforeRemoveOldStableNodes(Ksm):
    """run=2 leaves stable nodes behind whose pages are in the swap cache, and lets KSM pages come in behind its back.

    Before: unmerging broke what was present and freed the rmap_items; a stable node stayed in its tree until a search
    met it and found it stale; merge_across_nodes could be changed as soon as pages_shared was 0. A new address space
    was put just behind the cursor, whoever moved it. A KSM page still in the swap cache was mapped as such by the next
    fault. And a page that could not be read back from swap was copied, garbage and all, if another process than its own
    needed it. After: remove_all_stable_nodes at the end of run=2 and as a condition of the knob; new address spaces at
    the end of the list while run is 2; a copy on the fault; no copy of what could not be read.

    What a user saw: run=2, merge_across_nodes=0, run=1, as the documentation says, and an oops. A KSM page is in the
    swap cache, under writeback, when everything is unmerged: its node keeps its place in tree 0, with no item. The knob
    is changed; the page is freed. ksmd meets the node, finds it stale, and (before S6) erases it from the tree that the
    *new* rule says it is in. Or: run=2 unmerges A when B, which comes later, forks C; C is put behind the cursor
    and keeps its KSM pages. Or: A's page is in the swap cache when the cursor passes A; A reads it, and has it back
    merged, with no rmap_item to tell. Or a process reads what never was its memory instead of getting SIGBUS.
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
