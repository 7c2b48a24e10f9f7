"""Pages in the swap cache, or on their way there, while they are merged, moved or freed."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_FREE, MADV_PAGEOUT, PAGE_SIZE
from workloads.litmus.exit import look_for_lost_mappings


class MergeMeetsWrite(Litmus):
    """ksmd merges a page whose copy in swap is out of date, and its process writes it; then all is reclaimed.

    The page has been written after its way to swap: only its entry knows, which fork has made read-only.
    """

    name = "litmus.merge_meets_write"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        b = await scene.process("B", 7)
        a = await scene.process("A", 6)
        page = scene.frame(a, 0)
        await scene.to_swap_cache(a, 0)
        await scene.store(a, 0, 6)  # while it is being written: it stays in the swap cache
        await scene.kernel.wait_on_page_writeback(page)
        await scene.write(a, 0, 7)
        await scene.exit(await scene.fork(a, "C"))
        await scene.scan()
        await scene.batch(1)
        await scene.concurrent({"ksmd": scene.batch(1), "thread/A": scene.store(a, 0, 8)})
        await scene.swap_out()
        await scene.read(b, 0)


class MergeOfFreedMeetsWrite(Litmus):
    """ksmd merges a page that its process does not need any more, and the process writes it; then all is reclaimed.

    MADV_FREE has cleaned the page, by hand here: reclaim may drop it for as long as it stays clean.
    """

    name = "litmus.merge_of_freed_meets_write"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        b = await scene.process("B", 7)
        a = await scene.process("A", 7)
        await scene.scan()
        await scene.batch(1)
        scene.frame(a, 0).dirty = False
        a.mm.ptes[a.start] = a.mm.ptes[a.start]._replace(dirty=False)
        await scene.concurrent({"ksmd": scene.batch(1), "thread/A": scene.store(a, 0, 8)})
        await scene.swap_out()
        await scene.read(b, 0)


class RemovalMeetsReclaim(Litmus):
    """ksmd passes over a mapping of a KSM page that is gone, while reclaim unmaps the others."""

    name = "litmus.removal_meets_reclaim"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7, 9)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await scene.concurrent({"ksmd": scene.batch(1), "kswapd/0": scene.to_swap_cache(b, 0)})


class AdviceMeetsReclaim(Litmus):
    """A process takes its advice back while its KSM page goes to swap; then it touches the page."""

    name = "litmus.advice_meets_reclaim"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.concurrent({"thread/A": scene.unmergeable(a), "kswapd/0": scene.to_swap_cache(b, 0)})
        for proc in (a, b):
            await scene.read(proc, 0)


class MremapMeetsReclaim(Litmus):
    """A process moves a mapping in its address space while the KSM page there goes to swap; then it touches it."""

    name = "litmus.mremap_meets_reclaim"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        mremap = scene.kernel.mremap(a.mm, a.start, PAGE_SIZE)
        came = await scene.concurrent({"thread/A": mremap, "kswapd/0": scene.to_swap_cache(b, 0)})
        await scene.read(Proc(a.mm, came["thread/A"]), 0)
        look_for_lost_mappings(scene)


class ReclaimOfFreedMeetsWrite(Litmus):
    """Reclaim drops a page that a process has given up, while the process writes to it."""

    name = "litmus.reclaim_of_freed_meets_write"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        await scene.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_FREE)
        await scene.concurrent({"kswapd/0": scene.to_swap_cache(a, 0), "thread/A": scene.store(a, 0, 8)})
        await scene.swap_out()
        await scene.read(a, 0)


class ReclaimOfFreedMeetsRead(Litmus):
    """A process gives up a page that its child needs, and that has been in swap, while memory is short."""

    name = "litmus.reclaim_of_freed_meets_read"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7, mergeable=False)
        b = await scene.fork(a, "B")
        await scene.to_swap_cache(a, 0)
        for proc in (a, b):
            await scene.read(proc, 0)
        giving_up = scene.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_FREE)
        await scene.concurrent({"thread/A": giving_up, "thread/B": scene.read(b, 0)})
        await scene.swap_out()
        await scene.read(b, 0)


class PageoutMeetsMerge(Litmus):
    """A process has its pages reclaimed, by MADV_PAGEOUT, while ksmd merges one of them."""

    name = "litmus.pageout_meets_merge"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        await scene.process("B", 7)
        a = await scene.process("A", 7, 8)
        await scene.scan()
        pageout = scene.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_PAGEOUT)
        await scene.concurrent({"ksmd": scene.scan(), "thread/A": pageout})
        for index in range(2):
            await scene.read(a, index)
