"""swapoff meets run=2 over a KSM page that is in the swap cache and nowhere mapped."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene
from workloads.litmus.migration import unmap_to_swap_cache


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
