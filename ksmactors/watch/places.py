"""Where pages are mapped, entries that somebody is just about to restore included."""

from __future__ import annotations

from collections.abc import Iterator

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import mappers_of


class Places:
    """For a witness that must know who finds what a device stores.

    An entry may be empty for a moment: ksmd takes it out, counts references, and puts it back. A store meanwhile is
    seen by whoever has that entry again. The witness says when a process has really given an entry up (`forget`).
    """

    def __init__(self, kernel: Ksm) -> None:
        self._kernel = kernel
        self._away: dict[tuple[int, int], tuple[AddressSpace, Frame]] = {}
        """By number of the mm and address, what an empty entry mapped."""
        kernel.pte_listeners.append(self._pte_changed)

    def forget(self, mm: AddressSpace, address: int) -> None:
        """A process has given up what it had at an address, or has it elsewhere now."""
        self._away.pop((mm.number, address), None)

    def of(self, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
        """Who finds what is in a page, and where."""
        yield from mappers_of(self._kernel, page)
        yield from ((mm, address) for (_, address), (mm, was) in self._away.items() if was is page)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        if pte is None and before is not None and address not in mm.swap_ptes:
            self._away[mm.number, address] = mm, before.frame
        elif self._away:
            self.forget(mm, address)
