"""O8: KSM pages are never writable."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher, frame_at
from ksmactors.watch.probe import Probe, address_space, place_of


class Writable(Watcher):
    """No page table entry that maps a KSM page is writable, ever.

    Promise. A KSM page is read by unrelated processes, and its content is its place in the stable tree. So it never
    changes while it is one (SN9).

    Why it holds. write_protect_page takes the entry out and invalidates the TLB before it counts references, so that no
    access is possible in between; only then the page is compared, and becomes a KSM page or is replaced by one. Entries
    are installed with the protection of a private mapping, which has no write bit. do_wp_page never makes an entry of a
    KSM page writable, it copies, and reuse_swap_page refuses KSM pages. fork, swap and migration carry a read-only
    entry over as a read-only one.

    When checked. At each change of an entry, with an index of the writable ones; and when a page becomes a KSM page,
    since that changes no entry. A migration entry keeps a write bit, too, but maps nothing.

    Finding. A process's memory is about to change because another process writes: F3's relatives, N1 (the merge goes on
    although write protection failed), N6 as an injection (a write fault reuses a KSM page that is mapped once, without
    the freeze that made that safe).
    """

    name: ClassVar[str] = "writable"
    summary: ClassVar[str] = "no writable page table entry maps a KSM page (O8)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._writers: dict[int, dict[tuple[int, int], AddressSpace]] = {}
        """The writable entries, by frame number, and by (number of the mm, address)."""
        self.kernel.pte_listeners.append(self._pte_changed)
        machine.trace.listen(ev.KSM_MERGE_ONE_PAGE, self._upgraded)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        place = (mm.number, address)
        if before is not None and before.write:
            writers = self._writers.get(before.frame.pfn, {})
            writers.pop(place, None)
            if not writers:
                self._writers.pop(before.frame.pfn, None)
        if pte is not None and pte.write and not pte.migration:
            if pte.frame.is_ksm:
                raise self._writable(mm, address, pte.frame)
            self._writers.setdefault(pte.frame.pfn, {})[place] = mm

    def _upgraded(self, pfn: int, item: int, mm: str, err: int) -> None:
        page = frame_at(self.kernel, pfn)
        if err or page is None or not page.is_ksm:
            return
        for (_, address), writer in self._writers.get(pfn, {}).items():
            raise self._writable(writer, address, page)

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the entry is writable and maps a KSM page."""
        place = place_of(finding)
        return Probe(lambda: self._is_wrong(*place)) if place is not None else None

    def _is_wrong(self, number: int, address: int) -> bool:
        mm = address_space(self.kernel, number)
        pte = mm.ptes.get(address) if mm is not None else None
        return pte is not None and pte.write and not pte.migration and pte.frame.is_ksm

    def _writable(self, mm: AddressSpace, address: int, page: Frame) -> Exception:
        return self.finding(
            "writable_ksm_page",
            f"{mm.name} maps the KSM page pfn {page.pfn} writable at {address:#x}",
            about=(page,),
            names=(("place", mm.number, address),),
        )
