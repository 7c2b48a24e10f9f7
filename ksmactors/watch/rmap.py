"""Every mapping of a page can be found by reverse mapping."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe, address_space, found_by_walk, frame_at, is_half, number_of, place_of


class ReverseMapping(Watcher):
    """At quiescence, reverse mapping finds every page table entry that maps a page.

    An entry that is not found cannot be unmapped: its page can be neither migrated nor reclaimed, and a migration entry
    that is put elsewhere may be stranded.

    Why it holds. An ordinary page names its anon_vma, which lists the vmas that may map it. A KSM page has an rmap_item
    for each mapping, on the hlist of its node, and each item leads to the vmas of its anon_vma at its address, those of
    children included. An item that is taken off a node goes onto the node of the page that is mapped instead.

    When not checked. An entry may be lost for a while, correctly: a child's entries are found through the parent's
    items, and when those go, not before ksmd has visited the child. So the check is made after ksmd has scanned
    everything several times undisturbed; mappings still lost then stay lost.

    Finding. `lost_mapping`: on v3.9, and on later kernels where they still have it, a merge of a moved KSM page into an
    equal one has failed (H0), the item names the node that it has left (K1) or a stale entry ended the search (K3);
    where ksmd may not merge, the page came back from swap (H4b, H8), or two processes that share pages by fork differ
    in their advice. Mutants: S5a, S6i, R2. `half_ksm_page`: a page that was upgraded and got no node (H7).
    `lost_anon_mapping`: R2, or an index that does not fit.
    """

    name: ClassVar[str] = "rmap"
    summary: ClassVar[str] = "every mapping of a page can be found by reverse mapping"

    @override
    def at_quiescence(self) -> None:
        found: dict[int, set[tuple[int, int]]] = {}
        for mm in self.kernel.address_spaces:
            for address, pte in mm.ptes.items():
                page = pte.frame
                if not page.is_ksm:
                    self._ordinary(mm, address, page)
                    continue
                if page.pfn not in found:
                    found[page.pfn] = self._walk(page)
                if (mm.number, address) not in found[page.pfn]:
                    kind = "lost_mapping" if page.stable_node is not None else "half_ksm_page"
                    raise self.finding(
                        kind,
                        f"{mm.name} maps the KSM page pfn {page.pfn} on node {page.nid} at {address:#x}, where reverse "
                        f"mapping does not find it: {self._why(mm, address, page)}",
                        where="rmap_walk_ksm",
                        other=page.stable_node.moved_by if isinstance(page.stable_node, StableNode) else -1,
                        about=(page.stable_node, page) if page.stable_node is not None else (page,),
                        names=(("place", mm.number, address),),
                    )

    def _ordinary(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """An ordinary page is found through the anon_vma that its mapping names."""
        anon_vma = page.mapping
        if page is self.kernel.zero_page or (
            isinstance(anon_vma, AnonVma)
            and anon_vma.alive
            and any(vma.mm is mm and vma.address_of(page.index) == address for vma in anon_vma.vmas)
        ):
            return
        raise self.finding(
            "lost_anon_mapping",
            f"{mm.name} maps pfn {page.pfn} at {address:#x}, where its anon_vma does not lead",
            where="rmap_walk",
            about=(page,),
            names=(("place", mm.number, address),),
        )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether reverse mapping finds the place of the page mapped there, whichever page it is by then."""
        place, pfn, kernel = place_of(finding), number_of(finding, "pfn"), self.kernel
        if finding.kind == "half_ksm_page" and pfn is not None:
            return Probe(lambda: is_half(frame_at(kernel, pfn)))
        return Probe(lambda: self._is_lost(*place)) if place is not None else None

    def _is_lost(self, number: int, address: int) -> bool:
        mm = address_space(self.kernel, number)
        pte = mm.ptes.get(address) if mm is not None else None
        if pte is None or pte.migration or pte.frame is self.kernel.zero_page:
            return False
        return (number, address) not in found_by_walk(self.kernel, pte.frame.mapping, pte.frame.index)

    def _walk(self, page: Frame) -> set[tuple[int, int]]:
        """Return the places that rmap_walk_ksm would visit, as (number of the mm, address)."""
        node = page.stable_node
        if not isinstance(node, StableNode):
            return set()
        return {
            (vma.mm.number, item.address)
            for item in node.hlist()
            for vma in self.kernel.vmas_of_item(item)
            if vma.start <= item.address < vma.end
        }

    @staticmethod
    def _why(mm: AddressSpace, address: int, page: Frame) -> str:
        node, vma = page.stable_node, mm.vma_at(address)
        if not isinstance(node, StableNode):
            return "the page has no stable node (H7)"
        place = "on migrate_nodes" if node.migrating else f"in stable tree {node.nid}"
        known = "H0, K1 or K3" if vma is not None and vma.mergeable else "not mergeable there: H4b, H8, or a fork"
        items = len(list(node.hlist()))
        return f"its stable node, {place}, has {items} items for {page.mapcount} mappings ({known})"
