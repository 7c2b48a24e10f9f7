"""A service manager switches merging on for all that it starts."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import EmulatedFault, Host, Int, Process, ProcessExited, Region, Workload


class Services(Workload):
    """A manager sets PR_SET_MEMORY_MERGE, forks, and each child executes a program that knows nothing of KSM.

    The program maps memory some time later, when ksmd may have dropped it for want of mappings; it writes what the
    others write, lends a page to a device that reads it, moves a part of its memory, and exits. Where the setting is
    not known, or does not outlive an exec, the program gives advice itself.
    """

    name: ClassVar[str] = "services"
    summary: ClassVar[str] = "a manager has all memory of the programs that it starts merged: prctl, fork, exec, mmap"
    expect_marks: ClassVar[tuple[str, ...]] = ("executed", "pinned")

    services = Int(3, "programs that are started", low=1, high=64)
    pages = Int(3, "pages of each program", low=1, high=1000)
    rounds = Int(3, "things that each program does")
    think_us = Int(300, "longest time between two of them, virtual microseconds", low=1, high=1_000_000)

    @override
    async def run(self, host: Host) -> None:
        manager = host.process("manager")
        manager.spawn(self._manage, host)

    async def _manage(self, manager: Process, host: Host) -> None:
        await manager.merge_any()
        for number in range(self.services):
            child = await manager.fork(f"service{number}")
            if isinstance(child, Process):
                child.spawn(self._serve, host)
            await host.sleep(1 + host.draw("services.start", self.think_us))

    async def _serve(self, service: Process, host: Host) -> None:
        if await service.exec():
            return
        host.mark("executed")
        await host.sleep(1 + host.draw("services.think", self.think_us))
        region = await service.map(self.pages)
        if host.draw("services.advises", 2):
            await service.mergeable(region)
        for page in range(self.pages):
            await service.write(region, page, 1 + page // 2)
        for _ in range(self.rounds):
            await host.sleep(1 + host.draw("services.think", self.think_us))
            region = await self._act(service, host, region)

    async def _act(self, service: Process, host: Host, region: Region) -> Region:
        """One thing; returns the region, which may have moved."""
        page = host.draw("services.page", self.pages)
        action = host.draw("services.action", 6)
        if action <= 1:
            await self._lend(service, host, region, page)
        elif action == 2:
            moved = await service.mremap(region)
            return region if isinstance(moved, int) else moved
        elif action == 3:
            await service.merge_any(on=bool(host.draw("services.merge", 2)))
        else:
            await service.write(region, page, 1 + host.draw("services.content", 2))
        return region

    async def _lend(self, service: Process, host: Host, region: Region, page: int) -> None:
        """A device reads a page for a while."""
        try:
            pin = await service.pin(region, page, dma=True)
        except ProcessExited:
            raise
        except EmulatedFault:
            return
        host.mark("pinned")
        await host.sleep(1 + host.draw("services.hold", self.think_us))
        await service.unpin(pin)
