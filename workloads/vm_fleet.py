"""A fleet of virtual machines: guests booted from one image, then diverging."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import FilePath, Host, Int, Process, Region, Workload
from workloads.images import diverged, image_pages


class VmFleet(Workload):
    """Each guest is a process that maps the pages of one image, and one page of zeros, in an order drawn for it; the
    guests are dealt to the nodes in turn. Then it writes some pages: updates that other guests get, too, so that what
    has diverged becomes equal again, and restores of what the image held.

    Which image it is changes no schedule: see `workloads.images`.
    """

    name: ClassVar[str] = "vm_fleet"
    summary: ClassVar[str] = "guests booted from one image (-p image=PATH), then diverging; pages of real files"

    image = FilePath(None, "the file whose pages the guests boot from; default: the interpreter's own libraries")
    guests = Int(3, "virtual machines", low=1, high=64)
    pages = Int(4, "different pages of the image that each guest has, besides a page of zeros", low=1, high=4096)
    rounds = Int(6, "accesses of each guest after boot")
    updates = Int(2, "different updates that guests write over their pages", low=1, high=1000)

    @override
    def prepare(self) -> None:
        self._pages = image_pages(self.image, self.pages)

    @override
    async def run(self, host: Host) -> None:
        for number in range(self.guests):
            guest = host.process(f"vm{number}", node=number)
            guest.spawn(self._live, host)

    async def _live(self, guest: Process, host: Host) -> None:
        region = await guest.map(self.pages + 1)
        await guest.mergeable(region)
        await guest.write(region, self.pages, 0)
        order = list(range(self.pages))
        while order:
            page = order.pop(host.draw("vm_fleet.boot", len(order)))
            await guest.write(region, page, self._pages[page])
        for _ in range(self.rounds):
            await host.sleep(1 + host.draw("vm_fleet.pause", 400))
            await self._access(guest, host, region, host.draw("vm_fleet.page", self.pages))

    async def _access(self, guest: Process, host: Host, region: Region, page: int) -> None:
        action = host.draw("vm_fleet.action", 4)
        if action < 2:
            update = host.draw("vm_fleet.update", self.updates)
            await guest.write(region, page, diverged(self._pages[page], update, page))
        elif action == 2:
            await guest.write(region, page, self._pages[page])
        else:
            await guest.read(region, page)
