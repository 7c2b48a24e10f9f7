"""What the calls of a process are about, pages of a region, and what may happen to the process that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from ksmactors.mm.const import PAGE_SIZE
from ksmactors.quantity import quantity


class EmulatedFault(Exception):
    """Something happened to an emulated process that its program may handle; nothing is wrong with the emulator.

    A thread that does not catch it ends its process, as the kernel would.
    """


class SegmentationFault(EmulatedFault):
    """An access to an address at which nothing is mapped (SIGSEGV)."""


class BusError(EmulatedFault):
    """An access to a page that the swap device could not read back, or whose memory has failed (SIGBUS). What was in it
    is lost."""


class OutOfMemory(EmulatedFault):
    """No frame could be had on any node."""


class ProcessExited(EmulatedFault):
    """The process has exited, or is about to: its threads can do nothing more."""


@dataclass(frozen=True, slots=True)
class Region:
    """A mapped range: where it starts (bytes) and its length (pages). Valid in a fork's child, too."""

    start: int
    pages: int

    def address(self, index: int) -> int:
        """The address of page `index`, from 0; ValueError if there is no such page."""
        if not 0 <= index < self.pages:
            raise ValueError(f"a region of {quantity(self.pages, 'page')} has no page {index}")
        return self.start + index * PAGE_SIZE

    def span(self, first: int, end: int | None) -> tuple[int, int]:
        """Start and length in bytes of the pages `first` to `end` - 1 (default: to the last)."""
        end = self.pages if end is None else end
        if not 0 <= first < end <= self.pages:
            raise ValueError(f"a region of {quantity(self.pages, 'page')} has no pages {first} to {end - 1}")
        return self.start + first * PAGE_SIZE, (end - first) * PAGE_SIZE
