"""One mapping that has become many vmas."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class SplitVmas(Workload):
    """A process gives advice on every other page of a region, so that each page is a vma, and all share one anon_vma.

    Its pages are merged, and moved. Each walk from a page to its mappings looks at all of these vmas, once for each
    rmap_item, with the page locked and the anon_vma's lock held, and finds one: with 20,000 of them that took hundreds
    of milliseconds. From v7.3 on an item knows its index, and the walk asks for that.
    """

    name: ClassVar[str] = "split_vmas"
    summary: ClassVar[str] = "pages of a mapping that is many vmas are merged and moved: reverse walks are long"
    expect_marks: ClassVar[tuple[str, ...]] = ("moved",)

    vmas = Int(12, "vmas of the process, at least 2", low=2, high=20_000)
    moves = Int(3, "times that a page is moved")
    think_us = Int(400, "longest time between two of them, virtual microseconds", low=1, high=1_000_000)

    @override
    async def run(self, host: Host) -> None:
        host.process("A").spawn(self._split, host)

    async def _split(self, process: Process, host: Host) -> None:
        region = await process.map(self.vmas)
        for page in range(self.vmas):
            await process.write(region, page, 7)
        for page in range(0, self.vmas, 2):
            await process.mergeable(region, page, page + 1)
        for number in range(self.moves):
            await host.sleep(1 + host.draw("split_vmas.think", self.think_us))
            await self._move(process, host, region, number)

    async def _move(self, process: Process, host: Host, region: Region, number: int) -> None:
        page = 2 * host.draw("split_vmas.page", (self.vmas + 1) // 2)
        if await host.migrate(process, region, page, number % host.nodes) >= 0:
            host.mark("moved")
