"""swapoff, and faults on pages in swap."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_DONTNEED, PAGE_SIZE
from workloads.litmus.migration import unmap_to_swap_cache

PAGES = (7, 8, 6, 5)
"""The pages of a process whose threads meet: each is a chance."""


class UnmergeMeetsSwapoff(Litmus):
    """Everything is unmerged while a KSM page is brought back from swap, wherever it was mapped."""

    name = "litmus.unmerge_meets_swapoff"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        await unmap_to_swap_cache(scene, a, 0)
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "swapoff": scene.kernel.swapoff()})


class SwapInMeetsSwapIn(Litmus):
    """A thread faults pages in that another one gives up; they are on a device whose reads have ended at once.

    Later kernels read such pages without the swap cache.
    """

    name = "litmus.swap_in_meets_swap_in"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.has_swap = scene.kernel.swap.synchronous = True
        a = await scene.process("A", *PAGES)
        await scene.swap_out()
        await scene.concurrent({"thread/A.0": self._use(scene, a), "thread/A.1": self._give_up(scene, a)})
        await scene.swap_out()
        for index in range(len(PAGES)):
            await scene.read(a, index)

    async def _use(self, scene: Scene, a: Proc) -> None:
        for index in range(len(PAGES)):
            await scene.store(a, index, 9)

    async def _give_up(self, scene: Scene, a: Proc) -> None:
        for index in range(len(PAGES)):
            await scene.kernel.madvise(a.mm, a.at(index), PAGE_SIZE, MADV_DONTNEED)
            await scene.read(a, index)
