"""O8: KSM pages are never writable."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.later.anon_exclusive import AnonExclusive
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.watch.base import Watcher, frame_at
from ksmactors.watch.probe import Probe, address_space, number_of, place_of


class Writable(Watcher):
    """No page table entry that maps a KSM page is writable, ever.

    Promise. A KSM page is read by unrelated processes, and its content is its place in the stable tree. So it never
    changes while it is one (SN9).

    Why it holds. write_protect_page takes the entry out and invalidates the TLB before it counts references, so that no
    access is possible in between; only then the page is compared, and becomes a KSM page or is replaced by one. Entries
    are installed with the protection of a private mapping, which has no write bit. do_wp_page never makes an entry of a
    KSM page writable, it copies, and reuse_swap_page refuses KSM pages. fork, swap and migration carry a read-only
    entry over as a read-only one.

    Since v5.19 a write fault makes the entry of a page with the exclusive mark writable without a look at its users. So
    a marked page is mapped once, and is no KSM page. Of equal swap or migration entries none has the mark.

    When checked. At each change of an entry, with an index of the writable ones; and when a page becomes a KSM page,
    since that changes no entry. A migration entry keeps a write bit, too, but maps nothing.

    Finding. A process's memory is about to change because another process writes: F3's relatives, N1 (the merge goes on
    although write protection failed), N6 as an injection (a write fault reuses a KSM page that is mapped once, without
    the freeze that made that safe). `exclusive`: the mark is on something shared, and the next write changes what other
    processes see.
    """

    name: ClassVar[str] = "writable"
    summary: ClassVar[str] = "no writable page table entry maps a KSM page (O8)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._writers: dict[int, dict[tuple[int, int], AddressSpace]] = {}
        """The writable entries, by frame number, and by (number of the mm, address)."""
        self.kernel.pte_listeners.append(self._pte_changed)
        machine.trace.listen(ev.KSM_MERGE_ONE_PAGE, self._upgraded)
        self._marks: AnonExclusive | None = None
        if isinstance(self.kernel, AnonExclusive):
            self._marks = self.kernel
            self.kernel.pte_listeners.append(self._mapped)

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
        if self._marks is not None and self._marks.has_exclusive_mark(page):
            raise self._exclusive(f"the KSM page pfn {pfn}", page=page)

    def _mapped(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        """Look for the exclusive mark on what an entry comes to share with others."""
        assert self._marks is not None, "only kernels with marks call it"
        if pte is None or pte.migration:
            marked = self._marked_sibling(mm, address) if self._marks.exclusive_places else None
            if marked is not None:
                what = (
                    f"the entry of {marked[0].name} at {marked[1]:#x}, which that of {mm.name} at {address:#x} equals,"
                )
                raise self._exclusive(what, place=(mm, address))
        elif pte.frame.mapcount > 1 and self._marks.has_exclusive_mark(pte.frame):
            raise self._exclusive(f"pfn {pte.frame.pfn}, which {pte.frame.mapcount} entries map,", page=pte.frame)

    def _marked_sibling(self, mm: AddressSpace, address: int) -> tuple[AddressSpace, int] | None:
        """Return the place of a marked swap or migration entry that equals the one at an address, or None."""
        entry = _absent_entry(mm, address)
        if entry is None or self._marks is None:
            return None
        for number, at in sorted(self._marks.exclusive_places):
            other = address_space(self.kernel, number)
            if other is not None and (other, at) != (mm, address) and _absent_entry(other, at) is entry:
                return other, at
        return None

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the entry is writable and maps a KSM page; or the exclusive mark is on something shared."""
        place, pfn = place_of(finding), number_of(finding, "pfn")
        if finding.kind == "exclusive":
            if pfn is not None:
                return Probe(lambda: self._is_shared_and_marked(pfn))
            return Probe(lambda: self._has_marked_sibling(*place)) if place is not None else None
        return Probe(lambda: self._is_wrong(*place)) if place is not None else None

    def _is_wrong(self, number: int, address: int) -> bool:
        mm = address_space(self.kernel, number)
        pte = mm.ptes.get(address) if mm is not None else None
        return pte is not None and pte.write and not pte.migration and pte.frame.is_ksm

    def _is_shared_and_marked(self, pfn: int) -> bool:
        page = frame_at(self.kernel, pfn)
        if page is None or self._marks is None or not self._marks.has_exclusive_mark(page):
            return False
        return page.mapcount > 1 or page.is_ksm

    def _has_marked_sibling(self, number: int, address: int) -> bool:
        mm = address_space(self.kernel, number)
        return mm is not None and self._marked_sibling(mm, address) is not None

    def _exclusive(
        self, what: str, *, page: Frame | None = None, place: tuple[AddressSpace, int] | None = None
    ) -> Finding:
        return self.finding(
            "exclusive",
            f"{what} is marked as exclusive to one process: its next write fault does not copy the page",
            about=() if page is None else (page,),
            names=() if place is None else (("place", place[0].number, place[1]),),
        )

    def _writable(self, mm: AddressSpace, address: int, page: Frame) -> Exception:
        return self.finding(
            "writable_ksm_page",
            f"{mm.name} maps the KSM page pfn {page.pfn} writable at {address:#x}",
            about=(page,),
            names=(("place", mm.number, address),),
        )


def _absent_entry(mm: AddressSpace, address: int) -> SwapSlot | Frame | None:
    """Return what a swap or migration entry names, or None for any other."""
    slot = mm.swap_ptes.get(address)
    if slot is not None:
        return slot
    pte = mm.ptes.get(address)
    return pte.frame if pte is not None and pte.migration else None
