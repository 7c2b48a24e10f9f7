"""O14: in the end equal pages are merged, and stay merged."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Final

from ksmactors.events import catalogue as ev
from ksmactors.ksm.structs import StableNode
from ksmactors.later.chain_nodes import ChainNodes, DupNode
from ksmactors.later.smart_scan import SmartScan
from ksmactors.machine import Machine
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher

CHANGES: Final = (
    ev.STABLE_TREE_INSERT, ev.STABLE_TREE_APPEND, ev.STABLE_NODE_CHAIN_ADD_DUP, ev.FREE_STABLE_NODE_CHAIN,
    ev.KSM_REMOVE_KSM_PAGE, ev.KSM_REMOVE_RMAP_ITEM, ev.NODE_MISPLACED, ev.NODE_RESLOTTED, ev.BREAK_COW,
    ev.KSM_ENTER, ev.KSM_EXIT,
)  # fmt: skip
"""What happens in a scan after which the next one may find something else than this one did."""


class Eventual(Watcher):
    """When everything has been quiet, equal pages that ksmd may merge are merged; and what it merges stays merged.

    What is promised. Nothing of the protocol promises a merge at a given time: a lost trylock, a stale node, a changed
    checksum, each costs a scan. But when nobody else moves, ksmd must come to an end of its work: no two present pages
    of equal content in mergeable vmas, on the same node if merge_across_nodes is 0, in different frames.

    When one looks. When the schedule is over and some full scans have passed with nobody in ksmd's way. Those may be
    too few for a long story, so only a scan in which nothing changed is evidence: no merge, no new checksum, nothing
    linked, exiled, pruned, broken or skipped. A scan is a function of the state it meets, so the next would do the
    same, for ever. If the last scan did change something, the verdict is left open, but for one thing: a mapping that
    was merged and broken again in each of the last two scans will be so in every scan (the livelock of S6m).

    What is excepted. A page that somebody else holds a reference on (a pin, an isolation): it cannot be
    write-protected, and a page beside it is merged half way and broken, in each scan, by right. With chains: equal
    KSM pages that are dups of one chain, as max_page_sharing and a migration make them; and a single ordinary page
    beside KSM pages that have no room.

    What it means when it convicts. Memory is not saved that could be, for ever. `ksm_pages_unmerged`: a KSM page that
    was migrated has met an equal one; on v3.9 that is H0 (write_protect_page refuses every KSM page), on later
    kernels too if it is mapped once. `half_ksm_page`: a KSM page without a node is never merged, H7 on v3.9 and
    later. `pages_unmerged`: an ordinary page; K1 and K3 do not explain it, since a scan that meets a stale node
    changes something. `merged_for_ever`: S6m; and on v3.9 and later what H7 and H0 leave behind: a KSM page that
    finds its way into the unstable tree, and that every equal page is merged with half way. On `series` all must
    merge.
    """

    name: ClassVar[str] = "eventual"
    summary: ClassVar[str] = "in the end equal pages are merged, and stay so (O14)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._before = 0
        self._idle = False
        self._checksums = 0
        self._broken: dict[int, tuple[str, int]] = {}
        """By number of the rmap_item, the mm and the address of what was broken in this scan."""
        self._broken_before: dict[int, tuple[str, int]] = {}
        self._again: list[tuple[str, int]] = []
        trace = machine.trace
        trace.listen(ev.CALC_CHECKSUM, self._summed)
        trace.listen(ev.BREAK_COW, self._broke)
        trace.listen(ev.KSM_STOP_SCAN, self._scanned)

    def _summed(self, mm: str, address: int, pfn: int, changed: bool) -> None:
        self._checksums += changed

    def _broke(self, item: int, mm: str, address: int) -> None:
        self._broken[item] = (mm, address)

    def _scanned(self, seqnr: int, rmap_items: int) -> None:
        counts, kernel = self.machine.trace.counts, self.kernel
        changes = self._checksums + sum(counts[code] for code in CHANGES)
        if isinstance(kernel, SmartScan):
            changes += kernel.ksm_pages_skipped
        self._idle, self._before = changes == self._before, changes
        self._again = [place for item, place in self._broken.items() if item in self._broken_before]
        self._broken_before, self._broken = self._broken, {}

    def at_quiescence(self) -> None:
        if not self.kernel.mm_slots_hash:  # ksmd has had nothing to do: its last scans were not made in quiet
            return
        equal, pinned = self._equal_pages()
        for mm in self.kernel.address_spaces:
            for name, address in self._again:
                pte = mm.ptes.get(address) if mm.name == name and mm.users else None
                if pte is not None and pte.frame.content not in pinned:
                    raise self.convicts(
                        "merged_for_ever",
                        f"the page of {name} at {address:#x} was merged and broken in each of the last two scans: "
                        "an equal page keeps it from the tree (S6m), or is a KSM page already (H7, H0)",
                        where="cmp_and_merge_page",
                        about=(pte.frame,),
                        names=(("place", mm.number, address),),
                    )
        if self._idle:
            for pages in equal.values():
                if len(pages) > 1:
                    self._judge(list(pages.values()))

    def _equal_pages(self) -> tuple[dict[tuple[Content, int], dict[int, Frame]], set[Content]]:
        """By content, and by node if that matters, the frames that hold mergeable pages, by number; and the contents of
        those that somebody holds a reference on."""
        kernel = self.kernel
        waiting = Counter(page.pfn for pagevec in kernel.lru_add_pvecs.values() for page in pagevec)
        found: dict[tuple[Content, int], dict[int, Frame]] = {}
        pinned: set[Content] = set()
        for mm in kernel.address_spaces:
            if not mm.users or mm.number not in kernel.mm_slots_hash:
                continue
            for address, pte in mm.ptes.items():
                page, vma = pte.frame, mm.vma_at(address)
                if vma is None or not vma.mergeable or pte.migration or page is kernel.zero_page:
                    continue
                if page.refcount != page.mapcount + (page.swap is not None) + waiting[page.pfn]:
                    pinned.add(page.content)
                else:
                    nid = 0 if kernel.ksm_merge_across_nodes else page.nid
                    found.setdefault((page.content, nid), {})[page.pfn] = page
        return found, pinned

    def _judge(self, pages: list[Frame]) -> None:
        """Convict, unless there is a reason why these pages, all equal, must stay apart."""
        half = [page for page in pages if page.is_ksm and page.stable_node is None]
        merged = [page for page in pages if isinstance(page.stable_node, StableNode)]
        private = [page for page in pages if not page.is_ksm]
        if half:
            raise self._apart("half_ksm_page", pages, "one is a KSM page without a stable node: H7")
        if private and (len(private) > 1 or any(self._has_room(page) for page in merged)):
            raise self._apart("pages_unmerged", pages, "ksmd has passed them several times")
        if len(merged) > 1 and not self._in_one_chain(merged):
            raise self._apart("ksm_pages_unmerged", pages, "a KSM page is never merged into another: H0")

    def _apart(self, kind: str, pages: list[Frame], why: str) -> Exception:
        where = ", ".join(f"pfn {page.pfn} on node {page.nid}" for page in pages)
        return self.convicts(
            kind, f"equal pages stay apart: {where}; {why}", where="cmp_and_merge_page", about=tuple(pages)
        )

    def _has_room(self, page: Frame) -> bool:
        node, kernel = page.stable_node, self.kernel
        if isinstance(node, DupNode) and isinstance(kernel, ChainNodes):
            return kernel.is_page_sharing_candidate(node)
        return True

    @staticmethod
    def _in_one_chain(pages: list[Frame]) -> bool:
        chains = {node.chain.number if isinstance(node, DupNode) and node.chain else -1
                  for node in (page.stable_node for page in pages)}  # fmt: skip
        return len(chains) == 1 and -1 not in chains
