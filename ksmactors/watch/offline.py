"""O16: no stable node names an offline frame."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.ksm.structs import KSM_RUN_OFFLINE
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, placed_nodes
from ksmactors.watch.probe import Probe, number_of


class OfflineFrames(Watcher):
    """From MEM_OFFLINE until the memory is back, no stable node names a frame of it, and none is used.

    Promise. There is no struct page behind the frame numbers of removed memory. A stable node has nothing but the
    number.

    Why it holds. All pages are migrated away first, so a node that names a frame of the range at MEM_OFFLINE has lost
    its page; the notifier removes it (ksm_check_stable_tree), without reading the page, from every tree in use and from
    migrate_nodes. The trees are safe meanwhile: an actor that takes ksm_thread_mutex for them waits for the OFFLINE
    bit, which was set before the first page was moved (R5').

    When checked. At the end of a successful offlining; and whenever the mutex is released while memory is away, but not
    while the OFFLINE bit is set and the notifier still works. An access to an absent frame through its number is
    detected by the operation (`lifetime/use_after_free_frame`). A kept pointer to a frame is detected when the memory
    comes back: its frames must still be free.

    Finding. The next search, or the next scan start, uses a struct page that does not exist: an oops, on a real machine
    some time later. Cases: S2a (the check goes on from a freed entry, and misses the rest), S2b (no check), S6e
    (migrate_nodes forgotten), R5' (the tree changed while it was checked).
    """

    name: ClassVar[str] = "offline"
    summary: ClassVar[str] = "no stable node names a frame that is offline (O16)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)
        machine.trace.listen(ev.OFFLINE_PAGES, self._offlined)
        machine.trace.listen(ev.ONLINE_PAGES, self._onlined)

    def _at_unlock(self) -> None:
        if not self.kernel.ksm_run & KSM_RUN_OFFLINE and any(node.absent for node in self.kernel.nodes):
            self._check()

    def _offlined(self, pfn: int, pages: int, nid: int, err: int) -> None:
        if not err:
            self._check()

    def _check(self) -> None:
        absent = self.kernel.absent_ranges()
        for node in placed_nodes(self.kernel):
            if any(node.kpfn in pfns for pfns in absent):
                raise self.finding(
                    "node_of_absent_frame",
                    f"{node} names a frame that is offline",
                    where="ksm_check_stable_tree",
                    about=(node,),
                )

    def _onlined(self, pfn: int, pages: int, err: int) -> None:
        if err:
            return
        node = self.kernel.nodes[pfn // self.kernel.frames_per_node]
        for frame in node.in_use(range(pfn, pfn + pages)):
            raise self.finding(
                "used_while_absent",
                f"pfn {frame.pfn} has {frame.refcount} references when its memory comes back",
                where="online_pages",
                about=(frame,),
            )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the node names an absent frame when the notifier has ended; or whether the frame is in use although
        it is absent."""
        number, pfn = number_of(finding, "node"), number_of(finding, "pfn")
        if finding.kind == "node_of_absent_frame" and number is not None:
            return Probe(lambda: self._names_absent(number))
        if finding.kind == "used_while_absent" and pfn is not None:
            return Probe(lambda: self._is_in_use(pfn))
        return None

    def _names_absent(self, number: int) -> bool:
        kernel = self.kernel
        if kernel.ksm_run & KSM_RUN_OFFLINE:
            return False
        node = next((one for one in placed_nodes(kernel) if one.number == number), None)
        return node is not None and any(node.kpfn in pfns for pfns in kernel.absent_ranges())

    def _is_in_use(self, pfn: int) -> bool:
        node = self.kernel.nodes[pfn // self.kernel.frames_per_node]
        return node.is_absent(pfn) and any(frame.pfn == pfn and frame.refcount for frame in node.frames)
