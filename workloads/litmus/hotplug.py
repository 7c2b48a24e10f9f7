"""ksmd and memory hot-remove meet over stable nodes whose memory goes away."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene


class ScanMeetsHotplug(Litmus):
    """A node goes offline whose pages were merged and then freed, while ksmd is about to come past."""

    name = "litmus.scan_meets_hotplug"

    @override
    async def run(self, scene: Scene) -> None:
        for name in ("A", "B"):
            await scene.process(name, 7)
        leaving = [await scene.process(name, 7, 8, 9, nid=1) for name in ("C", "D")]
        await scene.scan(2)
        memory = scene.kernel.memory_block(scene.frame(leaving[0], 0).pfn)
        for proc in leaving:
            await scene.exit(proc)
        await scene.concurrent({"hotplug": scene.kernel.offline_pages(memory), "ksmd": scene.scan()})
