"""O4: reference counts and map counts equal a recount."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import WRONG_MAPCOUNT
from ksmactors.watch.base import UNLOCK, Watcher
from ksmactors.watch.probe import Probe, map_count, number_of, references, swap_count


class References(Watcher):
    """A frame always has at least a reference for each mapping. Without transient references it has exactly these, one
    for the swap cache and one for a place in a pagevec. A swap slot is counted by the entries that name it. The entries
    of the zero page do not count.

    Promise. The last reference frees a frame. Each page table entry has one, the swap cache has one, each isolation,
    pin or look-up has one, a place in a pagevec is one. The map count is the number of entries: a merge write-protects
    a page only if both counts agree that there is no other user (C5), and a migration goes on only if nothing but its
    own reference is left (C1, C2).

    Why it holds. Counts change in the operation that takes or drops what they count, or under the lock of the page
    table beside it, entry first or count first.

    When not checked. While other actors run, faults, migrations and ksmd hold further references, and a count and its
    entry change one after the other. So the exact check, a recount of all entries, is made at quiescence. At every
    instant there are no fewer references than mappings, places in pagevecs and in the swap cache together (or the
    count is frozen at -1). That is checked when ksm_thread_mutex is released, for the frames whose entries have changed
    since the last time. A frame that is freed while its map count is not 0 is detected at its free, without a watcher
    (`references/freed_while_mapped`). One whose map count is 0 and wrong is detected here: an entry maps it still.

    Finding. `too_few_references`: the next put frees the page while it is in use. `wrong_count`: a leak, or a page that
    can never be merged, moved or freed again: F1, S5e with the reference dropped twice, `merge_with_found` on a path
    that forgets to put. `wrong_swap_count`: a slot that leaks, or is reused too early.
    """

    name: ClassVar[str] = "references"
    summary: ClassVar[str] = "reference and map counts are what they count (O4)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._touched: dict[int, Frame] = {}
        """The frames that have got or lost a mapping since the mutex was last released, by number."""
        self._of_zero_page = self.kernel.zero_page.refcount
        self._entries: Counter[int] = Counter()
        """By frame number, how many entries map it."""
        self.kernel.pte_listeners.append(self._pte_changed)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)
        machine.trace.listen(ev.FREE_PAGE, self._freed)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        for entry, by in ((before, -1), (pte, 1)):
            if entry is not None:
                self._touched[entry.frame.pfn] = entry.frame
                if not entry.migration:
                    self._entries[entry.frame.pfn] += by

    def _freed(self, pfn: int, nid: int) -> None:
        if self._entries[pfn]:
            places = (
                f"{mm.name} at {address:#x}"
                for mm in self.kernel.address_spaces
                for address, pte in mm.ptes.items()
                if pte.frame.pfn == pfn and not pte.migration
            )
            raise self.finding(
                "freed_while_mapped",
                f"pfn {pfn} is freed with a map count of 0, but is mapped by {' and '.join(places)}",
                names=(("pfn", pfn), WRONG_MAPCOUNT),
            )

    def _at_unlock(self) -> None:
        waiting = Counter(frame.pfn for frame in self.kernel.batched_pages())
        for frame in self._touched.values():
            slot = frame.swap
            cached = slot is not None and slot.page is frame
            if 0 <= frame.refcount < frame.mapcount + waiting[frame.pfn] + cached:
                raise self.finding(
                    "too_few_references",
                    f"pfn {frame.pfn}: {frame.refcount} references, {frame.mapcount} mappings, {waiting[frame.pfn]} "
                    f"places in pagevecs{', and it is in the swap cache' if cached else ''}",
                    where=UNLOCK,
                    about=(frame,),
                )
        self._touched.clear()

    @override
    def at_quiescence(self) -> None:
        kernel = self.kernel
        waiting = Counter(frame.pfn for frame in kernel.batched_pages())
        ptes = Counter(pte.frame.pfn for mm in kernel.address_spaces for pte in mm.ptes.values())
        for node in kernel.nodes:
            for frame in node.frames:
                mapped, cached = ptes[frame.pfn], frame.swap is not None
                references = mapped + cached + waiting[frame.pfn] + frame.kept
                if frame is kernel.zero_page:  # its entries do not count
                    mapped, references = 0, self._of_zero_page
                if frame.mapcount != mapped or frame.refcount != references:
                    where = "in the swap cache" if cached else "in no cache"
                    raise self.finding(
                        "wrong_count",
                        f"pfn {frame.pfn} is mapped by {mapped} entries and {where}, but has mapcount {frame.mapcount} "
                        f"and {frame.refcount} references",
                        about=(frame,),
                        names=(WRONG_MAPCOUNT if frame.mapcount != mapped else ("count", "refcount"),),
                    )
        entries = Counter(slot.number for mm in kernel.address_spaces for slot in mm.swap_ptes.values())
        for slot in kernel.swap.used.values():
            if slot.count != entries[slot.number]:
                message = f"{slot} is named by {entries[slot.number]} entries, but its count is {slot.count}"
                raise self.finding("wrong_swap_count", message, about=(slot,))

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Return the references that no actor has dropped and nothing accounts for."""
        kernel, pfn, number = self.kernel, number_of(finding, "pfn"), number_of(finding, "swap")
        if number is not None:
            return swap_count(kernel, number)
        if pfn is None:
            return None
        if WRONG_MAPCOUNT in finding.names:
            return map_count(kernel, pfn)
        return references(kernel, pfn, too_few=finding.kind != "wrong_count")
