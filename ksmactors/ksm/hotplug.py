"""KSM and memory hot-remove: the trees are unused while memory goes offline, and no node that names it is left."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.interleave.actor import YIELD
from ksmactors.interleave.locks import WaitQueue
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, StableNode
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.memory_hotplug import MEM_GOING_OFFLINE, MEM_OFFLINE
from ksmactors.seams import part, seam


class KsmHotplug(SharedState):
    """The OFFLINE bit of ksm_run, the actors that wait for it, and the check of the trees that it makes safe."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_offlining: Final = WaitQueue(self.conductor, "the end of offlining")

    @override
    @seam
    async def wait_while_offlining(self) -> None:
        """Let ksm_thread_mutex go while memory is being taken offline: called by all who take it for the trees."""
        while self.ksm_run & KSM_RUN_OFFLINE:
            await self.ksm_thread_mutex.unlock()
            while self._is_offlining():
                await self.ksm_offlining.wait()
            await self.ksm_thread_mutex.lock()

    def _is_offlining(self) -> bool:
        """Test the bit without a lock."""
        self.conductor.touch(YIELD, self, "ksm_run")
        return bool(self.ksm_run & KSM_RUN_OFFLINE)

    @override
    async def ksm_memory_callback(self, action: str, pfns: range) -> None:
        """The notifier. The mutex is held only for the bit: GOING_OFFLINE waits for the batch or unmerging under way.

        At OFFLINE the frames are gone already; the trees are checked without the mutex, since all who would take it
        wait for the bit. Source: ksm_memory_callback(), v3.9.
        """
        if action == MEM_GOING_OFFLINE:
            await self._store_offline_bit(KSM_RUN_OFFLINE)
            return
        if action == MEM_OFFLINE:
            await self.ksm_check_stable_tree(pfns)
        await self._store_offline_bit(0)
        self.ksm_offlining.wake_all()

    async def _store_offline_bit(self, bit: int) -> None:
        await self.ksm_thread_mutex.lock()
        await self.write_ksm_run(self.ksm_run & ~KSM_RUN_OFFLINE | bit)
        self.ksm_offlining.waker = self.conductor.turn if bit else None
        await self.ksm_thread_mutex.unlock()

    @seam
    async def ksm_check_stable_tree(self, pfns: range) -> None:
        """Remove all nodes whose page was in a range that is gone. Does not use get_ksm_page: there is no struct page
        to read."""
        await self.check_trees(pfns)
        await self.check_migrate_nodes(pfns)

    @part
    async def check_trees(self, pfns: range) -> None:
        """One tree after the other; a tree in which a node had to be removed is started again."""
        for nid in range(self.ksm_nr_node_ids):
            while await self.check_one_of(nid, pfns):
                pass

    @part
    async def check_migrate_nodes(self, pfns: range) -> None:
        """The same for the nodes that are in no tree."""
        for node in list(self.migrate_nodes):
            if (await self.read_kpfn(node))[0] in pfns:
                await self.remove_node_from_stable_tree(node)

    @part
    async def check_one_of(self, nid: int, pfns: range) -> bool:
        """Check the entries of a tree in order, until one is removed; False if none is."""
        root = self.root_stable_tree[nid]
        node = root.first()
        while node is not None:
            if await self.check_stable_entry(node, pfns):
                return True
            node = root.next(node)
        return False

    @seam
    async def check_stable_entry(self, node: StableNode, pfns: range) -> bool:
        """Remove an entry of a tree if its page was in the range; True: the tree has changed, start it again."""
        self._tell("checked", node)
        if (await self.read_kpfn(node))[0] not in pfns:
            return False
        await self.remove_node_from_stable_tree(node)
        return True
