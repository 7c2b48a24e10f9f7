"""O18: memory that has failed is not used any more."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import kernel_function
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe, frame_at, number_of

CARRIED: Final = frozenset({
    "copy_one_pte", "move_vma", "write_protect_page", "write_protect_entry", "try_to_unmap_one",
})  # fmt: skip
"""Functions that give an entry to a child or to another address, or put back what they have just taken away."""


class FailedMemory(Watcher):
    """When memory_failure has returned, no process comes to map the frame; after a success none maps it.

    Promise. A frame whose memory has failed is never given out again, and no page is replaced by it: the content of the
    other page was good. Where memory_failure gives up (a KSM page, up to v6.3), processes may keep the entries that
    they have, and their children get them.

    Why it holds. The allocator passes flagged frames over. Entries that mapped the frame name it, and a fault on them
    ends in SIGBUS; so does one that finds the page in the swap cache. A page that is off the LRU is neither moved nor
    reclaimed. A stable node must not lead ksmd to the page.

    When not checked. While memory_failure runs: a look-up that was faster may still hold and map the page.

    Finding. `mapped`: ksmd merges a page into one whose memory has failed (X11a, X11b). `still_mapped`: success is
    reported, and the frame is in use.
    """

    name: ClassVar[str] = "memory_failure"
    summary: ClassVar[str] = "memory that has failed is not used any more (O18)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._failed: set[int] = set()
        """The frames for which memory_failure has returned, by number."""
        self.kernel.pte_listeners.append(self._pte_changed)
        self.kernel.memory_failure_observers.append(self)

    def handled(self, page: Frame, result: int) -> None:
        """memory_failure is about to return."""
        self._failed.add(page.pfn)
        if result == 0 and page.mapcount:
            raise self.finding(
                "still_mapped",
                f"the failure of pfn {page.pfn} is handled, but {page.mapcount} entries map it",
                about=(page,),
            )

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        if not self._failed or pte is None or pte.migration or pte.frame.pfn not in self._failed:
            return
        page = pte.frame
        kept = before is not None and (before.frame is page or before.migration)
        if kept or kernel_function() in CARRIED:
            return
        instead = f", in the place of pfn {before.frame.pfn}" if before is not None else ""
        raise self.finding(
            "mapped",
            f"the memory of pfn {page.pfn} has failed, and {mm.name} comes to map it at {address:#x}{instead}",
            about=(page,),
        )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the frame is mapped, though its memory has failed."""
        pfn = number_of(finding, "pfn")
        if pfn is None:
            return None

        def wrong() -> int:
            page = frame_at(self.kernel, pfn)
            return page.mapcount if page is not None and page.hwpoison else 0

        return Probe(wrong)
