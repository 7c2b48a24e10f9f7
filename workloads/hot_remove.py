"""Memory goes away under pages that are being merged, and comes back."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class HotRemove(Workload):
    """An operator takes the memory of a node offline, or a part of it, and brings it back. Everything on it moves to
    the other nodes, KSM pages included, while their processes go on to write, fork, exit and give advice, and an admin
    turns the knobs. Stable nodes whose pages are gone must go with the memory that they name, before ksmd gets to
    look at them; merge_across_nodes is 0, so those that moved hang in the wrong tree.
    """

    name: ClassVar[str] = "hot_remove"
    summary: ClassVar[str] = "memory is taken offline and brought back under pages that are merged and written"
    expect_marks: ClassVar[tuple[str, ...]] = ("offlined",)

    processes = Int(3, "processes, dealt to the nodes in turn", low=1, high=64)
    pages = Int(4, "pages of each process", low=1, high=1000)
    rounds = Int(5, "things that each process does")
    removals = Int(3, "times that memory is taken offline and brought back")
    merge_across_nodes = Workload.merge_across_nodes.with_default(0)
    balance_us = Workload.balance_us.with_default(500)

    @override
    async def run(self, host: Host) -> None:
        for number in range(self.processes):
            process = host.process(f"P{number}", node=number)
            process.spawn(self._live, host)
        for _ in range(self.removals):
            await host.sleep(1 + host.draw("hot_remove.pause", 600))
            await self._remove(host)

    async def _remove(self, host: Host) -> None:
        node = host.draw("hot_remove.node", host.nodes)
        if host.draw("hot_remove.part", 2):
            first = 1 + host.draw("hot_remove.first", self.pages)
            error = await host.offline(node, first, 1 + host.draw("hot_remove.frames", 2 * self.pages))
        else:
            error = await host.offline(node)
        if error == 0:
            host.mark("offlined")
        if host.draw("hot_remove.switch", 3) == 0:
            await host.set("run", host.draw("hot_remove.run", 3))
            await host.set("merge_across_nodes", host.draw("hot_remove.knob", 2))
            await host.set("run", 1)
        await host.sleep(1 + host.draw("hot_remove.absence", 600))
        await host.online()

    async def _live(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + page // 2)
        for number in range(self.rounds):
            await host.sleep(1 + host.draw("hot_remove.think", 500))
            await self._act(process, host, region, number)

    async def _act(self, process: Process, host: Host, region: Region, number: int) -> None:
        page = host.draw("hot_remove.page", self.pages)
        action = host.draw("hot_remove.action", 8)
        if action == 0:
            child = await process.fork(f"{process.name}f{number}")
            if isinstance(child, Process):
                child.spawn(self._pass_through, host, region, page)
        elif action == 1:
            await process.unmergeable(region, page, page + 1)
        elif action == 2:
            await process.mergeable(region)
        elif action == 3:
            await process.read(region, page)
        else:
            await process.write(region, page, 1 + host.draw("hot_remove.content", 2))

    async def _pass_through(self, child: Process, host: Host, region: Region, page: int) -> None:
        await child.write(region, page, 1 + host.draw("hot_remove.content", 2))
        await host.sleep(1 + host.draw("hot_remove.childhood", 600))
        await child.exit()
