"""A repair for X11a and X11b; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame


class PoisonedNodes(Ksm):
    """A KSM page whose memory has failed loses its stable node at once; memory_failure takes ksm_thread_mutex.

    v3.9 leaves the page mapped, and v6.4 unmaps it. In both the node goes on naming the page, which is never freed.
    ksmd reads the failed memory whenever a search comes past, and merges equal pages of other processes into it: their
    content was good until then. Here ksmd is kept out while the page is unmapped, and the node goes with it. The order
    of locks is ksmd's own: the mutex, then the page.
    """

    @override
    async def memory_failure(self, pfn: int, *, counted: bool = False, victim: AddressSpace | None = None) -> int:
        await self.ksm_thread_mutex.lock()
        await self.wait_while_offlining()
        result = await super().memory_failure(pfn, counted=counted, victim=victim)
        await self.ksm_thread_mutex.unlock()
        return result

    @override
    def unmaps_poisoned_ksm_pages(self) -> bool:
        return True

    @override
    async def hwpoison_user_mappings(self, page: Frame, victim: AddressSpace | None) -> bool:
        unmapped = await super().hwpoison_user_mappings(page, victim)
        node = page.stable_node
        if unmapped and isinstance(node, StableNode):
            await self.detach_stable_node(page)
            await self.remove_node_from_stable_tree(node)
        return unmapped
