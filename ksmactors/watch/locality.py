"""O10: with merge_across_nodes=0 no page is merged into one of another node."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, frame_at


class Locality(Watcher):
    """With merge_across_nodes=0, the replaced page and the page mapped instead are on the same node, and what is linked
    in a tree is a page of the tree's node.

    Promise. With this setting no process shall find its memory on a remote node because of a merge.

    Why it holds. The search uses the tree of the candidate page's node. An entry of it may be misplaced: its page has
    been migrated away since it was linked. So an equal entry is checked again under its page's lock, which serialises
    with a migration, and if kpfn's node is not the tree's, the entry goes to migrate_nodes instead of being merged with
    (ST6). From then on ksmd's reference keeps the page where it is: a migration backs off (C1, C2). In an unstable tree
    the node of an equal page is compared before it is taken.

    When checked. When a merge has succeeded. ksmd's references pin both frames from before the comparison of nodes to
    after the entry was replaced, and a frame never changes its node, so the two frame numbers suffice. A page that is
    the KSM page already (forked) is trivially local. The zero page of later kernels is right on every node; it is no
    KSM page. Also when a new node or an item has been linked in a tree: the new node's page is locked, and the item's
    page may have moved, but the frame that the tree was chosen by has not. A node that comes back from migrate_nodes is
    not checked: its page may be on its way to another node again.

    Finding. `linked_on_wrong_node`: no search from the page's own node will find the entry, and one from the tree's
    node ends there. `merged_across_nodes`: the knob does not do what it says; nothing is lost. Cases: S6b (no check of
    the misplacement), S5e with knob 0 (no lock cycle before that check), R3 done wrong (the node of the unstable page
    not compared at all).

    No probe. A node in the tree of another node is correct for as long as no search meets it: each migration leaves
    one. The step that breaks the promise is the merge, which is the finding.
    """

    name: ClassVar[str] = "locality"
    summary: ClassVar[str] = "no merge across nodes while merge_across_nodes is 0 (O10)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen(ev.KSM_MERGE_WITH_KSM_PAGE, self._merged)
        machine.trace.listen(ev.STABLE_TREE_INSERT, self._inserted)
        machine.trace.listen(ev.UNSTABLE_TREE_INSERT, self._inserted_unstable)

    def _inserted(self, node: int, kpfn: int, tree_nid: int) -> None:
        self._check_tree(f"stable node {node}", kpfn, tree_nid, "stable_tree_insert")

    def _inserted_unstable(self, mm: str, address: int, pfn: int, item: int, tree_nid: int) -> None:
        self._check_tree(f"rmap_item {item} of {mm} at {address:#x}", pfn, tree_nid, "unstable_tree_search_insert")

    def _check_tree(self, entry: str, pfn: int, tree_nid: int, where: str) -> None:
        kernel = self.kernel
        nid = pfn // kernel.frames_per_node
        if tree_nid != (0 if kernel.ksm_merge_across_nodes else nid):
            raise self.finding(
                "linked_on_wrong_node",
                f"{entry} is linked in tree {tree_nid}, and its page is pfn {pfn} on node {nid}",
                where=where,
                about=tuple(filter(None, (frame_at(kernel, pfn),))),
            )

    def _merged(self, kpfn: int, pfn: int, item: int, mm: str, err: int) -> None:
        kernel = self.kernel
        nid, other = pfn // kernel.frames_per_node, kpfn // kernel.frames_per_node
        if err or kernel.ksm_merge_across_nodes or nid == other:
            return
        raise self.finding(
            "merged_across_nodes",
            f"{mm} had pfn {pfn} on node {nid}, and now maps the KSM page pfn {kpfn} on node {other}",
            where="replace_page",
            about=tuple(page for page in (frame_at(kernel, kpfn), frame_at(kernel, pfn)) if page is not None),
        )
