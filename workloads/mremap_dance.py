"""Regions move while their pages are merged, migrated and swapped."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import BusError, Host, Int, Process, Region, Workload


class MremapDance(Workload):
    """Processes move their regions again and again (mremap), which unmerges them first: an rmap_item is bound to an
    address, so a KSM page must not be found at another one. Meanwhile ksmd merges what is equal, pages migrate and go
    to swap, children are forked that move, too, or become another program (exec), and signals come in between.
    """

    name: ClassVar[str] = "mremap_dance"
    summary: ClassVar[str] = "regions are moved while their pages are merged, migrated and swapped out"
    expect_marks: ClassVar[tuple[str, ...]] = ("moved", "interrupted")

    processes = Int(2, "processes, dealt to the nodes in turn", low=1, high=64)
    pages = Int(4, "pages of each process", low=1, high=1000)
    rounds = Int(6, "things that each process does")
    signals = Int(3, "signals to any of the processes")
    balance_us = Workload.balance_us.with_default(300)
    reclaim_us = Workload.reclaim_us.with_default(500)

    @override
    async def run(self, host: Host) -> None:
        for number in range(self.processes):
            process = host.process(f"P{number}", node=number)
            process.spawn(self._live, host)
        for _ in range(self.signals):
            await host.sleep(1 + host.draw("mremap_dance.pause", 700))
            names = list(host.processes)
            host.processes[names[host.draw("mremap_dance.who", len(names))]].interrupt()

    async def _live(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + page // 2)
        await self._dance(process, host, region, self.rounds)

    async def _dance(self, process: Process, host: Host, region: Region, rounds: int) -> None:
        for number in range(rounds):
            await host.sleep(1 + host.draw("mremap_dance.think", 400))
            step = host.draw("mremap_dance.step", 8)
            if step == 0:
                child = await process.fork(f"{process.name}f{number}")
                if isinstance(child, Process):
                    child.spawn(self._step_out, host, region, rounds - number - 1)
            elif step == 1:
                await process.mergeable(region)
            elif step <= 4:
                region = await self._move(process, host, region)
            else:
                await self._touch(process, host, region, step == 5)

    async def _move(self, process: Process, host: Host, region: Region) -> Region:
        moved = await process.mremap(region)
        if isinstance(moved, Region):
            host.mark("moved")
            return moved
        host.mark("interrupted")
        return region

    async def _touch(self, process: Process, host: Host, region: Region, write: bool) -> None:
        page = host.draw("mremap_dance.page", self.pages)
        try:
            if write:
                await process.write(region, page, 1 + host.draw("mremap_dance.content", 2))
            else:
                await process.read(region, page)
        except BusError:
            await process.dontneed(region, page, page + 1)

    async def _step_out(self, child: Process, host: Host, region: Region, rounds: int) -> None:
        if host.draw("mremap_dance.exec", 3):
            await self._dance(child, host, region, rounds)
        elif await child.exec() == 0:
            await self._live(child, host)
        await child.exit()
