"""Memory is short: equal pages are merged, swapped out and read back at the same time."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import BusError, Host, Int, Process, Region, Workload


class SwapPressure(Workload):
    """Processes with equal pages read and write them, fork, give advice and take it back, and move their regions, while
    reclaim swaps out what was not accessed lately, ksmd merges what is there, and pages migrate. A KSM page that is
    swapped out may be mapped back as such for as long as it is in the swap cache; once it has left memory, the
    process that accesses it first gets it as an ordinary page, and the others copies.

    Now and then unmerging (run=2) comes in between, or swapoff; or else the device cannot read a page back (not both in
    one schedule: v3.9's swapoff maps what it could not read).
    """

    name: ClassVar[str] = "swap_pressure"
    summary: ClassVar[str] = "equal pages are swapped out and read back while they are merged, moved and unmerged"
    expect_marks: ClassVar[tuple[str, ...]] = ("touched_in_swap", "swapoff", "sigbus")

    processes = Int(2, "processes, dealt to the nodes in turn", low=1, high=64)
    pages = Int(4, "pages of each process", low=1, high=1000)
    rounds = Int(8, "things that each process does")
    interventions = Int(3, "times that the operator unmerges everything or empties the swap device")
    balance_us = Workload.balance_us.with_default(500)
    reclaim_us = Workload.reclaim_us.with_default(120)

    @override
    async def run(self, host: Host) -> None:
        sound = host.draw("swap_pressure.sound", 2) == 1
        for number in range(self.processes):
            process = host.process(f"P{number}", node=number)
            process.spawn(self._live, host, sound)
        for _ in range(self.interventions):
            await host.sleep(1 + host.draw("swap_pressure.pause", 900))
            await self._intervene(host, sound)

    async def _intervene(self, host: Host, sound: bool) -> None:
        what = host.draw("swap_pressure.intervention", 4)
        if what == 0:
            await host.set("run", 2)
            await host.set("run", 1)
        elif what == 1 and sound:
            host.mark("swapoff")
            await host.swapoff()
        else:
            await host.reclaim(1 + host.draw("swap_pressure.reclaimed", self.pages), node=what)

    async def _live(self, process: Process, host: Host, sound: bool) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + page // 2)
        await self._act(process, host, region, self.rounds, sound)

    async def _act(self, process: Process, host: Host, region: Region, rounds: int, sound: bool) -> None:
        for number in range(rounds):
            await host.sleep(1 + host.draw("swap_pressure.think", 500))
            page = host.draw("swap_pressure.page", self.pages)
            action = host.draw("swap_pressure.action", 12)
            if action == 0:
                await process.unmergeable(region)
            elif action <= 2:
                await process.mergeable(region)
            elif action == 3:
                await process.dontneed(region, page, page + 1)
            elif action == 4:
                child = await process.fork(f"{process.name}f{number}")
                if isinstance(child, Process):
                    child.spawn(self._act, host, region, rounds - number - 1, sound)
            elif action == 5:
                moved = await process.mremap(region)
                region = moved if isinstance(moved, Region) else region
            else:
                await self._touch(process, host, region, page, action > 8, sound)

    async def _touch(self, process: Process, host: Host, region: Region, page: int, write: bool, sound: bool) -> None:
        if process.in_swap(region, page):
            host.mark("touched_in_swap")
            if not sound and host.draw("swap_pressure.error", 12) == 0:
                process.fail_swap_read(region, page)
        try:
            if write:
                await process.write(region, page, 1 + host.draw("swap_pressure.content", 2))
            else:
                await process.read(region, page)
        except BusError:
            host.mark("sigbus")
            await process.dontneed(region, page, page + 1)
