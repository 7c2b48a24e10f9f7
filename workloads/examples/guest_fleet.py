"""The third example: a fleet of guests whose pages come from memory images, and whose write rates from a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from typing_extensions import override

from ksmactors.images import pages_of_image
from ksmactors.workload import Field, FilePath, Host, Int, PluginEvent, Process, Region, UsageError, Workload
from workloads.examples.write_rates import GuestRates, read_trace
from workloads.images import DIVERGED, image_pages

RATE: Final = PluginEvent(
    "guest_fleet.rate",
    "A guest writes at another rate from now on.",
    Field("guest", "str", "", "its name in the trace"),
    Field("pages_per_second", "int", "pages", "in a second of the trace"),
)

RATES: Final = Path(__file__).parents[1] / "data" / "guest_rates.csv"
"""The trace that is taken if none is named."""

RESTORED_IN: Final = 4
"""One write in so many brings back what the image holds: a file that is read again, a buffer that is cleared."""


class GuestFleet(Workload):
    """Guests boot from memory images and write at the rates of a trace; ksmd merges what they have in common.

    Each guest of the trace maps the first pages of its image, duplicates and zeros included, so that as much can be
    merged as in the machine that the image was taken of. Then it writes pages drawn for it, as often as the trace says.
    Most writes make a page that no other guest has; some bring back what the image holds.
    """

    name = "guest_fleet"
    events = (RATE,)

    image = FilePath(None, "memory image of the guests, raw or an ELF core; default: the interpreter's own libraries")
    second_image = FilePath(None, "memory image of every other guest; default: the same")
    trace = FilePath(None, "CSV file with second,guest,pages_per_second; default: three guests for three seconds")
    pages = Int(6, "pages of its image that each guest has", low=1, high=4096)
    second_us = Int(500, "virtual microseconds that a second of the trace takes", low=1, high=1_000_000)

    @override
    def prepare(self) -> None:
        """Read the files, once."""
        self._trace = read_trace(self.trace or RATES)
        self._images = [self._pages_of(self.image)]
        if self.second_image is not None:
            self._images.append(self._pages_of(self.second_image))

    def _pages_of(self, path: Path | None) -> list[bytes]:
        if path is None:
            return image_pages(None, self.pages)
        found = pages_of_image(path, self.pages)
        if len(found) < self.pages:
            there = f"{len(found)} page{'' if len(found) == 1 else 's'}"
            raise UsageError(f"image {path} has only {there}, not {self.pages}: take a larger one, or fewer pages")
        return found

    @override
    async def run(self, host: Host) -> None:
        for number, (name, rates) in enumerate(self._trace.guests.items()):
            guest = host.process(name, node=number)
            guest.spawn(self.live, host, Memory(self._images[number % len(self._images)], number), rates)

    async def live(self, guest: Process, host: Host, memory: Memory, rates: GuestRates) -> None:
        """One guest: boots, then writes until the trace ends."""
        region = await guest.map(self.pages)
        await guest.mergeable(region)
        for page, content in enumerate(memory.now):
            await guest.write(region, page, content)
        for seconds, rate in rates.stretches(self._trace.end):
            host.emit(RATE, guest.name, rate)
            if not rate:
                await host.sleep(seconds * self.second_us)
                continue
            pause = max(1, 2 * self.second_us // rate)  # drawn from 0 to twice the mean
            for _ in range(seconds * rate):
                await host.sleep(host.draw("guest_fleet.pause", pause))
                await self._write(guest, host, region, memory)

    async def _write(self, guest: Process, host: Host, region: Region, memory: Memory) -> None:
        page = host.draw("guest_fleet.page", self.pages)
        found = await guest.read(region, page)
        host.always(found.data == memory.now[page], "a guest reads what it wrote", detail=f"page {page}")
        host.sometimes(int(host.get("pages_sharing")) > 0, "a guest writes while guests share pages")
        if host.draw("guest_fleet.restores", RESTORED_IN) == 0:
            memory.restore(page)
        else:
            memory.diverge(page)
        await guest.write(region, page, memory.now[page])


class Memory:
    """What a guest has written: `now` has the content of each page."""

    def __init__(self, image: list[bytes], number: int) -> None:
        self._image, self._number = image, number
        self._writes = 0
        self.now = list(image)

    def restore(self, page: int) -> None:
        """The page is again as in the image."""
        self.now[page] = self._image[page]

    def diverge(self, page: int) -> None:
        """The page is like no other of any guest: its first bytes say which guest wrote it, and when."""
        self._writes += 1
        head = DIVERGED + self._number.to_bytes(2, "big") + self._writes.to_bytes(4, "big")
        self.now[page] = head + self._image[page][len(head) :]
