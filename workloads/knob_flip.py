"""run and merge_across_nodes are flipped while everything moves."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.workload import Host, Int, Process, Workload


class KnobFlip(Workload):
    """An operator turns knobs, mostly in the order that the documentation recommends (run=2, then
    merge_across_nodes, then run=1), and sometimes in any other. Meanwhile processes write, give advice and take it
    back, map and unmap, and pages migrate.
    """

    name: ClassVar[str] = "knob_flip"
    summary: ClassVar[str] = "run 0/1/2 and merge_across_nodes are switched while pages are written and moved"
    expect_marks: ClassVar[tuple[str, ...]] = ("switched",)

    processes = Int(2, "processes, dealt to the nodes in turn", low=1, high=64)
    pages = Int(4, "pages of each process", low=1, high=1000)
    rounds = Int(6, "things that each process does")
    flips = Int(5, "times that the operator turns to the knobs")

    async def run(self, host: Host) -> None:
        for number in range(self.processes):
            process = host.process(f"P{number}", node=number)
            process.spawn(self._live, host)
        for _ in range(self.flips):
            await host.sleep(1 + host.draw("knob_flip.pause", 500))
            await self._flip(host)

    async def _flip(self, host: Host) -> None:
        flip = host.draw("knob_flip.flip", 4)
        if flip == 0:
            await host.set("run", host.draw("knob_flip.run", 3))
        elif flip == 1:
            await host.set("merge_across_nodes", host.draw("knob_flip.nodes", 2))
        else:
            await host.set("run", 2)
            if await host.set("merge_across_nodes", 1 - int(host.get("merge_across_nodes"))) == 0:
                host.mark("switched")
            await host.set("run", 1)

    async def _live(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + page // 2)
        for _ in range(self.rounds):
            await host.sleep(1 + host.draw("knob_flip.think", 400))
            page = host.draw("knob_flip.page", self.pages)
            action = host.draw("knob_flip.action", 8)
            if action == 0:
                await process.unmergeable(region)
            elif action == 1:
                await process.unmergeable(region, page, page + 1)
            elif action <= 3:
                await process.mergeable(region)
            elif action == 4:
                await process.dontneed(region, page, page + 1)
            else:
                await process.write(region, page, 1 + host.draw("knob_flip.content", 2))
