"""Mutants of what was repaired before v3.9 (F1 to F5): each brings one of the old defects back."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot, StableNode
from ksmactors.mm.address_space import Pte, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame


class EqualPageKept(Ksm):
    """The reference on the equal page is kept when a stable node cannot be inserted because of it (F1)."""

    @override
    async def insert_equal(self, root: ContentTree[StableNode], entry: StableNode, kpage: Frame) -> StableNode | None:
        await self.get_ksm_page(entry, lock=False)
        return await super().insert_equal(root, entry, kpage)


class MovedAsMerged(Ksm):
    """mremap moves a mapping of a KSM page as it is, instead of breaking it first (F2)."""

    @override
    async def unmerge_to_move(self, vma: Vma, start: int, end: int) -> int:
        return 0


class OnlyWritable(Ksm):
    """A page is write-protected only if its entry is writable: one that is just dirty stays so (F3)."""

    @override
    def must_be_cleaned(self, pte: Pte) -> bool:
        return pte.write


class RootsCompared(Ksm):
    """The anon_vma of a page is asked for its root, whether the page has an anon_vma or not (F4)."""

    @override
    def page_address_in_vma(self, page: Frame, vma: Vma) -> int | None:
        if not isinstance(page.mapping, AnonVma):
            raise Finding("lifetime", "null_dereference", "page_address_in_vma", f"pfn {page.pfn} has no anon_vma")
        return super().page_address_in_vma(page, vma)


class EmptyListScanned(Ksm):
    """The first slot of the list is scanned, whether the list has one or only its head (F5)."""

    @override
    def no_mm_left(self, first: MmSlot) -> bool:
        return False
