"""O13: a scan starts with no stale node on migrate_nodes."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.ksm.structs import StableNode
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, is_stale
from ksmactors.watch.probe import Probe, number_of


class Pruning(Watcher):
    """What was stale on migrate_nodes when a scan started has gone when the scan's first batch ends.

    What is promised. A node in a tree is met by searches, and pruned when its page has gone. One on migrate_nodes is
    met by nobody: it comes back into a tree when ksmd reaches a mapping of its page. If the last mapping goes first,
    no search and no item leads to it any more. So with merge_across_nodes=0 each scan starts by asking every listed
    node for its page (SC2b), which frees it if there is none; else migrate_nodes would only grow.

    When one looks. A page may go at any instant, so "every node on the list has a live page" is never true for long:
    the next exit may be between the look at the first node and that at the last. But a stale node stays stale. So the
    watcher notes at the very start of a scan which nodes on the list are stale already, and when ksm_thread_mutex is
    released next, which is after the pruning, each of them must have been freed. With merge_across_nodes=1 there is
    nothing on the list (that is O12's).

    What a finding means. A leak: S6c. And with it S6e: memory hot-remove takes the frame away, and who prunes
    later touches a struct page that is not there.
    """

    name: ClassVar[str] = "pruning"
    summary: ClassVar[str] = "a scan starts by pruning migrate_nodes (O13)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._doomed: list[StableNode] = []
        machine.trace.listen(ev.KSM_START_SCAN, self._started)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _started(self, seqnr: int, rmap_items: int) -> None:
        kernel = self.kernel
        if not kernel.ksm_merge_across_nodes:
            self._doomed = [node for node in kernel.migrate_nodes if is_stale(kernel, node)]

    def _at_unlock(self) -> None:
        doomed, self._doomed = self._doomed, []
        for node in doomed:
            if node.alive and node.migrating:
                raise self.finding(
                    "stale_node_kept",
                    f"{node} was on migrate_nodes without a page when the scan started, and still is",
                    where="scan_get_next_rmap_item",
                    about=(node,),
                )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether a scan found the node on the list without a page, and left it there: the unstable trees are reset
        after the pruning."""
        number, kernel = number_of(finding, "node"), self.kernel
        stale_at_start = kept = False

        def wrong() -> bool:
            nonlocal stale_at_start, kept
            node = next((one for one in kernel.migrate_nodes if one.number == number), None)
            if node is None or not node.alive:
                stale_at_start = kept = False
            elif kernel.root_unstable_tree[0].reset_in != kernel.ksm_scan.seqnr:
                stale_at_start = not kernel.ksm_merge_across_nodes and is_stale(kernel, node)
            else:
                kept = kept or stale_at_start
            return kept

        return Probe(wrong) if number is not None else None
