"""prctl(PR_SET_MEMORY_MERGE), v6.4 (d7597f59d1d3, 24139c07f413)."""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import MADV_MERGEABLE, MADV_UNMERGEABLE
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam


class MergeAnyListener(Protocol):
    """Is called when a process has tried to change its setting, before mmap_sem is released."""

    def __call__(self, mm: AddressSpace, on: bool, failed: int) -> None:
        """`failed` is what prctl is about to return."""


class MergeAny(Ksm):
    """A process can have all its memory merged, what it maps later and what its children map included.

    Before, it had to advise each mapping, so programs that know nothing of KSM had nothing of it.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._merging_any: set[int] = set()
        self.merge_any_listeners: list[MergeAnyListener] = []

    @seam
    def merges_any(self, mm: AddressSpace) -> bool:
        """Whether all that the process maps is to be merged (PR_GET_MEMORY_MERGE)."""
        return mm.number in self._merging_any

    @override
    async def prctl_set_memory_merge(self, mm: AddressSpace, on: bool) -> int:
        """PR_SET_MEMORY_MERGE: 0 or -ENOMEM. Taking it back unmerges everything, what was advised included.

        Holds mmap_sem for write. After an error of taking it back, everything is as it was, but for pages that have
        been unmerged.
        """
        await mm.down_write()
        failed = 0
        if on != self.merges_any(mm):
            failed = await (self.ksm_enable_merge_any(mm) if on else self.ksm_disable_merge_any(mm))
            for listener in self.merge_any_listeners:
                listener(mm, on, failed)
        await mm.up_write()
        return failed

    @seam
    async def ksm_enable_merge_any(self, mm: AddressSpace) -> int:
        if not mm.registered:
            failed = await self.ksm_enter(mm)
            if failed:
                return failed
        self._merging_any.add(mm.number)
        return await self._advise_all(mm, MADV_MERGEABLE)

    @seam
    async def ksm_disable_merge_any(self, mm: AddressSpace) -> int:
        failed = await self._advise_all(mm, MADV_UNMERGEABLE)
        if failed:
            await self._advise_all(mm, MADV_MERGEABLE)
        else:
            self._merging_any.discard(mm.number)
        return failed

    async def _advise_all(self, mm: AddressSpace, advice: int) -> int:
        vma = mm.find_vma(0)
        while vma is not None:
            end = vma.end
            failed = await self.madvise_behavior(vma, vma.start, end, advice)
            if failed:
                return failed
            vma = mm.find_vma(end)
        return 0

    @override
    def forget_registration(self, mm: AddressSpace) -> None:
        """A process that ksmd has found without any mapping is forgotten for good."""
        self._merging_any.discard(mm.number)
        super().forget_registration(mm)

    @override
    def ksm_new_vma(self, mm: AddressSpace) -> bool:
        return self.merges_any(mm) or super().ksm_new_vma(mm)

    @override
    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        if self.merges_any(oldmm):
            self._merging_any.add(mm.number)
        return await super().ksm_fork(mm, oldmm)
