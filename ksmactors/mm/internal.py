"""Functions that one file of mm calls in another, as include/linux/mm.h, swap.h, rmap.h and mm/internal.h declare them.

Each is documented where it is.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.hooks import KsmHooks, RmapOne
from ksmactors.mm.swap_device import SwapSlot


class MmDeclarations(KsmHooks, metaclass=ABCMeta):
    """What the files of mm/ and ksm/ know of each other. A kernel is assembled of classes that define all of them."""

    def __init__(self, hardware: Hardware) -> None:
        """The classes that make up a kernel pass the hardware on, each to the next."""
        super().__init__()

    # -- mm/mmu_notifier.c ---------------------------------------------------------------------------------------

    @abstractmethod
    async def mmu_notifier_invalidate_range_start(self, mm: AddressSpace, start: int, end: int) -> None: ...

    @abstractmethod
    async def mmu_notifier_invalidate_range_end(self, mm: AddressSpace, start: int, end: int) -> None: ...

    @abstractmethod
    async def mmu_notifier_invalidate_page(self, mm: AddressSpace, address: int, end: int) -> None: ...

    # -- mm/page_alloc.c -----------------------------------------------------------------------------------------

    @abstractmethod
    async def alloc_page(self, nid: int, *, exactly: bool = False) -> Frame | None: ...

    @abstractmethod
    def frame_freed(self, frame: Frame) -> None: ...

    # -- mm/swap.c -----------------------------------------------------------------------------------------------

    @abstractmethod
    def lru_cache_add(self, page: Frame) -> None: ...

    @abstractmethod
    def lru_add_drain(self) -> None: ...

    @abstractmethod
    async def lru_add_drain_all(self) -> None: ...

    # -- asm-generic/pgtable.h -----------------------------------------------------------------------------------

    @abstractmethod
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None: ...

    @abstractmethod
    async def set_swap_pte(self, mm: AddressSpace, address: int, slot: SwapSlot | None) -> Pte | None: ...

    @abstractmethod
    async def set_hwpoison_pte(self, mm: AddressSpace, address: int, page: Frame) -> Pte | None: ...

    @abstractmethod
    async def ptep_set_wrprotect(self, mm: AddressSpace, address: int) -> Pte: ...

    @abstractmethod
    def ptep_clear_flush_young(self, mm: AddressSpace, address: int) -> bool: ...

    @abstractmethod
    def pte_none(self, mm: AddressSpace, address: int) -> bool: ...

    @abstractmethod
    def swap_pte_same(self, mm: AddressSpace, address: int, slot: SwapSlot, page: Frame) -> bool: ...

    # -- mm/swap_state.c -----------------------------------------------------------------------------------------

    @abstractmethod
    async def add_to_swap(self, page: Frame) -> bool: ...

    @abstractmethod
    def forget_cached(self, page: Frame) -> SwapSlot: ...

    @abstractmethod
    async def delete_from_swap_cache(self, page: Frame) -> None: ...

    @abstractmethod
    async def free_swap_cache(self, page: Frame) -> None: ...

    @abstractmethod
    async def lookup_swap_cache(self, slot: SwapSlot) -> Frame | None: ...

    @abstractmethod
    async def read_swap_cache(self, slot: SwapSlot, nid: int) -> Frame | None: ...

    # -- mm/page_io.c --------------------------------------------------------------------------------------------

    @abstractmethod
    async def swap_readpage(self, page: Frame, slot: SwapSlot) -> None: ...

    @abstractmethod
    async def swap_writepage(self, page: Frame) -> None: ...

    @abstractmethod
    async def wait_on_page_writeback(self, page: Frame) -> None: ...

    # -- mm/swapfile.c -------------------------------------------------------------------------------------------

    @abstractmethod
    async def swap_duplicate(self, slot: SwapSlot) -> None: ...

    @abstractmethod
    async def swap_free(self, slot: SwapSlot) -> int: ...

    @abstractmethod
    async def swapcache_free(self, slot: SwapSlot) -> None: ...

    @abstractmethod
    async def reuse_swap_page(self, page: Frame) -> bool: ...

    @abstractmethod
    async def try_to_free_swap(self, page: Frame) -> bool: ...

    @abstractmethod
    async def free_swap_and_cache(self, slot: SwapSlot) -> None: ...

    # -- mm/rmap.c -----------------------------------------------------------------------------------------------

    @abstractmethod
    def anon_vma_prepare(self, vma: Vma) -> bool: ...

    @abstractmethod
    async def anon_vma_clone(self, vma: Vma, source: Vma) -> bool: ...

    @abstractmethod
    async def anon_vma_fork(self, vma: Vma, parent: Vma) -> bool: ...

    @abstractmethod
    async def unlink_anon_vmas(self, vma: Vma) -> None: ...

    @abstractmethod
    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None: ...

    @abstractmethod
    def page_add_anon_rmap(self, page: Frame, vma: Vma, address: int, *, exclusive: bool) -> None: ...

    @abstractmethod
    def page_move_anon_rmap(self, page: Frame, vma: Vma) -> None: ...

    @abstractmethod
    def page_remove_rmap(self, page: Frame) -> None: ...

    @abstractmethod
    def page_address_in_vma(self, page: Frame, vma: Vma) -> int | None: ...

    @abstractmethod
    async def page_check_address(self, page: Frame, mm: AddressSpace, address: int) -> Pte | None: ...

    @abstractmethod
    async def rmap_walk(self, page: Frame, rmap_one: RmapOne, *, mapped: bool = True) -> None: ...

    @abstractmethod
    async def try_to_unmap(self, page: Frame, *, reclaim: bool = False) -> None: ...

    @abstractmethod
    async def unmap_poisoned(self, page: Frame) -> bool: ...

    @abstractmethod
    async def page_referenced(self, page: Frame) -> int: ...

    # -- mm/gup.c ------------------------------------------------------------------------------------------------

    @abstractmethod
    async def follow_page(
        self,
        mm: AddressSpace,
        address: int,
        *,
        migration: bool = False,
        write: bool = False,
        zero: bool = False,
        pin: bool = False,
    ) -> Frame | None: ...

    @abstractmethod
    async def get_user_pages(
        self, mm: AddressSpace, address: int, write: bool, *, pin: bool = False
    ) -> Frame | int: ...

    @abstractmethod
    async def pin_user_pages(self, mm: AddressSpace, address: int, write: bool) -> Frame | int: ...

    @abstractmethod
    async def unpin_user_page(self, page: Frame) -> None: ...

    # -- mm/memory.c ---------------------------------------------------------------------------------------------

    @abstractmethod
    async def handle_mm_fault(self, mm: AddressSpace, vma: Vma, address: int, write: bool) -> int: ...

    @abstractmethod
    async def zap_page_range(self, mm: AddressSpace, start: int, end: int, step: int) -> None: ...

    @abstractmethod
    async def copy_page_range(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma) -> int: ...

    # -- mm/migrate.c --------------------------------------------------------------------------------------------

    @abstractmethod
    async def migrate_pages(self, page: Frame, nid: int, *, exactly: bool = True) -> int: ...

    @abstractmethod
    def migration_entry_to_page(self, pte: Pte) -> Frame: ...

    @abstractmethod
    async def migration_entry_wait(self, mm: AddressSpace, address: int) -> None: ...

    # -- mm/compaction.c -----------------------------------------------------------------------------------------

    @abstractmethod
    def movable_frames(self, nid: int) -> list[Frame]: ...

    # -- mm/vmscan.c ---------------------------------------------------------------------------------------------

    @abstractmethod
    async def isolate_lru_page(self, page: Frame) -> bool: ...

    @abstractmethod
    async def putback_lru_page(self, page: Frame) -> None: ...

    # -- mm/memory-failure.c ---------------------------------------------------------------------------------------

    @abstractmethod
    async def madvise_hwpoison(self, mm: AddressSpace, start: int, end: int) -> int: ...

    @abstractmethod
    async def madvise_soft_offline(self, mm: AddressSpace, start: int, end: int) -> int: ...

    # -- mm/mlock.c ----------------------------------------------------------------------------------------------

    @abstractmethod
    async def munlock_vma_pages_range(self, vma: Vma, start: int, end: int) -> None: ...

    @abstractmethod
    async def mlock_vma_page(self, page: Frame) -> None: ...

    @abstractmethod
    async def munlock_vma_page(self, page: Frame) -> None: ...

    @abstractmethod
    async def mlock_if_locked(self, page: Frame, vma: Vma) -> bool: ...

    # -- mm/mmap.c -----------------------------------------------------------------------------------------------

    @abstractmethod
    def insert_vm_struct(self, vma: Vma) -> None: ...

    @abstractmethod
    async def do_munmap(self, mm: AddressSpace, start: int, end: int) -> int: ...

    @abstractmethod
    def vmas_in(self, mm: AddressSpace, start: int, end: int) -> list[Vma]: ...

    @abstractmethod
    async def split_vma(self, vma: Vma, address: int) -> Vma | None: ...

    @abstractmethod
    async def merge_vma(self, vma: Vma) -> None: ...

    @abstractmethod
    async def exit_mmap(self, mm: AddressSpace) -> None: ...

    # -- kernel/fork.c -------------------------------------------------------------------------------------------

    @abstractmethod
    def mmget(self, mm: AddressSpace) -> None: ...

    @abstractmethod
    async def mmput(self, mm: AddressSpace) -> None: ...

    @abstractmethod
    def mmdrop(self, mm: AddressSpace) -> None: ...
