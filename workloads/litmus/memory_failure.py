"""The memory of a KSM page fails while somebody is at the page."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_HWPOISON, PAGE_SIZE
from workloads.litmus.chains import limit_sharing


class MergeMeetsMemoryFailure(Litmus):
    """ksmd comes to a page that is equal to a KSM page, whose memory fails."""

    name = "litmus.merge_meets_memory_failure"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        c = await scene.process("C", 1)
        await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.write(c, 0, 7)
        page = scene.frame(b, 0)
        await scene.concurrent({"ksmd": scene.scan(2), "scrubber": scene.memory_failure(page)})
        await scene.read(c, 0)
        await scene.read(b, 0)


class MigrationMeetsMemoryFailure(Litmus):
    """A KSM page moves to another node while its memory fails."""

    name = "litmus.migration_meets_memory_failure"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        page = scene.frame(b, 0)
        await scene.concurrent({"migrationd/1": scene.move(a, 0, 1), "scrubber": scene.memory_failure(page)})
        await scene.read(a, 0)
        await scene.read(b, 0)


class WriteMeetsMemoryFailure(Litmus):
    """A process writes to a KSM page, and forks, while the memory of the page fails."""

    name = "litmus.write_meets_memory_failure"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        page = scene.frame(b, 0)
        await scene.concurrent({"thread/A": self._thread(scene, a), "scrubber": scene.memory_failure(page)})
        await scene.read(a, 0)
        await scene.read(b, 0)

    async def _thread(self, scene: Scene, a: Proc) -> None:
        child = await scene.fork(a, "E")
        await scene.store(a, 0, 8)
        await scene.read(child, 0)


class SwapInMeetsMemoryFailure(Litmus):
    """The memory of a dirty page in the swap cache fails while a process touches the page.

    The page was in use when reclaim unmapped it, so that it was not written.
    """

    name = "litmus.swap_in_meets_memory_failure"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7, mergeable=False)
        child = await scene.fork(a, "E")
        page = scene.frame(a, 0)
        await page.get()
        await scene.to_swap_cache(a, 0)
        await page.put()
        await scene.concurrent({"fault/A": scene.read(a, 0), "scrubber": scene.memory_failure(page)})
        await scene.read(a, 0)
        await scene.read(child, 0)


class MemoryFailuresMeet(Litmus):
    """Two processes have the memory of the same KSM page fail."""

    name = "litmus.memory_failures_meet"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.concurrent({"thread/A": self._fail(scene, a), "thread/B": self._fail(scene, b)})

    async def _fail(self, scene: Scene, proc: Proc) -> None:
        await scene.kernel.madvise(proc.mm, proc.start, PAGE_SIZE, MADV_HWPOISON)


class MergeMeetsSoftOffline(Litmus):
    """ksmd comes to a page that is equal to a KSM page, whose memory is taken out of use before it fails."""

    name = "litmus.merge_meets_soft_offline"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        c = await scene.process("C", 1)
        await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.write(c, 0, 7)
        offline = scene.kernel.soft_offline_page(scene.frame(b, 0).pfn)
        await scene.concurrent({"ksmd": scene.scan(2), "admin": offline})
        await scene.read(b, 0)


class ChainMeetsMemoryFailure(Litmus):
    """ksmd comes to where a process has written to one of two equal KSM pages, when the memory of that one fails."""

    name = "litmus.chain_meets_memory_failure"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene)
        procs = [await scene.process(name, 7) for name in "ABCD"]
        await scene.scan(3)
        page = scene.frame(procs[3], 0)
        await scene.write(procs[3], 0, 8)
        await scene.concurrent({"ksmd": scene.scan(), "scrubber": scene.memory_failure(page)})
        for proc in procs:
            await scene.read(proc, 0)
