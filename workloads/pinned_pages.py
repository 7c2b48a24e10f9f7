"""Other actors hold references on pages, or lock them in memory."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import BusError, EmulatedFault, Host, Int, Process, Region, Workload


class PinnedPages(Workload):
    """Processes pin pages, as direct I/O does with get_user_pages, for a while, and lock some in memory (mlock); all
    the time ksmd wants to merge them, migration wants to move them and reclaim to swap them out. The extra reference
    makes merges and migrations give up; what is locked is not swapped out, and the lock goes over to the KSM page that
    takes a page's place.
    """

    name: ClassVar[str] = "pinned_pages"
    summary: ClassVar[str] = "pages are pinned and locked while they are to be merged, migrated and swapped out"
    expect_marks: ClassVar[tuple[str, ...]] = ("pinned", "locked")

    processes = Int(2, "processes, dealt to the nodes in turn", low=1, high=64)
    pages = Int(4, "pages of each process", low=1, high=1000)
    rounds = Int(7, "things that each process does")
    hold_us = Int(400, "longest time that a page stays pinned, virtual microseconds", low=1, high=1_000_000)
    dma = Int(0, "whether they are pinned by pin_user_pages, not by plain references", high=1)
    balance_us = Workload.balance_us.with_default(100)
    reclaim_us = Workload.reclaim_us.with_default(250)

    @override
    async def run(self, host: Host) -> None:
        for number in range(self.processes):
            process = host.process(f"P{number}", node=number)
            process.spawn(self._live, host)

    async def _live(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + page // 2)
        for number in range(self.rounds):
            await host.sleep(1 + host.draw("pinned_pages.think", 300))
            await self._act(process, host, region, number)

    async def _act(self, process: Process, host: Host, region: Region, number: int) -> None:
        page = host.draw("pinned_pages.page", self.pages)
        action = host.draw("pinned_pages.action", 10)
        if action <= 3:
            process.spawn(self._transfer, host, region, page, action <= 1)
        elif action == 4:
            if await process.mlock(region, 0, 1 + page) == 0:
                host.mark("locked")
        elif action == 5:
            await process.munlock(region)
        elif action == 6:
            child = await process.fork(f"{process.name}f{number}")
            if isinstance(child, Process):
                child.spawn(self._touch, host, region, page)
        elif action == 7:
            await process.unmergeable(region, page, page + 1)
            await process.mergeable(region)
        else:
            await self._touch(process, host, region, page)

    async def _transfer(self, process: Process, host: Host, region: Region, page: int, write: bool) -> None:
        """One direct I/O, by a thread of its own."""
        try:
            pin = await process.pin(region, page, write=write, dma=bool(self.dma))
        except EmulatedFault:
            return
        host.mark("pinned")
        await host.sleep(1 + host.draw("pinned_pages.hold", self.hold_us))
        await process.unpin(pin)

    async def _touch(self, process: Process, host: Host, region: Region, page: int) -> None:
        try:
            await process.write(region, page, 1 + host.draw("pinned_pages.content", 2))
        except BusError:
            await process.dontneed(region, page, page + 1)
