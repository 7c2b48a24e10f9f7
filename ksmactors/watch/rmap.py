"""Every mapping of a page can be found by reverse mapping."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.ksm.structs import StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher


class ReverseMapping(Watcher):
    """Every page table entry that maps a page is found by reverse mapping, once things have been quiet.

    An entry that is not found cannot be unmapped: its page can be neither migrated nor reclaimed, and a migration entry
    that is put elsewhere may be stranded. For a while that is normal: a child's entries are found through the parent's
    items, and when those go, not before ksmd has come to the child. So the question is asked after ksmd has passed
    everything several times with nobody in its way; what it has not mended by then, it never will.
    """

    name: ClassVar[str] = "rmap"
    summary: ClassVar[str] = "every mapping of a page can be found by reverse mapping"

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
                    raise self.convicts(
                        kind,
                        f"{mm.name} maps the KSM page pfn {page.pfn} on node {page.nid} at {address:#x}, where reverse "
                        f"mapping does not find it: {self._why(page)}",
                        where="rmap_walk_ksm",
                        other=page.stable_node.moved_by if isinstance(page.stable_node, StableNode) else -1,
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
        raise self.convicts(
            "lost_anon_mapping",
            f"{mm.name} maps pfn {page.pfn} at {address:#x}, where its anon_vma does not lead",
            where="rmap_walk",
        )

    def _walk(self, page: Frame) -> set[tuple[int, int]]:
        """What rmap_walk_ksm would visit, as (number of the mm, address)."""
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
    def _why(page: Frame) -> str:
        node = page.stable_node
        if not isinstance(node, StableNode):
            return "the page has no stable node"
        place = "on migrate_nodes" if node.migrating else f"in stable tree {node.nid}"
        return f"its stable node, {place}, has {len(list(node.hlist()))} items for {page.mapcount} mappings"
