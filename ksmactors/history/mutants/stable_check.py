"""Mutants of the check of the stable trees when memory has gone offline (S2)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.memory_hotplug import MEM_OFFLINE


class StepAfterFree(Ksm):
    """The check goes on with the successor of the entry that it has just freed (S2a)."""

    @override
    async def check_one_of(self, nid: int, pfns: range) -> bool:
        root = self.root_stable_tree[nid]
        node = root.first()
        while node is not None:
            await self.check_stable_entry(node, pfns)
            node = root.next(node)
        return False


class NoPruningAtOffline(Ksm):
    """Stable nodes whose frames have been taken away stay in their trees (S2b)."""

    @override
    async def ksm_memory_callback(self, action: str, pfns: range) -> None:
        if action != MEM_OFFLINE:
            await super().ksm_memory_callback(action, pfns)
            return
        await self._store_offline_bit(0)
        self.ksm_offlining.wake_all()


class CheckByKeyhole(Ksm):
    """The check uses get_ksm_page to test whether an entry is stale, as all other code does (S2d)."""

    @override
    async def check_stable_entry(self, node: StableNode, pfns: range) -> bool:
        kpfn, *_ = await self.read_kpfn(node)
        if kpfn not in pfns:
            return False
        page = await self.get_ksm_page(node, lock=False)
        if page is not None:
            await page.put()
        return page is None
