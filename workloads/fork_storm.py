"""Trees of forks: copies on write, and exits, of pages that are shared by fork and by KSM at once."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class ForkStorm(Workload):
    """A process with some equal pages forks; its children write some pages, fork in their turn, move or unmap their
    memory, and exit, while ksmd merges what is equal and the pages migrate. A forked KSM page is mapped without an
    rmap_item until ksmd comes past: rmap must find it by its parent's.
    """

    name: ClassVar[str] = "fork_storm"
    summary: ClassVar[str] = "trees of forks that write, move and unmap pages which are being merged, and exit"

    pages = Int(4, "pages of each process", low=1, high=1000)
    children = Int(2, "forks of each process", low=1, high=16)
    depth = Int(2, "generations", low=1, high=6)
    writes = Int(2, "accesses of each process between two forks")

    @override
    async def run(self, host: Host) -> None:
        root = host.process("P")
        region = await root.map(self.pages)
        await root.mergeable(region)
        for page in range(self.pages):
            await root.write(region, page, 1 + page // 2)
        root.spawn(self._live, host, region, self.depth)

    async def _live(self, process: Process, host: Host, region: Region, depth: int) -> None:
        for number in range(self.children if depth else 0):
            await self._access(process, host, region)
            child = await process.fork(f"{process.name}{number}")
            if isinstance(child, Process):
                child.spawn(self._live, host, region, depth - 1)
        await self._access(process, host, region)
        await self._leave(process, host, region)

    async def _access(self, process: Process, host: Host, region: Region) -> None:
        for _ in range(self.writes):
            await host.sleep(1 + host.draw("fork_storm.pause", 300))
            page = host.draw("fork_storm.page", self.pages)
            if host.draw("fork_storm.read", 4) == 0:
                await process.read(region, page)
            else:
                await process.write(region, page, 1 + host.draw("fork_storm.content", 3))

    async def _leave(self, process: Process, host: Host, region: Region) -> None:
        last = host.draw("fork_storm.last", 4)
        if last == 0:
            await process.munmap(region, 0, 1 + host.draw("fork_storm.unmapped", self.pages))
        elif last == 1:
            moved = await process.mremap(region)
            if isinstance(moved, Region):
                await process.read(moved, host.draw("fork_storm.moved", self.pages))
        if host.draw("fork_storm.exit", 4):
            await process.exit()
