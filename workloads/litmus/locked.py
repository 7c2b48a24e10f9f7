"""Pages that are locked in memory are merged and reclaimed."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene
from ksmactors.mm.const import PAGE_SIZE


class LockedMergeMeetsReclaim(Litmus):
    """ksmd merges a page that is locked in memory with one that is not, while memory is short."""

    name = "litmus.locked_merge_meets_reclaim"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        await scene.process("B", 7, 7)
        await scene.scan(2)
        a = await scene.process("A", 7)
        error = await scene.kernel.mlock(a.mm, a.start, PAGE_SIZE, on=True)
        assert not error
        reclaim = scene.kernel.try_to_free_pages(range(scene.machine.nodes), 1)
        await scene.concurrent({"ksmd": scene.scan(2), "kswapd/0": reclaim})


class LockedMremapMeetsScan(Litmus):
    """A process moves one of two pages that are locked in memory while ksmd merges the other one."""

    name = "litmus.locked_mremap_meets_scan"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("B", 7, 7)
        await scene.scan(2)
        a = await scene.process("A", 7, 8)
        error = await scene.kernel.mlock(a.mm, a.start, 2 * PAGE_SIZE, on=True)
        assert not error
        move = scene.kernel.mremap(a.mm, a.at(1), PAGE_SIZE)
        await scene.concurrent({"ksmd": scene.scan(2), "thread/A": move})
