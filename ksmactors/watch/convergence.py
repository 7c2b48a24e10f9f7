"""O14: in the end equal pages are merged, and stay merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple, TypeAlias

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.ksm.structs import StableNode
from ksmactors.later.chain_nodes import ChainNodes, DupNode
from ksmactors.later.zero_pages import ZeroPages
from ksmactors.machine import Machine
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher, frame_at
from ksmactors.watch.probe import Probe, is_half, names_of
from ksmactors.watch.skipping import Place, Skips, ever_visited_together, skips_of

CHANGES: Final = (
    ev.STABLE_TREE_INSERT, ev.STABLE_TREE_APPEND, ev.STABLE_NODE_CHAIN_ADD_DUP, ev.FREE_STABLE_NODE_CHAIN,
    ev.KSM_REMOVE_KSM_PAGE, ev.KSM_REMOVE_RMAP_ITEM, ev.NODE_MISPLACED, ev.NODE_RESLOTTED, ev.BREAK_COW,
    ev.KSM_ENTER, ev.KSM_EXIT,
)  # fmt: skip
"""What happens in a scan after which the next one may find something else than this one did."""


LEAVING: Final = (ev.KSM_REMOVE_RMAP_ITEM, ev.KSM_REMOVE_KSM_PAGE)
"""Events that take one rmap_item, or all of them, off a node."""

Pages: TypeAlias = list[tuple[Frame, list[Place]]]
"""Equal pages: the frame of each, and where it is mapped."""


class Sum(NamedTuple):
    """The last checksum of a page: content, frame and scan, and the number of the rmap_item (-1: unknown)."""

    pfn: int
    content: Content
    scan: int
    item: int


class Convergence(Watcher):
    """At the end, equal pages that ksmd may merge are merged; and merged pages stay merged.

    Promise. The protocol promises no merge at a given time: a lost trylock, a stale node or a changed checksum each
    cost a scan. But when no other actor runs, ksmd must finish its work. Then no two present pages of equal content, in
    mergeable vmas, and on the same node if merge_across_nodes is 0, are in different frames.

    When checked. When the schedule is over and ksmd has made some full scans undisturbed. These may be too few after a
    long history, so only a scan in which nothing changed is evidence: no merge, no new checksum, nothing linked, moved
    to migrate_nodes, pruned or broken. A scan is a function of the state, so all later scans would do the same. If the
    last scan did change something, the verdict stays open, with one exception: a mapping that was merged and broken
    again in each of the last two scans will be so in every scan (the livelock of S6m).

    A checksum that ksmd finds changed counts as a change only if it may have changed: if the page has the content, and
    the rmap_item, of the last checksum, the stored checksum is wrong and will be wrong again. A page that smart_scan
    skipped in the last scan is no evidence; but the scans that visit it are known (`skipping`), and two pages that are
    never visited in the same scan stay apart.

    Exceptions. A page with a foreign reference (a pin, an isolation) cannot be write-protected; in each scan, a page
    beside it is merged half way and broken, correctly. With chains: equal KSM pages that are dups of one chain, as
    max_page_sharing and a migration make them; and a single ordinary page beside KSM pages that have no room.

    Finding. Memory is never saved that could be. `ksm_pages_unmerged`: a migrated KSM page has met an equal one; on
    v3.9 that is H0 (write_protect_page refuses every KSM page), on later kernels too if it is mapped once.
    `half_ksm_page`: a KSM page without a node is never merged, H7 on v3.9 and later. `pages_unmerged`: an ordinary
    page; K1 and K3 do not explain it, since a scan that meets a stale node changes something. `merged_for_ever`: S6m;
    on v3.9 and later also a consequence of H7 and H0: a KSM page that gets into the unstable tree, with which every
    equal page is merged half way. On `series` all must merge. `skipped_in_turns`: X2, on all kernels that have
    smart_scan; `never_looked_at`: a page is skipped, and its skips do not run out.

    A probe exists for the two kinds that a step causes: two equal KSM pages, and a KSM page without a node. Other pages
    that stay apart were never merged: no step broke the promise, and the last visit of the pages is shown instead.
    """

    name: ClassVar[str] = "convergence"
    summary: ClassVar[str] = "in the end equal pages are merged, and stay so (O14)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._before = 0
        self._idle = False
        self._news = 0
        self._sums: dict[Place, Sum] = {}
        self._skips: dict[Place, Skips] = {}
        """The smart_scan state of each place at the end of the last scan, and of the one before."""
        self._skips_before: dict[Place, Skips] = {}
        self._broken: dict[int, Place] = {}
        """The mm and the address of each mapping broken in this scan, by number of the rmap_item."""
        self._broken_before: dict[int, Place] = {}
        self._again: list[Place] = []
        trace = machine.trace
        trace.listen(ev.CALC_CHECKSUM, self._summed)
        trace.listen(ev.BREAK_COW, self._broke)
        trace.listen(ev.STABLE_TREE_APPEND, self._appended)
        for code in LEAVING:
            trace.listen(code, self._left)
        trace.listen(ev.KSM_STOP_SCAN, self._scanned)

    def _summed(self, mm: str, address: int, pfn: int, changed: bool) -> None:
        page, place, scan = frame_at(self.kernel, pfn), (mm, address), self.kernel.ksm_scan.seqnr
        last = self._sums.get(place)
        item = self._skips[place].item if place in self._skips else -1
        if page is None:
            return
        same = last is not None and (pfn, page.content) == (last.pfn, last.content)
        known = same and last is not None and (last.scan == scan - 1 or (item >= 0 and item == last.item))
        self._news += changed and not known
        self._sums[place] = Sum(pfn, page.content, scan, item)

    def _broke(self, item: int, mm: str, address: int) -> None:
        self._broken[item] = (mm, address)
        self._sums.pop((mm, address), None)

    def _appended(self, item: int, node: int, pfn: int, mm: str, address: int) -> None:
        self._sums.pop((mm, address), None)

    def _left(self, *fields: object) -> None:
        """Handle an rmap_item that left its node with its checksum (v7.3)."""
        self._sums.clear()

    def _scanned(self, seqnr: int, rmap_items: int) -> None:
        counts = self.machine.trace.counts
        changes = self._news + sum(counts[code] for code in CHANGES)
        self._idle, self._before = changes == self._before, changes
        self._again = [place for item, place in self._broken.items() if item in self._broken_before]
        self._broken_before, self._broken = self._broken, {}
        self._skips_before, self._skips = self._skips, skips_of(self.kernel)
        for place, last in self._sums.items():  # the number of an item made in this scan is known now
            if last.item < 0 and place in self._skips:
                self._sums[place] = last._replace(item=self._skips[place].item)

    @override
    def at_quiescence(self) -> None:
        if not self.kernel.mm_slots_hash:  # nothing to scan: its last scans were not undisturbed
            return
        equal, pinned = self._equal_pages()
        for mm in self.kernel.address_spaces:
            for name, address in self._again:
                pte = mm.ptes.get(address) if mm.name == name and mm.users else None
                if pte is not None and pte.frame.content not in pinned:
                    raise self.finding(
                        "merged_for_ever",
                        f"the page of {name} at {address:#x} was merged and broken in each of the last two scans: "
                        "an equal page keeps it out of the tree (S6m), or is a KSM page already (H7, H0)",
                        where="cmp_and_merge_page",
                        about=(pte.frame,),
                        names=(("place", mm.number, address),),
                    )
        if self._idle:
            groups = [pages for pages in equal.values() if len(pages) > 1]
            for pages in groups:
                self._judge(pages)
            for pages in groups if self._skips else ():
                if pages[0][0].content not in pinned:
                    self._judge_skips(pages)

    def _equal_pages(self) -> tuple[dict[tuple[Content, int], Pages], set[Content]]:
        """Return the frames that hold mergeable pages, by content, and by node if that matters; and the contents of
        those with a foreign reference."""
        kernel = self.kernel
        waiting = Counter(page.pfn for page in kernel.batched_pages())
        found: dict[tuple[Content, int], dict[int, tuple[Frame, list[Place]]]] = {}
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
                    same = found.setdefault((page.content, nid), {})
                    same.setdefault(page.pfn, (page, []))[1].append((mm.name, address))
        return {key: list(pages.values()) for key, pages in found.items()}, pinned

    def _judge(self, pages: Pages) -> None:
        """Raise a finding unless there is a reason why these equal pages must stay apart."""
        half = [page for page, _ in pages if page.is_ksm and page.stable_node is None]
        merged = [page for page, _ in pages if isinstance(page.stable_node, StableNode)]
        private = [page for page, places in pages if not page.is_ksm and self._was_looked_at(places)]
        if half:
            raise self._apart("half_ksm_page", pages, "one is a KSM page without a stable node: H7")
        if private and (len(private) > 1 or any(self._has_room(page) for page in merged)):
            raise self._apart("pages_unmerged", pages, "ksmd has passed them several times")
        if len(merged) > 1 and not self._in_one_chain(merged):
            raise self._apart("ksm_pages_unmerged", pages, "a KSM page is never merged into another: H0")

    def _was_looked_at(self, places: list[Place]) -> bool:
        """Whether the last scan visited a page at one of its places."""
        return any(place not in self._skips_before or not self._skips_before[place].remaining for place in places)

    def _judge_skips(self, pages: Pages) -> None:
        """Raise a finding if smart_scan keeps some equal, ordinary pages apart for as long as nothing else happens."""
        private = [(page, places) for page, places in pages if not page.is_ksm]
        merged = any(page.is_ksm and self._has_room(page) for page, _ in pages)
        for _, places in private:
            for place in places:
                last, before = self._skips.get(place), self._skips_before.get(place)
                if last is None or before is None or not last.remaining:
                    continue
                if (last.item, last.remaining) == (before.item, before.remaining):
                    why = f"the page of {place[0]} at {place[1]:#x} is skipped, and its remaining skips do not decrease"
                    raise self._apart("never_looked_at", pages, why, where="should_skip_rmap_item")
        zero = private and self._is_merged_alone(private[0][0])
        if (
            not merged
            and not zero
            and len(private) > 1
            and not ever_visited_together(self.kernel, private, self._skips)
        ):
            why = "smart_scan never visits two of them in the same scan: X2"
            raise self._apart("skipped_in_turns", pages, why, where="should_skip_rmap_item")

    def _is_merged_alone(self, page: Frame) -> bool:
        """Whether a page needs no equal one: use_zero_pages maps the zero page for a page of zeros."""
        kernel, zero = self.kernel, self.kernel.contents.zero
        return isinstance(kernel, ZeroPages) and bool(kernel.ksm_use_zero_pages) and page.content is zero

    def _apart(self, kind: str, pages: Pages, why: str, *, where: str = "cmp_and_merge_page") -> Exception:
        which = ", ".join(f"pfn {page.pfn} on node {page.nid}" for page, _ in pages)
        frames = tuple(page for page, _ in pages)
        return self.finding(kind, f"equal pages stay apart: {which}; {why}", where=where, about=frames)

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Return how many of the pages are KSM pages that should be one, or have no stable node."""
        kernel, pfns = self.kernel, [int(name[1]) for name in names_of(finding) if name[0] == "pfn"]
        if finding.kind == "half_ksm_page":
            return Probe(lambda: sum(is_half(frame_at(kernel, pfn)) for pfn in pfns))
        if finding.kind == "ksm_pages_unmerged":
            return Probe(lambda: self._equal_merged(pfns))
        return None

    def _equal_merged(self, pfns: Sequence[int]) -> bool:
        """Whether two of the frames are mapped KSM pages of equal content that ksmd would have to merge."""
        frames = [page for pfn in pfns if (page := frame_at(self.kernel, pfn)) is not None and page.mapcount]
        merged = [page for page in frames if isinstance(page.stable_node, StableNode)]
        alike = Counter((page.content, 0 if self.kernel.ksm_merge_across_nodes else page.nid) for page in merged)
        return max(alike.values(), default=0) > 1 and not self._in_one_chain(merged)

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
