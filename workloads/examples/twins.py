"""The first example: two processes with equal pages, and nothing else."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Workload


class Twins(Workload):
    """Two processes with equal pages, which ksmd merges; then one of them writes."""

    name = "twins"
    pages = Int(2, "pages of each process", low=1, high=256)

    @override
    async def run(self, host: Host) -> None:
        for name in ("A", "B"):
            host.process(name).spawn(self.live, host)

    async def live(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 7)  # equal numbers are equal contents
        await host.sleep(400)  # long enough for ksmd to come by, in most schedules
        if process.name == "A":
            host.sometimes(int(host.get("pages_sharing")) > 0, "a shared page is written")
            await process.write(region, 0, 8)
