"""O17: a guest reaches the page that its process maps, and no other."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.secondary import Spte
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe, address_space, place_of


class SecondaryMappings(Watcher):
    """A secondary mapping never allows more than a present page table entry of the same address.

    Promise. Where a process's entry is present, a secondary mapping of that address names the same frame, and is
    writable only if the entry is. Else a guest goes on writing to a page that ksmd has compared already, that others
    share, or that has been freed.

    Why it holds. What changes a present entry announces it first; KVM drops its mappings of the range then, and makes
    none until the end is announced. A fault of the guest that has looked a page up before, and comes to map it after,
    notices that an invalidation has ended meanwhile, and looks again. Reverse mapping empties an entry first and
    announces it then: the page cannot be moved or freed before that.

    When checked. When an entry becomes present or changes, and when KVM has mapped a page. An empty entry, a swap entry
    or a migration entry is not compared.

    Finding. A guest's store is lost, or reaches another process: a merge that is not announced (X10a, X10c), a fault
    that does not look again (X10b).
    """

    name: ClassVar[str] = "secondary"
    summary: ClassVar[str] = "a guest reaches the page that its process maps, and no other (O17)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.pte_listeners.append(self._pte_changed)
        self.kernel.secondary_observers.append(self)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        kvm = mm.secondary
        if kvm is not None and (spte := kvm.sptes.get(address)) is not None:
            self._check(mm, address, spte, pte)

    def mapped(self, mm: AddressSpace, address: int, spte: Spte) -> None:
        """KVM has mapped a page."""
        self._check(mm, address, spte, mm.ptes.get(address))

    def _check(self, mm: AddressSpace, address: int, spte: Spte, pte: Pte | None) -> None:
        if pte is None or not _exceeds(spte, pte):
            return
        may = "writes" if spte.write else "reads"
        rights = "writable" if pte.write else "read-only"
        raise self.finding(
            "stale_mapping",
            f"a guest {may} pfn {spte.frame.pfn} at {address:#x} of {mm.name}, which maps pfn {pte.frame.pfn} there, "
            f"{rights}",
            about=(spte.frame,),
            names=(("place", mm.number, address),),
        )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the secondary mapping allows more than the entry."""
        place = place_of(finding)
        return Probe(lambda: self._is_wrong(*place)) if place is not None else None

    def _is_wrong(self, number: int, address: int) -> bool:
        mm = address_space(self.kernel, number)
        if mm is None or mm.secondary is None:
            return False
        spte, pte = mm.secondary.sptes.get(address), mm.ptes.get(address)
        return spte is not None and pte is not None and _exceeds(spte, pte)


def _exceeds(spte: Spte, pte: Pte) -> bool:
    """Whether a secondary mapping allows what a present entry does not."""
    return not pte.migration and (spte.frame is not pte.frame or (spte.write and not pte.write))
