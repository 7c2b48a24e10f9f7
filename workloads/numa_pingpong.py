"""Equal pages on both nodes, bounced between them while they are merged and written."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class NumaPingpong(Workload):
    """merge_across_nodes is 0: each node has trees of its own, and a KSM page that was moved hangs in the wrong one
    until ksmd finds it, re-slots it, or has it collide with an equal page that is there already.

    Each process lives on one node and has every content twice, so that each node gets its own KSM pages. One
    thread writes them, the other has them moved to and fro.
    """

    name: ClassVar[str] = "numa_pingpong"
    summary: ClassVar[str] = "equal pages on all nodes, moved between them while they are merged and written"

    processes = Int(2, "processes, dealt to the nodes in turn", low=1, high=64)
    contents = Int(2, "different contents, each twice in every process", low=1, high=1000)
    moves = Int(5, "requests of each process to move a page")
    writes = Int(4, "writes of each process")
    merge_across_nodes = Workload.merge_across_nodes.with_default(0)
    balance_us = Workload.balance_us.with_default(400)

    @override
    async def run(self, host: Host) -> None:
        for number in range(self.processes):
            process = host.process(chr(ord("A") + number) if self.processes <= 26 else f"P{number}", node=number)
            process.spawn(self._live, host)

    async def _live(self, process: Process, host: Host) -> None:
        region = await process.map(2 * self.contents)
        await process.mergeable(region)
        for page in range(region.pages):
            await process.write(region, page, 1 + page // 2)
        process.spawn(self._bounce, host, region)
        for _ in range(self.writes):
            await host.sleep(1 + host.draw("numa_pingpong.think", 700))
            page = host.draw("numa_pingpong.page", region.pages)
            await process.write(region, page, 1 + host.draw("numa_pingpong.content", self.contents))

    async def _bounce(self, process: Process, host: Host, region: Region) -> None:
        for _ in range(self.moves):
            await host.sleep(1 + host.draw("numa_pingpong.pause", 600))
            page = host.draw("numa_pingpong.moved", region.pages)
            await host.migrate(process, region, page, host.draw("numa_pingpong.nid", host.nodes))
