"""run and merge_across_nodes are flipped while everything moves."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class KnobFlip(Workload):
    """An operator turns knobs, mostly in the order that the documentation recommends (run=2, then
    merge_across_nodes, then run=1), and sometimes in any other. Meanwhile processes write, give advice and take it
    back, fork, and pages migrate.

    In half of all schedules no two pages are alike: nothing is ever shared then, and merge_across_nodes may be
    switched in the middle of a scan.
    """

    name: ClassVar[str] = "knob_flip"
    summary: ClassVar[str] = "run 0/1/2 and merge_across_nodes are switched while pages are written and moved"
    expect_marks: ClassVar[tuple[str, ...]] = ("switched",)

    processes = Int(2, "processes, dealt to the nodes in turn", low=1, high=64)
    pages = Int(4, "pages of each process", low=1, high=1000)
    rounds = Int(6, "things that each process does")
    flips = Int(6, "times that the operator turns to the knobs")

    @override
    async def run(self, host: Host) -> None:
        alike = host.draw("knob_flip.alike", 2) == 1
        for number in range(self.processes):
            process = host.process(f"P{number}", node=number)
            process.spawn(self._live, host, 0 if alike else 1 + number * (self.pages + 1))
        for _ in range(self.flips):
            await host.sleep(1 + host.draw("knob_flip.pause", 500))
            await self._flip(host)

    async def _flip(self, host: Host) -> None:
        flip = host.draw("knob_flip.flip", 4)
        if flip == 0:
            await host.set("run", host.draw("knob_flip.run", 3))
        elif flip == 1:
            for _ in range(1 + host.draw("knob_flip.switches", 3)):
                await self._switch(host)
                await host.sleep(1 + host.draw("knob_flip.hesitation", 200))
        else:
            await host.set("run", 2)
            await self._switch(host)
            await host.set("run", 1)

    async def _switch(self, host: Host) -> None:
        if await host.set("merge_across_nodes", 1 - int(host.get("merge_across_nodes"))) == 0:
            host.mark("switched")

    async def _live(self, process: Process, host: Host, unlike: int) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, self._token(page, page // 2, unlike))
        for number in range(self.rounds):
            await host.sleep(1 + host.draw("knob_flip.think", 400))
            await self._act(process, host, region, number, unlike)

    async def _act(self, process: Process, host: Host, region: Region, number: int, unlike: int) -> None:
        page = host.draw("knob_flip.page", self.pages)
        action = host.draw("knob_flip.action", 9)
        if action == 0:
            await process.unmergeable(region)
        elif action == 1:
            await process.unmergeable(region, page, page + 1)
        elif action <= 3:
            await process.mergeable(region)
        elif action == 4:
            await process.dontneed(region, page, page + 1)
        elif action == 5:
            child = await process.fork(f"{process.name}f{number}")
            if isinstance(child, Process):
                child.spawn(self._pass_through, host, region, page)
        else:
            await process.write(region, page, self._token(page, host.draw("knob_flip.content", 2), unlike))

    async def _pass_through(self, child: Process, host: Host, region: Region, page: int) -> None:
        await child.read(region, page)
        await host.sleep(1 + host.draw("knob_flip.childhood", 600))
        await child.exit()

    @staticmethod
    def _token(page: int, content: int, unlike: int) -> int:
        """What to write: one of few contents for all pages; or, from token `unlike` on, each page its own."""
        return page + unlike if unlike else 1 + content
