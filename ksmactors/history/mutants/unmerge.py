"""Mutants of "remove old stable nodes more thoroughly" (S4): run=2, the switch, faults and forks meanwhile."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot
from ksmactors.mm.frame import Frame


class NoRemoval(Ksm):
    """Neither run=2 nor the switch of merge_across_nodes removes the stable nodes that are left (S4a)."""

    @override
    async def remove_all_stable_nodes(self) -> int:
        return 0


class BehindCursor(Ksm):
    """A process that registers while run is 2 is inserted behind the cursor, as at any other time (S4b)."""

    @override
    async def insert_slot(self, slot: MmSlot, *, at_end: bool) -> None:
        await super().insert_slot(slot, at_end=False)


class NoCopyWhileUnmerging(Ksm):
    """A KSM page of the swap cache is mapped as it is although run is 2 (S4c)."""

    @override
    async def is_unmerging(self) -> bool:
        return False


class CopyUnread(Ksm):
    """A page that could not be read from swap is copied like any other, and the copy passes for good (S4d)."""

    @override
    def swap_page_is_unread(self, page: Frame) -> bool:
        return False


class RemoveMapped(Ksm):
    """A stable node is removed although its page is mapped (S4e)."""

    @override
    def is_still_mapped(self, page: Frame) -> bool:
        return False


class MappingKept(Ksm):
    """The page of a stable node that is removed goes on naming it (S4f)."""

    @override
    async def detach_stable_node(self, page: Frame) -> None:
        pass


class NoNextTree(Ksm):
    """The first node that cannot be removed ends the removal of all, instead of that of its tree (S4g)."""

    @override
    async def remove_all_stable_nodes(self) -> int:
        for root in self.root_stable_tree[: self.ksm_nr_node_ids]:
            failed = await self._remove_tree(root)
            if failed:
                return failed
        return await self.remove_migrate_nodes()
