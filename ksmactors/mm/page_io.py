"""Reads and writes of the swap device (mm/page_io.c), and the end of a write (mm/filemap.c)."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import misuse
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import seam

SWAP_IO_NS: Final = 20_000
"""What a read or a write takes: some steps of other actors, far less than a batch of ksmd."""

SWAP_IO_MOMENTS: Final = 4
"""Between the submission of a write and its end, how many moments there are at which the device may read the page."""


class PageIo(MmCore):
    """A device with an actor of its own, or one whose reads and writes have ended when they return."""

    @override
    @seam
    async def swap_readpage(self, page: Frame, slot: SwapSlot) -> None:
        """Read a locked page from the device and unlock it; after an error it is not uptodate."""
        if not self.swap.synchronous:
            await self.conductor.sleep(SWAP_IO_NS)
        await page.write_content(slot.content if slot.content is not None else self.contents.zero)
        slot.uptodate = not (slot.bad or self.inject("swap_read"))
        self.emit(ev.SWAP_READPAGE, slot.number, page.pfn, page.nid, not slot.uptodate)
        await page.unlock()

    @override
    @seam
    async def swap_writepage(self, page: Frame) -> None:
        """Write a locked page, or start to, as the device does it; or free its slot if no entry needs it. Unlocks the
        page."""
        slot = page.swap
        if slot is None or await self.try_to_free_swap(page):
            await page.unlock()
            return
        if self.swap.synchronous:
            await self._write_slot(slot, page)
        else:
            slot.writeback = True
            self.swap.writes.append(slot)
            self.conductor.touch(RELEASE, self.swap, "writes")
            self.swap.submitted.wake_all()
        await page.unlock()

    @override
    @seam
    async def wait_on_page_writeback(self, page: Frame) -> None:
        """Wait until a page is not being written. The caller holds a reference."""
        await self.conductor.point(READ, page, "writeback")
        while (slot := page.swap) is not None and slot.writeback:
            await self.swap.written.wait()

    @seam
    async def end_swap_writes(self) -> None:
        """The body of the device: writes one page after the other. Never returns."""
        device = self.swap
        while True:
            while not device.writes:
                await device.submitted.wait()
            slot = device.writes.popleft()
            self.conductor.touch(ACQUIRE, device, "writes")
            early = self.swap_read_moment() * (SWAP_IO_NS // SWAP_IO_MOMENTS)
            await self.conductor.sleep(SWAP_IO_NS - early)
            page = slot.page
            if page is None:
                raise misuse("written_without_page", f"{slot} is written, and has no page", slot)
            await self._write_slot(slot, page)
            if early:
                await self.conductor.sleep(early)
            await self.end_page_writeback(page, slot)
            device.written.wake_all()

    async def _write_slot(self, slot: SwapSlot, page: Frame) -> None:
        """Store the content of a page on the device."""
        slot.content = await page.read_content()
        self.emit(ev.SWAP_WRITEPAGE, slot.number, page.pfn, page.nid)

    @seam
    def swap_read_moment(self) -> int:
        """When the device reads a page that it writes, drawn: 0 is just before the end of the write, each one more the
        same time earlier."""
        return self.conductor.draw("swap.read_early", SWAP_IO_MOMENTS)

    @seam
    async def end_page_writeback(self, page: Frame, slot: SwapSlot) -> None:
        """A page has been written: it is under writeback no more."""
        await self.conductor.point(WRITE, page, "writeback")
        slot.writeback = False
