"""Mutants of what was repaired after v3.9, in old code or in what came later (G4, G11, N2 to N9)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.ksm.trees import Visit
from ksmactors.later.chain_nodes import DupNode, dup_of
from ksmactors.later.chains import Chains
from ksmactors.later.node_reused import NodeReused
from ksmactors.later.zero_pages import ZeroPages
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware

__all__ = [
    "CleanIsDropped", "CollapsedChainKept", "NamedBeforeChain", "NodeReused", "RootFirst", "VmaBeforeExit",
    "VmaUnlocked",
]  # fmt: skip


class CleanIsDropped(Ksm):
    """Reclaim drops a page that comes to it for the first time and is clean wherever it is mapped, as it does from v4.5
    on for the sake of MADV_FREE (G4)."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._lazily_freed: set[int] = set()
        """Frame numbers, from the page's way into the swap cache to the end of its round."""

    @override
    async def add_to_swap(self, page: Frame) -> bool:
        dirty = page.dirty
        added = await super().add_to_swap(page)
        if added and not dirty:
            page.dirty = False
            self._lazily_freed.add(page.pfn)
        return added

    @override
    async def try_to_unmap_one(self, page: Frame, vma: Vma, address: int, reclaim: bool) -> bool:
        mm, slot = vma.mm, page.swap
        going = await super().try_to_unmap_one(page, vma, address, reclaim)
        if page.pfn in self._lazily_freed and not page.dirty and slot is not None:
            await mm.page_table_lock.lock()
            if mm.swap_ptes.get(address) is slot:
                await self.set_swap_pte(mm, address, None)
                await self.swap_free(slot)
            await mm.page_table_lock.unlock()
        return going

    @override
    async def shrink_locked_page(self, page: Frame) -> str:
        outcome = await super().shrink_locked_page(page)
        self._lazily_freed.discard(page.pfn)
        return outcome


class RootFirst(Ksm):
    """The anon_vma of a page of the swap cache is asked for its root, whether there is a reference to it or not
    (G11)."""

    @override
    async def may_be_mapped_as_it_is(self, page: Frame, vma: Vma, address: int) -> bool:
        mapping = await page.read_mapping()
        if isinstance(mapping, AnonVma):
            mapping.must_be_alive()
        return await super().may_be_mapped_as_it_is(page, vma, address)


class CollapsedChainKept(Chains):
    """A search continues with a chain that its own look-up has collapsed (N2)."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._come_to: StableNode | None = None

    @override
    async def visit_stable_entry(self, root: ContentTree[StableNode], entry: StableNode, prune: bool) -> Visit:
        self._come_to = entry
        return await super().visit_stable_entry(root, entry, prune)

    @override
    async def equal_in_stable_tree(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> tuple[bool, Frame | None]:
        return await super().equal_in_stable_tree(root, self._come_to or entry, page, page_node)

    @override
    async def replace_dup(self, dup: DupNode, page: Frame, page_node: StableNode | None) -> Frame | None:
        if self._come_to is not None:
            self._come_to.must_be_alive()
        return await super().replace_dup(dup, page, page_node)


class VmaUnlocked(ZeroPages):
    """A page of zeros is merged with the zero page in a vma that was looked up, and is used, without mmap_sem (N3)."""

    @override
    async def try_to_merge_with_zero_page(self, item: RmapItem, page: Frame) -> bool:
        if not self.ksm_use_zero_pages or item.oldchecksum != self.contents.zero.checksum:
            return False
        vma = self.find_mergeable_vma(item.mm, item.address)
        return vma is None or await self.try_to_merge_one_page(vma, page, self.zero_page) == 0


class VmaBeforeExit(Ksm):
    """Unmerging looks up the first vma of an address space before it tests whether the last user has gone (N8)."""

    @override
    def first_vma_to_unmerge(self, mm: AddressSpace) -> Vma | None:
        return self._find_vma(mm, 0)


class NamedBeforeChain(Chains):
    """A page names its new stable node before there is the chain that the node needs (N9)."""

    @override
    async def insert_equal(self, root: ContentTree[StableNode], entry: StableNode, kpage: Frame) -> StableNode | None:
        node = self.alloc_stable_node()
        if node is None:
            return None
        node.kpfn = kpage.pfn
        await kpage.set_mapping(node.mapping)
        chain = await self._chain_of(root, entry)
        if chain is None:
            self.free_stable_node(node)
            return None
        await self.stable_node_chain_add_dup(dup_of(node), chain)
        self.emit_inserted(node)
        return node
