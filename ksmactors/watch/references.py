"""O4: reference counts and map counts are what they count."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher


class References(Watcher):
    """A frame has at least a reference for each mapping, always; when nobody holds one of his own, exactly these,
    one for the swap cache and one for a place in a pagevec. A swap slot is counted by the entries that name it.

    While others move, references of faults, migrations and ksmd come on top, and a count and the entry it stands for
    change one after the other. So the exact check, counting all page table entries anew, is for the quiet end.
    """

    name: ClassVar[str] = "references"
    summary: ClassVar[str] = "reference and map counts are what they count (O4)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _at_unlock(self) -> None:
        for node in self.kernel.nodes:
            for frame in node.frames:
                if 0 <= frame.refcount < frame.mapcount:
                    raise self.convicts(
                        "too_few_references", f"pfn {frame.pfn}: {frame.refcount} references, {frame.mapcount} mappings"
                    )

    def at_quiescence(self) -> None:
        kernel = self.kernel
        waiting = Counter(frame.pfn for pagevec in kernel.lru_add_pvecs.values() for frame in pagevec)
        ptes = Counter(pte.frame.pfn for mm in kernel.address_spaces for pte in mm.ptes.values())
        for node in kernel.nodes:
            for frame in node.frames:
                if frame is kernel.zero_page:
                    continue
                mapped, cached = ptes[frame.pfn], frame.swap is not None
                if frame.mapcount != mapped or frame.refcount != mapped + cached + waiting[frame.pfn]:
                    where = "in the swap cache" if cached else "in no cache"
                    raise self.convicts(
                        "wrong_count",
                        f"pfn {frame.pfn} is mapped by {mapped} entries and {where}, but has mapcount {frame.mapcount} "
                        f"and {frame.refcount} references",
                    )
        entries = Counter(slot.number for mm in kernel.address_spaces for slot in mm.swap_ptes.values())
        for slot in kernel.swap.used.values():
            if slot.count != entries[slot.number]:
                message = f"{slot} is named by {entries[slot.number]} entries, but its count is {slot.count}"
                raise self.convicts("wrong_swap_count", message)
