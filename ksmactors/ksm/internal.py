"""Functions that one file of ksm/ calls in another. In the kernel mm/ksm.c is one file, and needs no header.

Each is documented where it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from ksmactors.ksm.structs import MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame


class KsmDeclarations(MmCore):
    """What the files of ksm/ know of each other; of the rest of mm they know what its own files do."""

    # -- keyhole.py ----------------------------------------------------------------------------------------------

    @abstractmethod
    async def read_kpfn(self, node: StableNode) -> tuple[int, ...]: ...

    @abstractmethod
    async def get_ksm_page(self, node: StableNode, *, lock: bool) -> Frame | None: ...

    @abstractmethod
    async def remove_node_from_stable_tree(self, node: StableNode) -> None: ...

    @abstractmethod
    async def remove_rmap_item_from_tree(self, item: RmapItem) -> None: ...

    @abstractmethod
    async def remove_trailing_rmap_items(self, link: MmSlot | RmapItem) -> None: ...

    @abstractmethod
    def warn(self, function: str, message: str, about: object) -> None: ...

    # -- hotplug.py ----------------------------------------------------------------------------------------------

    @abstractmethod
    async def wait_while_offlining(self) -> None: ...

    # -- unmerging.py --------------------------------------------------------------------------------------------

    @abstractmethod
    async def break_cow(self, item: RmapItem) -> None: ...

    @abstractmethod
    async def get_mergeable_page(self, item: RmapItem) -> Frame | None: ...

    @abstractmethod
    async def unmerge_ksm_pages(self, vma: Vma, start: int, end: int) -> int: ...

    @abstractmethod
    async def remove_all_stable_nodes(self) -> int: ...

    @abstractmethod
    async def unmerge_and_remove_all_rmap_items(self) -> int: ...

    @abstractmethod
    async def leave_mm(self, mm: AddressSpace, gone: Callable[[AddressSpace], bool]) -> None: ...

    # -- merging.py ----------------------------------------------------------------------------------------------

    @abstractmethod
    async def try_to_merge_with_ksm_page(self, item: RmapItem, page: Frame, kpage: Frame | None) -> int: ...

    @abstractmethod
    async def try_to_merge_two_pages(
        self, item: RmapItem, page: Frame, tree_item: RmapItem, tree_page: Frame
    ) -> Frame | None: ...

    # -- trees.py ------------------------------------------------------------------------------------------------

    @abstractmethod
    def refresh_stable_index(self) -> None: ...

    @abstractmethod
    async def stable_tree_search(self, page: Frame) -> Frame | None: ...

    @abstractmethod
    def emit_misplaced(self, node: StableNode) -> None: ...

    @abstractmethod
    async def stable_tree_insert(self, kpage: Frame) -> StableNode | None: ...

    @abstractmethod
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None: ...

    @abstractmethod
    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None: ...
