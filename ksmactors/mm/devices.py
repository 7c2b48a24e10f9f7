"""Devices that read and write pinned pages by DMA: get_user_pages, the transfer, and the end of the I/O."""

from __future__ import annotations

from typing import Protocol

from ksmactors.interleave.actor import READ, RELEASE, YIELD
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.content import Content
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam


class IoPin:
    """A page that is pinned for I/O: where it was mapped, the frame, and whether the device writes it; with `dma` by
    pin_user_pages, else by a plain reference. `active` until the I/O has ended."""

    __slots__ = ("active", "address", "dma", "mm", "page", "write")

    def __init__(self, mm: AddressSpace, address: int, page: Frame, write: bool, *, dma: bool = False) -> None:
        self.mm, self.address, self.page, self.write, self.dma = mm, address, page, write, dma
        self.active = True


class DeviceObserver(Protocol):
    """Is notified of the accesses of devices to pinned pages, at the instant at which they take effect."""

    def pinned(self, pin: IoPin) -> None:
        """A page has been pinned."""

    def stored(self, pin: IoPin) -> None:
        """The device has overwritten the page; the frame has the new content."""

    def fetched(self, pin: IoPin) -> None:
        """The device has read the page."""

    def unpinned(self, pin: IoPin) -> None:
        """The I/O has ended."""


class Devices(MmCore):
    """What direct I/O does to memory. Nothing keeps the page mapped meanwhile; its reference keeps the frame."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.device_observers: list[DeviceObserver] = []

    @seam
    async def start_io(self, mm: AddressSpace, address: int, write: bool, *, dma: bool = False) -> IoPin | int:
        """Take one page for a device that reads it or (`write`) writes it; or a negative errno, as get_user_pages.

        With `dma` by pin_user_pages, as direct I/O does, else by a plain reference, as vmsplice does.
        """
        take = self.pin_user_pages if dma else self.get_user_pages
        page = await take(mm, address, write)
        if isinstance(page, int):
            return page
        pin = IoPin(mm, address, page, write, dma=dma)
        for observer in self.device_observers:
            observer.pinned(pin)
        return pin

    @seam
    async def device_write(self, pin: IoPin, content: Content) -> bool:
        """The device stores to the page. False: the I/O had ended by then, and nothing was done."""
        page = pin.page
        await self.conductor.point(READ, page, "dma")
        if not pin.active:
            return False
        page.must_be_alive("a store by a device")
        self.memory_epoch += 1
        self.conductor.touch(RELEASE, page, "content")  # no order: the device stores at any time
        page.content = content
        page.writer = self.conductor.turn.number
        for observer in self.device_observers:
            observer.stored(pin)
        return True

    @seam
    async def device_read(self, pin: IoPin) -> Content | None:
        """What the device reads. None: the I/O had ended by then."""
        page = pin.page
        await self.conductor.point(READ, page, "dma")
        if not pin.active:
            return None
        self.conductor.touch(YIELD, page, "content")
        page.must_be_alive("a read by a device")
        for observer in self.device_observers:
            observer.fetched(pin)
        return page.content

    @seam
    async def end_io(self, pin: IoPin) -> None:
        """The end of the I/O: a page that was written is marked dirty (set_page_dirty_lock), the reference dropped."""
        pin.active = False
        for observer in self.device_observers:
            observer.unpinned(pin)
        if pin.write:
            await pin.page.lock()
            pin.page.dirty = True
            await pin.page.unlock()
        await (self.unpin_user_page(pin.page) if pin.dma else pin.page.put())
