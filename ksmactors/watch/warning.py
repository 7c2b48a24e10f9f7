"""The kernel's own warnings."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Behind, Probe, frame_at, number_of

KNOWN: Final = " (v3.9 warns of that where G9, G9-migration, H4 or H4b has happened)"


class Warnings(Watcher):
    """The kernel issues no WARN_ON or BUG_ON: one means a bug in the kernel or in the emulator.

    There are two in mm/ksm.c. An rmap_item that says it has been in the unstable tree for more than one scan: the
    cursor has skipped it, or full_scans was counted twice. And, in v3.9, a stable node that is to be removed while its
    page is mapped (S4b, S4c, S4e). v3.9 allows this: a process that exits leaves ksmd's list before its page tables go
    (G9), ksmd drops the rmap_item of a page that it visits during the page's migration (G9-migration), and a fault can
    map a KSM page after run=2 has passed (H4, H4b). Later kernels do not warn of it. A warning is reported at the
    instant at which it is printed.
    """

    name: ClassVar[str] = "warning"
    summary: ClassVar[str] = "the kernel's own WARN_ON and BUG_ON"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen(ev.KSM_WARN, self._warned)

    def _warned(self, function: str, message: str) -> None:
        known = KNOWN if function == "remove_stable_node" else ""
        raise self.finding("kernel_warning", message + known, where=function, about=(self.kernel.warned_of,))

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether a page whose node is to be removed is mapped where unmerging has passed already."""
        pfn = number_of(finding, "pfn")
        places: dict[tuple[int, int], Behind] = {}
        return Probe(lambda: self._left(pfn, places)) if pfn is not None else None

    def _left(self, pfn: int, places: dict[tuple[int, int], Behind]) -> int:
        kernel = self.kernel
        page = frame_at(kernel, pfn)
        for mm in kernel.address_spaces:
            for address, pte in mm.ptes.items():
                if pte.frame is page:
                    places.setdefault((mm.number, address), Behind(kernel, mm.number, address))
        return sum(one.is_left(mergeable=False) for one in places.values())
