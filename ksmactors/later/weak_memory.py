"""A mode, and no kernel: memory as weak as the barriers allow."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import Frame, KsmMapping
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.store_buffer import StoreBuffer


class _WeakFrame(Frame):
    """A frame whose mapping and SwapCache flag are looked at while stores to them may be on their way."""

    __slots__ = ()
    stores: ClassVar[StoreBuffer]

    @override
    async def read_mapping(self) -> AnonVma | KsmMapping | None:
        return self.stores.load(self, "mapping", await super().read_mapping())

    @override
    async def set_mapping(self, mapping: AnonVma | KsmMapping | None) -> None:
        old = self.mapping
        await super().set_mapping(mapping)
        self.stores.stored(self, "mapping", old)

    @override
    async def get_unless_zero(self) -> bool:
        got = await super().get_unless_zero()
        if got:
            self.stores.full_barrier()
        return got

    @override
    async def put(self, refs: int = 1) -> None:
        await super().put(refs)
        self.stores.full_barrier()

    @override
    async def freeze(self, expected: int) -> bool:
        frozen = await super().freeze(expected)
        if frozen:
            self.stores.full_barrier()
        return frozen

    @override
    async def in_swap_cache(self) -> bool:
        return self.stores.load(self, "swap_cache", await super().in_swap_cache())


class WeakMemory(Ksm):
    """Stores become visible to others in any order that the barriers allow (a mode, no kernel has it).

    Where the protocol between migration and get_ksm_page depends on it: kpfn, page->mapping and the SwapCache flag, as
    the two of them store and look at them without a common lock. A migration stores kpfn (W3), passes a write barrier
    (W4), takes the old page's mapping away (W5) and clears its SwapCache flag (W6). A reader that has seen one of the
    last two must see the new kpfn, too, when it reads it again behind its read barrier; else it takes a live node for
    stale and frees it. So with this mode a missing barrier is a schedule like any other, found or enumerated, and not
    luck.
    """

    def __init__(self, hardware: Hardware) -> None:
        self.stores = StoreBuffer(hardware.conductor)
        self.frame_class = type("WeakFrame", (_WeakFrame,), {"__slots__": (), "stores": self.stores})
        super().__init__(hardware)

    @override
    def smp_wmb(self) -> None:
        self.stores.write_barrier()

    @override
    def smp_rmb(self) -> None:
        self.stores.read_barrier()

    @override
    async def read_kpfn(self, node: StableNode) -> tuple[int, ...]:
        return self.stores.load(node, "kpfn", await super().read_kpfn(node))

    @override
    async def write_kpfn(self, node: StableNode, kpfn: int) -> None:
        old = self.kpfn_of_node(node)
        await super().write_kpfn(node, kpfn)
        self.stores.stored(node, "kpfn", old)

    @override
    async def clear_page_swap_cache(self, page: Frame) -> None:
        await super().clear_page_swap_cache(page)
        self.stores.stored(page, "swap_cache", True)
