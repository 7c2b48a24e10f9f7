"""Advice about ranges of an address space (mm/madvise.c)."""

from __future__ import annotations

from ksmactors.events import catalogue as ev
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import (
    EAGAIN,
    EINVAL,
    ENOMEM,
    MADV_DONTNEED,
    MADV_HWPOISON,
    MADV_MERGEABLE,
    MADV_SOFT_OFFLINE,
    MADV_UNMERGEABLE,
    PAGE_SIZE,
    page_align,
)
from ksmactors.mm.core import MmCore
from ksmactors.seams import seam

ADVICE_NAMES = {MADV_DONTNEED: "MADV_DONTNEED", MADV_MERGEABLE: "MADV_MERGEABLE", MADV_UNMERGEABLE: "MADV_UNMERGEABLE"}


class Madvise(MmCore):
    """madvise(2); the advice of KSM itself is its own (`ksm_madvise`)."""

    @seam
    async def madvise(self, mm: AddressSpace, start: int, length: int, advice: int) -> int:
        """madvise(2) for MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_DONTNEED, MADV_HWPOISON and MADV_SOFT_OFFLINE.

        Returns 0, -EINVAL (unaligned, overflow, unknown advice), -ENOMEM (part of the range is not mapped; the
        rest was done), -EAGAIN (no memory). Source: mm/madvise.c, v3.9.
        """
        if advice == MADV_HWPOISON:
            return await self.madvise_hwpoison(mm, start, start + length)
        if advice == MADV_SOFT_OFFLINE:
            return await self.madvise_soft_offline(mm, start, start + length)
        if advice not in ADVICE_NAMES or start % PAGE_SIZE or length < 0:
            return -EINVAL
        end = start + page_align(length)
        if end == start:
            return 0
        zap = advice == MADV_DONTNEED
        await (mm.down_read() if zap else mm.down_write())
        result = 0
        reached = start
        for vma in self.vmas_in(mm, start, end):
            if vma.start > reached:
                result = -ENOMEM
            reached = vma.end
            low, high = max(vma.start, start), min(vma.end, end)
            if zap and vma.locked:
                result = -EINVAL
                break
            if zap:
                await self.zap_page_range(mm, low, high, PAGE_SIZE)
                continue
            failed = await self.madvise_behavior(vma, low, high, advice)
            if failed:
                result = failed
                break
        else:
            if reached < end:
                result = -ENOMEM
        await (mm.up_read() if zap else mm.up_write())
        self.emit(ev.MADVISE, mm.name, start, (end - start) // PAGE_SIZE, ADVICE_NAMES[advice], result)
        return result

    @seam
    async def madvise_behavior(self, vma: Vma, start: int, end: int, advice: int) -> int:
        """Change the advice of [start, end), a part of one vma; -ENOMEM is reported as -EAGAIN."""
        failed, mergeable = await self.ksm_madvise(vma, start, end, advice)
        if failed:
            return -EAGAIN if failed == -ENOMEM else failed
        if mergeable == vma.mergeable:
            return 0
        part = await self.split_vma(vma, start) if start > vma.start else vma
        if part is None or (end < part.end and await self.split_vma(part, end) is None):
            return -EAGAIN
        part.mergeable = mergeable
        self.memory_epoch += 1
        await self.merge_vma(part)
        return 0
