"""O10: with merge_across_nodes=0 no page is merged into one of another node."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, frame_at


class Locality(Watcher):
    """With merge_across_nodes=0, the replaced page and the page mapped instead are on the same node.

    Promise. With this setting no process shall find its memory on a remote node because of a merge.

    Why it holds. The search uses the tree of the candidate page's node. An entry of it may be misplaced: its page has
    been migrated away since it was linked. So an equal entry is checked again under its page's lock, which serialises
    with a migration, and if kpfn's node is not the tree's, the entry goes to migrate_nodes instead of being merged with
    (ST6). From then on ksmd's reference keeps the page where it is: a migration backs off (C1, C2). In an unstable tree
    the node of an equal page is compared before it is taken.

    When checked. When a merge has succeeded. ksmd's references pin both frames from before the comparison of nodes to
    after the entry was replaced, and a frame never changes its node, so the two frame numbers suffice. A page that is
    the KSM page already (forked) is trivially local. The zero page of later kernels is right on every node; it is no
    KSM page.

    Finding. The knob does not do what it says; nothing is lost. Cases: S6b (no check of the misplacement), S5e with
    knob 0 (no lock cycle before that check), R3 done wrong (the node of the unstable page not compared at all).

    No probe. A node in the tree of another node is correct for as long as no search meets it: each migration leaves
    one. The step that breaks the promise is the merge, which is the finding.
    """

    name: ClassVar[str] = "locality"
    summary: ClassVar[str] = "no merge across nodes while merge_across_nodes is 0 (O10)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen(ev.KSM_MERGE_WITH_KSM_PAGE, self._merged)

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
