"""ksmd and memory hot-remove meet over stable nodes whose memory goes away."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene
from ksmactors.mm.devices import IoPin


class ScanMeetsHotplug(Litmus):
    """A node goes offline whose pages were merged and then freed, while ksmd is about to come past.

    It needs a tree for each node: with merge_across_nodes at 1 the stable nodes are in the tree of another node, and no
    order can go wrong. `litmus.scan_meets_hotplugs` is for one tree.
    """

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


class ScanMeetsFailedHotplug(Litmus):
    """A node is to go offline while ksmd scans, but a device has pinned a page there."""

    name = "litmus.scan_meets_failed_hotplug"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 7)
        b = await scene.process("B", 7, nid=1)
        await scene.scan()
        pfn = scene.frame(b, 0).pfn
        pin = await scene.kernel.start_io(b.mm, b.start, True)
        assert isinstance(pin, IoPin)
        offline = scene.kernel.offline_pages(range(pfn, pfn + 1))
        await scene.concurrent({"hotplug": offline, "ksmd": scene.scan()})
        await scene.kernel.end_io(pin)


class ScanMeetsHotplugs(Litmus):
    """Two frames of a node go offline, one after the other, while ksmd scans; the KSM pages there have just been freed.

    merge_across_nodes is 1, so the stable nodes are in the tree of another node than their pages.
    """

    name = "litmus.scan_meets_hotplugs"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 7)
        leaving = [await scene.process(name, 5, 6, nid=1) for name in ("B", "C")]
        await scene.scan(2)
        pfns = [scene.frame(leaving[0], index).pfn for index in range(2)]
        for proc in leaving:
            await scene.exit(proc)
        await scene.concurrent({"hotplug": self._take_away(scene, pfns), "ksmd": scene.scan()})

    async def _take_away(self, scene: Scene, pfns: list[int]) -> None:
        for pfn in pfns:
            await scene.kernel.offline_pages(range(pfn, pfn + 1))
