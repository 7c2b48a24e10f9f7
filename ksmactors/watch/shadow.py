"""O7: each process reads what it last wrote."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.later.fork_copies_pinned import ForkCopiesPinned
from ksmactors.later.unshare_on_pin import UnshareOnPin
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.content import Content
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import kernel_function
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.watch.base import Watcher
from ksmactors.watch.places import Places
from ksmactors.watch.probe import Probe, address_space, place_of


class Ownership(IntEnum):
    """Who uses a pinned page, as far as it matters to what a device stores and reads."""

    OWN = 0
    """Only the process, at the address at which it was pinned."""

    SHARED = 1
    """Another process, too: a write by the process may go to a copy."""

    GONE = 2
    """The process has given it up."""


DEVICE_FUNCTIONS: Final = ("device_write", "device_read")
"""Functions in which a device's access is detected."""


def _place_of_pin(pin: IoPin) -> tuple[str, int, int]:
    return "place", pin.mm.number, pin.address


class ShadowMemory(Watcher):
    """Each process reads what it last wrote, at all times: nothing is lost, nothing comes from another process.

    The watcher keeps a second copy of all memory: a write sets it, fork copies it, munmap, MADV_DONTNEED and exit empty
    it, mremap moves it. It changes at the same instant as the page table entry, so a difference is never a matter of
    timing. Merging, migrating and unmerging must leave it alone.

    Why it holds. A page is compared again after its entry has been made read-only, and replaced only if the entry has
    not changed since. A KSM page is never written, always copied. A migration copies the page while no entry maps it. A
    page in the swap cache is written before it is dropped, and a page that could not be read is an error, not a page.

    When checked. At every read of a thread, and everywhere at the end, so that a lost write is found even if it is
    never read; swapped pages as they would be read back.

    Devices do direct I/O on pinned pages at times of their own. A device's store counts as a write of the process; a
    device must read what the process wrote last. That holds for as long as the process has the pinned page: not after
    munmap and the like; not once a fork has given the page two owners, or where the entry was read-only when the page
    was pinned for reading: the next write then makes a copy, and the device continues with the old page. (That is
    v3.9's behaviour; a process that does direct I/O must not fork.) In kernels with pages exclusive to a process
    (v5.19), pin_user_pages pins no others. The pin of one is held to all this, read-only or not, and fork must copy it.
    What the process has given up by MADV_FREE it has until reclaim drops it, but not while a device is to store there.

    Finding. Data is lost, or leaks from one process to another: F3, S4d, S5e, N1, N6, G4, G6; no known hazard of v3.9
    does this.
    """

    name: ClassVar[str] = "shadow"
    summary: ClassVar[str] = "each process reads what it last wrote (O7)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._zero = self.kernel.contents.zero
        self._shadow: dict[tuple[int, int], Content] = {}
        self._pins: dict[IoPin, Ownership] = {}
        self._places = Places(self.kernel)
        self.kernel.observers.append(self)
        self.kernel.device_observers.append(self)

    def wrote(self, mm: AddressSpace, address: int, page: Frame) -> None:
        self._shadow[mm.number, address] = page.content

    def read(self, mm: AddressSpace, address: int, page: Frame) -> None:
        self._check(mm, address, page)

    def zapped(self, mm: AddressSpace, address: int) -> None:
        if self._pins:
            self._check_drop(mm, address)
        self._shadow.pop((mm.number, address), None)
        self._pins_are(mm, address, Ownership.GONE)
        self._places.forget(mm, address)

    def copied(self, mm: AddressSpace, oldmm: AddressSpace, address: int) -> None:
        own, copy = oldmm.ptes.get(address), mm.ptes.get(address)
        if own is None or copy is None or own.frame is copy.frame:
            self._check_fork(oldmm, address)
            self._pins_are(oldmm, address, Ownership.SHARED)
        self._shadow[mm.number, address] = self._shadow.get((oldmm.number, address), self._zero)

    def moved(self, mm: AddressSpace, old: int, new: int) -> None:
        self._shadow[mm.number, new] = self._shadow.pop((mm.number, old), self._zero)
        self._pins_are(mm, old, Ownership.GONE)
        self._places.forget(mm, old)

    # -- devices ------------------------------------------------------------------------------------------------------

    def _pins_are(self, mm: AddressSpace, address: int, ownership: Ownership) -> None:
        for pin in self._pins:
            if pin.mm is mm and pin.address == address:
                self._pins[pin] = max(self._pins[pin], ownership)

    def _pin_at(self, mm: AddressSpace, address: int) -> IoPin | None:
        """Return a pin of the page that a process has for itself at an address."""
        own = (pin for pin, ownership in self._pins.items() if ownership is Ownership.OWN)
        return next((pin for pin in own if pin.mm is mm and pin.address == address), None)

    def _check_drop(self, mm: AddressSpace, address: int) -> None:
        """Reclaim may drop what a process has given up (MADV_FREE), but not while a device is to store there."""
        pin = self._pin_at(mm, address)
        if pin is not None and pin.write and kernel_function() == "try_to_unmap_one":
            raise self.finding(
                "pinned_page_dropped",
                f"reclaim drops pfn {pin.page.pfn}, which {mm.name} has given up at {address:#x}, and a device has "
                "pinned to store to it: the store is lost",
                about=(pin.page,),
                names=(_place_of_pin(pin),),
            )

    def _check_fork(self, mm: AddressSpace, address: int) -> None:
        """Since v5.9 fork copies a page that is pinned."""
        pin = self._pin_at(mm, address) if self._pins and isinstance(self.kernel, ForkCopiesPinned) else None
        if pin is not None and pin.dma:
            raise self.finding(
                "pinned_page_shared",
                f"a child comes to share pfn {pin.page.pfn}, which {mm.name} has at {address:#x} and a device has "
                "pinned: the next write parts the process from the device",
                about=(pin.page,),
                names=(_place_of_pin(pin),),
            )

    def _check_pin(self, pin: IoPin) -> None:
        """Since v5.19 a page that is pinned is the process's own, even for reading."""
        kernel, page = self.kernel, pin.page
        if isinstance(kernel, UnshareOnPin) and page is not kernel.zero_page and not kernel.has_exclusive_mark(page):
            raise self.finding(
                "shared_page_pinned",
                f"a device has pinned pfn {page.pfn} of {pin.mm.name} at {pin.address:#x}, which may have other users: "
                "the next write parts the process from the device",
                where="pin_user_pages",
                about=(page,),
                names=(_place_of_pin(pin),),
            )

    def _is_there(self, pin: IoPin) -> bool:
        """Whether the process would still find the pinned page."""
        return any(mm is pin.mm and address == pin.address for mm, address in self._places.of(pin.page))

    def pinned(self, pin: IoPin) -> None:
        page = pin.page
        if pin.dma:
            self._check_pin(pin)
        slot = page.swap
        shared = page.is_ksm or page.mapcount + (slot.count if slot is not None else 0) > 1
        entry = pin.mm.ptes.get(pin.address)
        if not pin.write and (entry is None or not entry.write) and not self.kernel.page_anon_exclusive(page):
            shared = True  # the next write may make a copy
        if not self._is_there(pin):
            self._pins[pin] = Ownership.GONE
        else:
            self._pins[pin] = Ownership.SHARED if shared else Ownership.OWN

    def unpinned(self, pin: IoPin) -> None:
        del self._pins[pin]

    def stored(self, pin: IoPin) -> None:
        page = pin.page
        if page.is_ksm:
            raise self.finding(
                "store_to_ksm_page",
                f"a device stores to pfn {page.pfn}, which {pin.mm.name} has pinned and which has become a KSM page",
                about=(page,),
                names=(_place_of_pin(pin),),
            )
        if self._pins[pin] is Ownership.OWN and not self._is_there(pin):
            raise self.finding(
                "lost_write",
                f"a device stores to pfn {page.pfn}, which {pin.mm.name} has pinned, and does not map at "
                f"{pin.address:#x} any more: the store is lost",
                about=(page,),
                names=(_place_of_pin(pin),),
            )
        for mm, address in self._places.of(page):
            self._shadow[mm.number, address] = page.content

    def fetched(self, pin: IoPin) -> None:
        expected = self._shadow.get((pin.mm.number, pin.address), self._zero)
        if self._pins[pin] is Ownership.OWN and pin.page.content is not expected:
            raise self.finding(
                "stale_read",
                f"a device reads {pin.page.content} from pfn {pin.page.pfn}, which {pin.mm.name} has pinned, but the "
                f"process last wrote {expected} at {pin.address:#x}",
                about=(pin.page,),
                names=(_place_of_pin(pin),),
            )

    # -- the end ------------------------------------------------------------------------------------------------------

    @override
    def at_quiescence(self) -> None:
        for mm in self.kernel.address_spaces:
            for address, pte in mm.ptes.items():
                self._check(mm, address, pte.frame)
            for address, slot in mm.swap_ptes.items():
                self._check_slot(mm, address, slot)

    def _check_slot(self, mm: AddressSpace, address: int, slot: SwapSlot) -> None:
        """Check what a read would bring back; nothing if it ends in SIGBUS: the device cannot read the slot, or the
        memory of the cached page has failed."""
        cached = slot.page is not None and slot.uptodate
        if (slot.bad and not cached) or (slot.page is not None and slot.page.hwpoison):
            return
        content = slot.page.content if slot.page is not None and slot.uptodate else slot.content
        expected = self._shadow.get((mm.number, address), self._zero)
        if content is not expected:
            raise self.finding(
                "lost_write",
                f"{mm.name} would read {content} from {slot} at {address:#x}, but last wrote {expected}",
                about=(slot,),
                names=(("place", mm.number, address),),
            )

    def _check(self, mm: AddressSpace, address: int, page: Frame) -> None:
        expected = self._shadow.get((mm.number, address), self._zero)
        if page.content is not expected:
            raise self.finding(
                "lost_write",
                f"{mm.name} reads {page.content} at {address:#x} (pfn {page.pfn}), but last wrote {expected}",
                other=page.writer,
                about=(page,),
                names=(("place", mm.number, address),),
            )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the process would read what it last wrote, wherever its page is by then; for a pinned page, whether
        the device and the process use the same page."""
        place = place_of(finding)
        if place is None:
            return None
        if finding.where in DEVICE_FUNCTIONS:
            return Probe(lambda: any(self._is_lost(pin) for pin in self._pins if _place_of_pin(pin)[1:] == place))
        return Probe(lambda: self._would_misread(*place))

    def _is_lost(self, pin: IoPin) -> bool:
        """Whether a device uses a page that it must not write, or that is not the process's."""
        if pin.page.is_ksm and pin.write:
            return True
        if self._pins[pin] is not Ownership.OWN:
            return False
        expected = self._shadow.get((pin.mm.number, pin.address), self._zero)
        return not self._is_there(pin) or pin.page.content is not expected

    def _would_be_dropped(self, page: Frame, slot: SwapSlot | None) -> bool:
        """Whether the page would be dropped although the swap device lacks its content. The entries of a KSM page are
        clean: it must be dirty itself."""
        if slot is None or page._dirty or slot._writeback or slot.content is page.content:
            return False
        if page.is_ksm:
            return True
        ptes = (pte for mm in self.kernel.address_spaces for pte in mm.ptes.values())
        return not any(pte.frame is page and pte.dirty for pte in ptes)

    def _would_misread(self, number: int, address: int) -> bool:
        mm = address_space(self.kernel, number)
        if mm is None:
            return False
        expected = self._shadow.get((number, address), self._zero)
        pte, slot = mm.ptes.get(address), mm.swap_ptes.get(address)
        if pte is not None:
            return pte.frame.content is not expected or self._would_be_dropped(pte.frame, pte.frame.swap)
        if address in mm.hwpoison_ptes or (slot is not None and slot.page is not None and slot.page.hwpoison):
            return False  # it gets SIGBUS
        if slot is None:
            return expected is not self._zero
        if slot.page is not None and slot._uptodate:  # a read without notification
            return slot.page.content is not expected or self._would_be_dropped(slot.page, slot)
        return not slot.bad and slot.content is not expected
