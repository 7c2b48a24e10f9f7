"""Mutants of what followed the six commits: hot-remove, the shared storage of rmap_items, the tree roots (R5 to R7)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.address_space import Vma


class NobodyWaits(Ksm):
    """The OFFLINE bit is set, but the functions that take ksm_thread_mutex do not wait for it (R5')."""

    @override
    async def wait_while_offlining(self) -> None:
        return


class AnonVmaBeforeRemoval(Ksm):
    """The anon_vma of an rmap_item is stored while the item is still in the unstable tree (R6)."""

    @override
    async def take_anon_vma(self, item: RmapItem, vma: Vma) -> None:
        self._store_anon_vma(item, vma)
        await self.remove_rmap_item_from_tree(item)


class UnstableRootLeftBehind(Ksm):
    """The root of the unstable tree is not moved over when roots for all nodes are allocated (R7)."""

    @override
    def alloc_roots(self) -> bool:
        first = not self.roots_allocated
        allocated = super().alloc_roots()
        if first and allocated:
            self.root_unstable_tree[0].reset()
        return allocated
