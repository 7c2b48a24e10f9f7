"""mremap moves several mappings at once, v6.17. Recording: live_mremap_vmas."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EFAULT


class MremapVmas(Ksm):
    """A range that is several vmas can be moved, one vma after the other; holes between them stay holes.

    Before, the answer was -EFAULT: advice on a part of a region splits its vma, and the region could not be moved.
    After an error the vmas moved so far stay at their new place.
    """

    @override
    async def move_vma(self, mm: AddressSpace, start: int, end: int) -> int:
        vmas = self.vmas_in(mm, start, end)
        if len(vmas) < 2:
            return await super().move_vma(mm, start, end)
        if vmas[0].start > start:
            return -EFAULT
        target = mm.top
        spans = [(max(vma.start, start), min(vma.end, end)) for vma in vmas]
        for low, high in spans:
            mm.top = target + low - start
            moved = await super().move_vma(mm, low, high)
            if moved < 0:
                return moved
        return target
