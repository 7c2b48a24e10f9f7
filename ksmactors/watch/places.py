"""Where pages are mapped, including entries that are about to be restored."""

from __future__ import annotations

from collections.abc import Iterator

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.watch.base import mappers_of


class Places:
    """Mappings of pages, for a watcher that needs the processes that see a device's store.

    An entry may be empty for a moment: ksmd takes it out, counts references, and puts it back. A store meanwhile is
    seen by the process that has the entry again. The watcher calls `forget` when a process has given an entry up.

    A page may have left the swap cache while its entry still names the slot: a write fault that keeps the page takes it
    out of the cache first, and maps it then, under the page lock and the page table lock.
    """

    def __init__(self, kernel: Ksm) -> None:
        self._kernel = kernel
        self._away: dict[tuple[int, int], tuple[AddressSpace, Frame]] = {}
        """The former mapping of each empty entry, by number of the mm and address."""
        self._slots: dict[Frame, SwapSlot] = {}
        """The latest slot of each page that a swap entry has replaced, until the frame is mapped again: the slot may
        belong to another page by then."""
        kernel.pte_listeners.append(self._pte_changed)

    def forget(self, mm: AddressSpace, address: int) -> None:
        """Note that a process has given up the page at an address, or has moved it."""
        self._away.pop((mm.number, address), None)

    def of(self, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
        """Yield the address spaces and addresses at which a page is found."""
        yield from mappers_of(self._kernel, page)
        yield from ((mm, address) for (_, address), (mm, was) in self._away.items() if was is page)
        if page.swap is None and page.owner is not None and not page.mapcount:
            yield from self._about_to_be_mapped(page)

    def _about_to_be_mapped(self, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
        """Yield the places where a fault that has taken a locked page out of the swap cache is about to map it."""
        slot = self._slots.get(page)
        for mm in self._kernel.address_spaces if slot is not None else ():
            if mm.page_table_lock.owner is page.owner:
                yield from ((mm, address) for address, other in mm.swap_ptes.items() if other is slot)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        if pte is None and before is not None and address not in mm.swap_ptes:
            self._away[mm.number, address] = mm, before.frame
            return
        if pte is None and before is not None:
            self._slots[before.frame] = mm.swap_ptes[address]
        if pte is not None:
            self._slots.pop(pte.frame, None)
        if self._away:
            self.forget(mm, address)
