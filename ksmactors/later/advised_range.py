"""madvise of a range, vma by vma, as advice has it that came later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EINVAL, ENOMEM, PAGE_SIZE

Advise = Callable[[Vma, int, int], Awaitable[None]]
"""Does what was advised to the part of a vma from one address to another."""


async def advise_range(kernel: Ksm, mm: AddressSpace, start: int, length: int, name: str, advise: Advise) -> int:
    """Have what was advised done to each part of a range: 0, -EINVAL or -ENOMEM.

    A locked vma ends it with -EINVAL. What is not mapped is passed over, and makes it -ENOMEM in the end. mmap_sem is
    held for read. Source: madvise_walk_vmas() and the checks of MADV_FREE and MADV_PAGEOUT, v6.12.
    """
    if start % PAGE_SIZE or length < 0:
        return -EINVAL
    end = -(-(start + length) // PAGE_SIZE) * PAGE_SIZE
    await mm.down_read()
    reached, result = start, 0
    for vma in kernel.vmas_in(mm, start, end):
        if vma.locked:
            reached, result = end, -EINVAL
            break
        result = -ENOMEM if vma.start > reached else result
        reached = vma.end
        await advise(vma, max(vma.start, start), min(vma.end, end))
    await mm.up_read()
    result = -ENOMEM if reached < end else result
    kernel.emit(ev.MADVISE, mm.name, start, (end - start) // PAGE_SIZE, name, result)
    return result
