"""Where pages are mapped, entries that somebody is just about to restore included."""

from __future__ import annotations

from collections.abc import Iterator

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.watch.base import mappers_of


class Places:
    """For a watcher that must know who finds what a device stores.

    An entry may be empty for a moment: ksmd takes it out, counts references, and puts it back. A store meanwhile is
    seen by whoever has that entry again. The watcher says when a process has really given an entry up (`forget`).

    And a page may have left the swap cache while its entry still names the slot: a write fault that keeps the page
    takes it out of the cache first, and maps it then, under the page lock and the page table lock.
    """

    def __init__(self, kernel: Ksm) -> None:
        self._kernel = kernel
        self._away: dict[tuple[int, int], tuple[AddressSpace, Frame]] = {}
        """By number of the mm and address, what an empty entry mapped."""
        self._slots: dict[Frame, SwapSlot] = {}
        """The slot of each page that an entry has been exchanged for, the latest, until something maps the frame again:
        it may be another page's by then."""
        kernel.pte_listeners.append(self._pte_changed)

    def forget(self, mm: AddressSpace, address: int) -> None:
        """A process has given up what it had at an address, or has it elsewhere now."""
        self._away.pop((mm.number, address), None)

    def of(self, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
        """Who finds what is in a page, and where."""
        yield from mappers_of(self._kernel, page)
        yield from ((mm, address) for (_, address), (mm, was) in self._away.items() if was is page)
        if page.swap is None and page.owner is not None and not page.mapcount:
            yield from self._about_to_be_mapped(page)

    def _about_to_be_mapped(self, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
        """Where a fault that has taken a locked page out of the swap cache is about to map it."""
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
