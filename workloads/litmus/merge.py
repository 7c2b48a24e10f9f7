"""ksmd merges pages while their processes change what is there."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_DONTNEED, PAGE_SIZE

GIVEN_UP = 4
"""Pages of each process: the moment at which a page can be lost is short."""


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


class MergeMeetsDontneed(Litmus):
    """A process gives up its pages and writes others there, while ksmd merges the old ones.

    MADV_DONTNEED holds mmap_sem for read only, as ksmd does: an entry may change once it has been write-protected.
    """

    name = "litmus.merge_meets_dontneed"

    @override
    async def run(self, scene: Scene) -> None:
        tokens = range(7, 7 + GIVEN_UP)
        a = await scene.process("A", *tokens)
        await scene.process("B", *tokens)
        await scene.scan()
        await scene.batch(GIVEN_UP)
        await scene.concurrent({"ksmd": scene.batch(GIVEN_UP), "thread/A": self._give_up(scene, a)})
        for index in range(GIVEN_UP):
            await scene.read(a, index)

    async def _give_up(self, scene: Scene, proc: Proc) -> None:
        for index in range(GIVEN_UP):
            await scene.kernel.madvise(proc.mm, proc.at(index), PAGE_SIZE, MADV_DONTNEED)
            await scene.store(proc, index, 1)
