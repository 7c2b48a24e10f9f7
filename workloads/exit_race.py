"""Processes exit while ksmd is in the middle of them."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class ExitRace(Workload):
    """One process after the other comes up with the same contents as all others, and exits as soon as it sees
    ksmd's cursor in it, or when it has waited long enough; some have given their advice but touched nothing, and may
    be freed the moment ksmd leaves them. One lives on, shares pages with those that go, and writes.
    """

    name: ClassVar[str] = "exit_race"
    summary: ClassVar[str] = "processes come and exit while ksmd is in the middle of them"
    expect_marks: ClassVar[tuple[str, ...]] = ("exit.under_cursor",)

    slots = Int(2, "processes that come and go at the same time", low=1, high=16)
    generations = Int(4, "processes in each slot, one after the other", low=1, high=1000)
    pages = Int(3, "pages of each process", low=1, high=1000)
    patience = Int(4, "looks at ksmd's cursor before a process exits anyway, and writes of the one that stays")

    @override
    async def run(self, host: Host) -> None:
        resident = host.process("R")
        resident.spawn(self._stay, host)
        for slot in range(self.slots):
            self._come(host, slot, 0)

    def _come(self, host: Host, slot: int, generation: int) -> None:
        process = host.process(f"S{slot}g{generation}", node=slot)
        process.spawn(self._pass_through, host, slot, generation)

    async def _stay(self, process: Process, host: Host) -> None:
        region = await self._fill(process, host)
        for _ in range(self.patience):
            await host.sleep(1 + host.draw("exit_race.think", 500))
            await process.write(region, host.draw("exit_race.page", self.pages), 1)

    async def _fill(self, process: Process, host: Host) -> Region:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + (page + host.draw("exit_race.shift", 2)) % self.pages)
        return region

    async def _pass_through(self, process: Process, host: Host, slot: int, generation: int) -> None:
        if host.draw("exit_race.touch", 3):
            await self._fill(process, host)
        else:
            await process.mergeable(await process.map(self.pages))
        for _ in range(self.patience):
            await host.sleep(1 + host.draw("exit_race.pause", 300))
            if self._scanned(process, host):
                host.mark("exit.under_cursor")
                break
        if generation + 1 < self.generations:
            self._come(host, slot, generation + 1)
        await process.exit()

    def _scanned(self, process: Process, host: Host) -> bool:
        slot = host.machine.kernel.ksm_scan.mm_slot
        return slot is not None and slot.mm is process.mm
