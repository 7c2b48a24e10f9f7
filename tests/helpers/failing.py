"""Kernels that do the wrong thing about memory that has failed."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.mm.memory_failure import MemoryFailure


class KeepsPoisonedNodes(Ksm):
    """The node of a page whose memory has failed stays in its tree, as on all kernels."""

    async def hwpoison_user_mappings(self, page: Frame, victim: AddressSpace | None) -> bool:
        return await MemoryFailure.hwpoison_user_mappings(self, page, victim)


class ReportsTooEarly(Ksm):
    """A failure is reported as handled though it could not be."""

    async def memory_failure_locked(self, page: Frame, victim: AddressSpace | None) -> int:
        await page.get()
        return 0


class GivesPoisonedFramesOut(Ksm):
    """The allocator does not look at the flag of a free frame."""

    async def alloc_page(self, nid: int, *, exactly: bool = False) -> Frame | None:
        node = self.nodes[nid]
        flagged, node.poisoned = node.poisoned, {}
        page = await super().alloc_page(nid, exactly=exactly)
        node.poisoned = flagged
        return page
