"""Wasted work: harmless, but contrary to what two commits guarantee (S2c, R3)."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.events import catalogue as ev
from ksmactors.ksm.structs import StableNode
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, frame_at


class WastedWork(Watcher):
    """No tree is walked again because of another one, and no search ends at a page that is not equal.

    Both promises are about cost and hold at each instant, so that no statistics are needed to check them.

    *S2c.* When memory has gone offline, ksm_check_stable_tree walks the trees, and restarts a tree from its first entry
    when it has removed one: quadratic within a tree, which is tolerated. Before "reorganize ksm_check_stable_tree" each
    removal restarted from tree 0. So within one check the index of the walked tree never decreases. The check runs
    alone, under the OFFLINE bit, so there is nothing to exclude; the next check starts from tree 0 again.

    *R3.* With merge_across_nodes=0 a search of the unstable tree that finds an equal page on another node ends without
    an insertion: the page was migrated since it was linked. Before that commit any page on another node ended it, equal
    or not, and each page whose search passed that entry missed its merge for the rest of the scan. So the candidate
    page and the page that ended the search are equal at that moment. A page in the unstable tree may be written at any
    time, so this is checked only if nothing has been written, mapped, unmapped or migrated since the checksum of the
    candidate was computed (`memory_epoch` stands still), which is just before the search.

    Not checked here: that a mere migration does not reduce sharing (S6i). While a node is moved from tree to tree its
    items come and go, on the right kernel too, and those that have not come back at quiescence are mappings that
    reverse mapping does not find: the watcher `rmap` reports them. And that pages wait for no long lock (S3c, S5h, G8)
    is a matter of time, which is virtual here.

    No probe. Both promises are about a step: a visit of a tree, the end of a search. The finding is the step that
    breaks it, and the state is as good after it as before.
    """

    name: ClassVar[str] = "wasted_work"
    summary: ClassVar[str] = (
        "no tree is walked again because of another one, no search ends at an unequal page (S2c, R3)"
    )

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._tree = 0
        self._summed_at = -1
        self._in_hand: tuple[str, int, int] | None = None  # mm, address and pfn of the page that ksmd compares
        self.kernel.node_listeners["checked"].append(self._checked)
        machine.trace.listen(ev.OFFLINE_PAGES, self._offlined)
        machine.trace.listen(ev.CALC_CHECKSUM, self._summed)
        machine.trace.listen(ev.RACE_UNSTABLE_MOVED, self._given_up)

    def _checked(self, node: StableNode) -> None:
        if node.nid < self._tree:
            raise self.finding(
                "tree_revisited",
                f"tree {node.nid} is walked again because of a removal from tree {self._tree}",
                where="ksm_check_stable_tree",
            )
        self._tree = node.nid

    def _offlined(self, pfn: int, pages: int, nid: int, err: int) -> None:
        self._tree = 0

    def _summed(self, mm: str, address: int, pfn: int, changed: bool) -> None:
        self._summed_at = self.kernel.memory_epoch
        self._in_hand = mm, address, pfn

    def _given_up(self, winner: str, loser: str, tree: str | None, tree_nid: int, nid: int, pfn: int) -> None:
        if self._in_hand is None or self._summed_at != self.kernel.memory_epoch:
            return
        mm, address, in_hand = self._in_hand
        page, moved = frame_at(self.kernel, in_hand), frame_at(self.kernel, pfn)
        if page is not None and moved is not None and page.content is not moved.content:
            raise self.finding(
                "search_given_up",
                f"the search for the page of {mm} at {address:#x} ended at pfn {pfn} on node {nid}, "
                "which is not equal to it",
                where="unstable_tree_search_insert",
                about=(moved, page),
            )
