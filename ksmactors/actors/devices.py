"""Devices that do direct I/O on pinned pages, at moments of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmactors.actors.region import Region
from ksmactors.interleave.durations import NS_PER_US
from ksmactors.machine import Machine
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame

TRANSFERS: Final = 3
"""Most accesses of a device to one pinned page."""

PAUSE_US: Final = 150
"""Within how many virtual microseconds the next one follows: about as long as ksmd takes for a page or two."""

STORED: Final = 0xD3A0
"""The first of the tokens that devices store: no workload has it, so that a lost store shows."""

STORED_KINDS: Final = 2
"""How many there are: few, so that pages that devices have written may be equal, and merge."""


@dataclass(eq=False, slots=True)
class Pin:
    """A page that is pinned for I/O: which page of which region it was, the frame, and the I/O."""

    region: Region
    index: int
    page: Frame
    io: IoPin


class Dma:
    """`dma/PROCESS.N`: one device, while a page is pinned for it: reads it or stores to it up to TRANSFERS times, at
    drawn moments (`dma.*` on the tape), unless the pin is let go before. Takes no lock at all."""

    def __init__(self, machine: Machine, io: IoPin) -> None:
        self.conductor, self.kernel, self.io = machine.conductor, machine.kernel, io

    async def run(self) -> None:
        """The body of the actor."""
        for _ in range(1 + self.conductor.draw("dma.transfers", TRANSFERS)):
            await self.conductor.sleep((1 + self.conductor.draw("dma.pause", PAUSE_US)) * NS_PER_US)
            if not self.io.active:
                return
            if self.io.write:
                token = STORED + self.conductor.draw("dma.content", STORED_KINDS)
                await self.kernel.device_write(self.io, self.kernel.contents.token(token))
            else:
                await self.kernel.device_read(self.io)
