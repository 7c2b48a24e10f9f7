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
    """A node on migrate_nodes that is stale when a scan starts has been freed when the scan's first batch ends.

    Promise. Searches meet the nodes in a tree, and prune those whose page has gone. No search meets a node on
    migrate_nodes: it comes back into a tree when ksmd reaches a mapping of its page. If the last mapping goes first, no
    search and no item leads to it any more. So with merge_across_nodes=0 each scan starts by looking up the page of
    every listed node (SC2b), which frees the node if there is none; else migrate_nodes would only grow.

    When checked. A page may go at any instant, so "every node on the list has a live page" is never true for long. But
    a stale node stays stale. So the watcher notes at the very start of a scan which nodes on the list are stale, and at
    the next release of ksm_thread_mutex, which is after the pruning, each of them must have been freed. With
    merge_across_nodes=1 the list is empty (O12).

    Finding. A leak: S6c. And with it S6e: memory hot-remove takes the frame away, and a later pruning accesses a struct
    page that does not exist.
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
        """Whether a scan has left the node, without a page, on the list: the unstable trees are reset after the
        pruning."""
        number, kernel = number_of(finding, "node"), self.kernel
        stale_at_start = kept = False

        def wrong() -> bool:
            nonlocal stale_at_start, kept
            node = next((one for one in kernel.migrate_nodes if one.number == number), None)
            if node is None or not node.alive:
                stale_at_start = kept = False
            elif kernel.root_unstable_tree[0].reset_in != kernel.ksm_scan.started:
                stale_at_start = not kernel.ksm_merge_across_nodes and is_stale(kernel, node)
            else:
                kept = kept or stale_at_start
            return kept

        return Probe(wrong) if number is not None else None
