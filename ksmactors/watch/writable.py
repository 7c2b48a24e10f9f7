"""O8: nobody can write to a KSM page."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher


class Writable(Watcher):
    """No page table entry that maps a KSM page is writable, ever; and none is written through.

    Entries are looked at when ksm_thread_mutex is released; each store of a thread at the store.
    """

    name: ClassVar[str] = "writable"
    summary: ClassVar[str] = "no writable page table entry maps a KSM page (O8)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.observers.append(self)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def wrote(self, mm: AddressSpace, address: int, page: Frame) -> None:
        if page.is_ksm:
            raise self.convicts("ksm_page_written", f"{mm.name} writes to the KSM page pfn {page.pfn} at {address:#x}")

    def _at_unlock(self) -> None:
        for mm in self.kernel.address_spaces:
            for address, pte in mm.ptes.items():
                if pte.write and not pte.migration and pte.frame.is_ksm:
                    raise self.convicts(
                        "writable_ksm_page", f"{mm.name} maps the KSM page pfn {pte.frame.pfn} writable at {address:#x}"
                    )

    def read(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A read is nobody's business here."""

    def zapped(self, mm: AddressSpace, address: int) -> None:
        """Nor is an unmapping."""

    def copied(self, mm: AddressSpace, oldmm: AddressSpace, address: int) -> None:
        """Nor a fork: its entries are seen at the next release of the mutex."""

    def moved(self, mm: AddressSpace, old: int, new: int) -> None:
        """Nor an mremap."""
