"""O12: merge_across_nodes changes only while there is no stable node."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.later.chain_nodes import ChainNodes
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, placed_nodes
from ksmactors.watch.probe import Probe, number_of


class Knob(Watcher):
    """When merge_across_nodes has changed, there is no stable node, in no tree and not on migrate_nodes.

    Promise. The knob determines which tree a page's node belongs in. A node that was linked under the old rule would be
    looked for in another tree under the new one. So the store succeeds only when there is none; else it is -EBUSY. The
    same holds for max_page_sharing of later kernels, by which chains are made.

    Why it holds. `pages_shared` 0 is not enough: a node whose last item has gone stays until a search meets it, and its
    page may still be in swap, or be mapped by a child that ksmd has not visited. So the store removes all nodes itself
    (remove_all_stable_nodes), from the trees and from migrate_nodes, and gives up if the page of one is mapped. All of
    it happens under ksm_thread_mutex.

    When checked. At the first release of the mutex after the value has changed. All trees are checked: those that the
    new value uses and those that only the old one did.

    Finding. The node is in the wrong tree, or in one that no loop visits any more: it is never pruned, memory
    hot-remove does not see it, and the next switch reaches it when its page, or its frame, is gone. Cases: S4a (and in
    the other direction S4a'), S6d (migrate_nodes forgotten).
    """

    name: ClassVar[str] = "knob"
    summary: ClassVar[str] = "merge_across_nodes changes only while there is no stable node (O12)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._seen = self._values()
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _values(self) -> dict[str, int]:
        kernel = self.kernel
        values = {"merge_across_nodes": kernel.ksm_merge_across_nodes}
        if isinstance(kernel, ChainNodes):
            values["max_page_sharing"] = kernel.ksm_max_page_sharing
        return values

    def _at_unlock(self) -> None:
        values = self._values()
        if values == self._seen:
            return
        changed = [f"{name} is {value} now" for name, value in values.items() if value != self._seen[name]]
        self._seen = values
        kernel = self.kernel
        for root in kernel.root_stable_tree:
            for entry in root:
                raise self.finding("node_in_tree", f"{changed[0]}, and {entry} is still in {root.name}", about=(entry,))
        for node in kernel.migrate_nodes:
            raise self.finding(
                "node_on_migrate_nodes", f"{changed[0]}, and {node} is still on migrate_nodes", about=(node,)
            )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the node was placed under other values of the knobs than the current ones."""
        number, kernel = number_of(finding, "node"), self.kernel
        placed_under: list[dict[str, int]] = []

        def wrong() -> bool:
            roots = (entry for root in kernel.root_stable_tree for entry in root)
            if all(node.number != number for node in (*roots, *placed_nodes(kernel))):
                placed_under.clear()
                return False
            if not placed_under:
                placed_under.append(self._values())
            return placed_under[0] != self._values()

        return Probe(wrong) if number is not None else None
