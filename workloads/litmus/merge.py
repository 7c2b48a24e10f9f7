"""ksmd merges pages while their processes change what is there."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import PAGE_SIZE


class MergeMeetsFork(Litmus):
    """ksmd merges the pages of A and B, which must fail since A's is pinned (for I/O, say), while B forks."""

    name = "litmus.merge_meets_fork"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan()
        await scene.batch(1)
        pinned = scene.frame(a, 0)
        await pinned.get()
        await scene.concurrent({"ksmd": scene.batch(1), "fork/B": scene.fork(b, "C")})
        await pinned.put()


class InsertionMeetsWrite(Litmus):
    """ksmd merges two pages while both become equal to a KSM page that there is already."""

    name = "litmus.insertion_meets_write"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("C", 5)
        await scene.process("D", 5)
        await scene.scan(2)
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan()
        await scene.batch(3)
        threads = {"thread/A": scene.store(a, 0, 5), "thread/B": scene.store(b, 0, 5)}
        await scene.concurrent({"ksmd": scene.batch(1), **threads})


class MergeMeetsRemap(Litmus):
    """A child unmaps a KSM page and maps its address again, while ksmd comes to that page."""

    name = "litmus.merge_meets_remap"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        c = await scene.fork(a, "C")
        await scene.batch(2)
        await scene.concurrent({"ksmd": scene.batch(1), "thread/C": self._map_anew(scene, c)})

    async def _map_anew(self, scene: Scene, proc: Proc) -> None:
        await scene.kernel.munmap(proc.mm, proc.start, PAGE_SIZE)
        await scene.kernel.mmap(proc.mm, 1, 0, proc.start)
