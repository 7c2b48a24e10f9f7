"""What tests about swap do on a directed stage."""

from __future__ import annotations

from ksmactors.interleave.actor import ACQUIRE
from ksmactors.mm.const import MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.swap_device import SwapSlot
from tests.helpers.directed import Proc, Stage, about_to


def slot_of(s: Stage, proc: Proc, index: int) -> SwapSlot:
    """The slot that a swapped-out page's entry names."""
    return proc.mm.swap_ptes[proc.at(index)]


async def merged_pair(s: Stage) -> tuple[Proc, Proc]:
    """Two processes with a page each, which share one KSM page."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(2)
    assert s.frame(a, 0) is s.frame(b, 0)
    return a, b


async def fault_across_run_2(s: Stage) -> None:
    """H4: a fault has asked for ksm_run just before 2 is written, and maps the page when unmerging has passed."""
    s.start_swap()
    a, _ = await merged_pair(s)
    await s.to_swap_cache(a, 0)
    await s.scan()  # takes the items: unmerging would wait for the page's lock to remove them
    fault = s.start("fault", s.kernel.fault(a.mm, a.at(0), False))
    await s.until(fault, about_to(ACQUIRE, a.mm.page_table_lock, inside="map_swapped_page"))
    writer = s.start("writer", s.set("run", 2))
    await s.blocks(writer)
    await s.go(fault)
    await s.finish(writer)
    await s.finish(fault)
    assert await s.read(a, 0) is s.kernel.contents.token(1)
    assert not s.frame(a, 0).is_ksm
    await s.quiesce()
    await s.farewell()


async def advice_taken_back_while_swapped_out(s: Stage) -> None:
    """H4b: MADV_UNMERGEABLE finds nothing present; then the page is touched."""
    s.start_swap()
    a, b = await merged_pair(s)
    await s.to_swap_cache(a, 0)
    assert await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_UNMERGEABLE) == 0
    for proc in (a, b):
        assert await s.read(proc, 0) is s.kernel.contents.token(1)
    await s.quiesce()
    await s.farewell()


async def moved_while_swapped_out(s: Stage) -> None:
    """H8: the swap entry of a KSM page is moved, and touched at its new address."""
    s.start_swap()
    a, _ = await merged_pair(s)
    await s.to_swap_cache(a, 0)
    a = a._replace(start=await s.kernel.mremap(a.mm, a.start, PAGE_SIZE))
    assert await s.read(a, 0) is s.kernel.contents.token(1)
    assert not s.frame(a, 0).is_ksm, "a KSM page where no rmap_item is"
    await s.quiesce()
    await s.farewell()
