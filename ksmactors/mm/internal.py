"""What the files of mm/ ask of each other (mm/internal.h).

Each file of mm/ has a class of its own for its functions. None of them is one of the others: they are siblings over
`MmInternal`, and `kernel.Mm` is made of all of them. What one of them calls of another is declared here, under the name
of the file that has it.
"""

from __future__ import annotations

from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.frame import Frame
from ksmactors.mm.hooks import RmapOne
from ksmactors.mm.state import MmState
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import part, seam


class MmInternal(MmState):
    """The functions of mm/ that are called across its files."""

    # -- page_alloc.py -----------------------------------------------------------------------------------------

    @seam
    async def alloc_page(self, nid: int, *, exactly: bool = False) -> Frame | None:
        """alloc_page_vma: a frame of zeros with one reference, from `nid` or, unless `exactly`, the next nodes."""
        raise NotImplementedError

    @seam
    async def trylock_page(self, page: Frame) -> bool:
        """trylock_page; somebody else may have had the lock for just that instant."""
        raise NotImplementedError

    # -- pagevec.py --------------------------------------------------------------------------------------------

    @seam
    def lru_cache_add(self, page: Frame) -> None:
        """Put a page of the caller's in this CPU's batch; the fourteenth empties it."""
        raise NotImplementedError

    @seam
    def lru_add_drain(self) -> None:
        """Put what is in this CPU's batch on the LRU lists, and free what only the batch has kept."""
        raise NotImplementedError

    @seam
    async def lru_add_drain_all(self) -> None:
        """The same on every CPU, one after the other, by somebody who runs there; waits until it is done."""
        raise NotImplementedError

    # -- pgtable.py --------------------------------------------------------------------------------------------

    @seam
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        """ptep_clear_flush and set_pte_at in one: the entry before, with the dirty bit it had at that instant."""
        raise NotImplementedError

    @seam
    async def set_swap_pte(self, mm: AddressSpace, address: int, slot: SwapSlot | None) -> Pte | None:
        """Put a swap entry, or nothing, in the place of whatever is there; returns the present entry before, with the
        dirty bit it had at that instant."""
        raise NotImplementedError

    @seam
    async def ptep_set_wrprotect(self, mm: AddressSpace, address: int) -> Pte:
        """Take the write permission of a present entry away; returns the entry as it is now."""
        raise NotImplementedError

    @seam
    def ptep_clear_flush_young(self, mm: AddressSpace, address: int) -> bool:
        """Whether the page at an address was accessed since somebody last asked."""
        raise NotImplementedError

    # -- gup.py ------------------------------------------------------------------------------------------------

    @seam
    async def get_user_pages(self, mm: AddressSpace, address: int, write: bool, *, pin: bool = False) -> Frame | int:
        """The page at an address with a reference, for I/O that reads it or writes it: what is not there or, for a
        write, not the process's own, is faulted in."""
        raise NotImplementedError

    @seam
    async def follow_page(
        self, mm: AddressSpace, address: int, *,
        migration: bool = False, write: bool = False, zero: bool = False, pin: bool = False,
    ) -> Frame | None:  # fmt: skip
        """The page mapped at an address, with a reference taken under the page table lock, or None."""
        raise NotImplementedError

    @seam
    async def pin_user_pages(self, mm: AddressSpace, address: int, write: bool) -> Frame | int:
        """Pin the page at an address for DMA (FOLL_PIN): as `get_user_pages`; before v5.7 there is no difference."""
        raise NotImplementedError

    @seam
    async def unpin_user_page(self, page: Frame) -> None:
        """End a pin that `pin_user_pages` has made."""
        raise NotImplementedError

    # -- memory.py ---------------------------------------------------------------------------------------------

    @seam
    async def handle_mm_fault(self, mm: AddressSpace, vma: Vma, address: int, write: bool) -> int:
        """Make an access possible, or find that somebody else just did: VM_FAULT_ bits."""
        raise NotImplementedError

    @seam
    def swap_pte_same(self, mm: AddressSpace, address: int, slot: SwapSlot, page: Frame) -> bool:
        """Whether `page` may still be mapped: the entry names the same slot as before."""
        raise NotImplementedError

    @seam
    async def copy_page_range(self, mm: AddressSpace, oldmm: AddressSpace, vma: Vma) -> int:
        """Copy the entries of one vma: 0 or -ENOMEM."""
        raise NotImplementedError

    @seam
    async def zap_page_range(self, mm: AddressSpace, start: int, end: int, step: int) -> None:
        """Empty the entries in [start, end); the pages are put when the page table lock is free again."""
        raise NotImplementedError

    # -- rmap.py -----------------------------------------------------------------------------------------------

    @seam
    def anon_vma_prepare(self, vma: Vma) -> bool:
        """Give a vma its anon_vma before its first page; False: no memory."""
        raise NotImplementedError

    @seam
    async def anon_vma_clone(self, vma: Vma, source: Vma) -> bool:
        """Link a copy of a vma to all the anon_vmas of its source, under their root's lock; False: no memory."""
        raise NotImplementedError

    @seam
    async def anon_vma_fork(self, vma: Vma, parent: Vma) -> bool:
        """Link a child's vma to its parent's anon_vmas, and to one of its own for the pages it will get; False: no
        memory, nothing is linked."""
        raise NotImplementedError

    @seam
    async def unlink_anon_vmas(self, vma: Vma) -> None:
        """Take a vma that goes away out of its anon_vmas; the last one to leave drops their first reference."""
        raise NotImplementedError

    @seam
    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        """A new page gets its first mapping: it belongs to the vma's anon_vma from now on."""
        raise NotImplementedError

    @seam
    def page_add_anon_rmap(self, page: Frame, vma: Vma, address: int, *, exclusive: bool) -> None:
        """A page from the swap cache gets a mapping."""
        raise NotImplementedError

    @seam
    def page_move_anon_rmap(self, page: Frame, vma: Vma) -> None:
        """A locked page that only this vma maps belongs to its anon_vma from now on."""
        raise NotImplementedError

    @seam
    def page_remove_rmap(self, page: Frame) -> None:
        """A page loses a mapping; with the last one it is mlocked no more."""
        raise NotImplementedError

    @seam
    def page_address_in_vma(self, page: Frame, vma: Vma) -> int | None:
        """Where an ordinary anonymous page would be mapped in a vma, or None for "not here"."""
        raise NotImplementedError

    @seam
    async def rmap_walk(self, page: Frame, rmap_one: RmapOne, *, mapped: bool = True) -> None:
        """Call `rmap_one(vma, address)` for each place that may map the page, until one says True."""
        raise NotImplementedError

    @seam
    async def try_to_unmap(self, page: Frame, *, reclaim: bool = False) -> None:
        """Replace the entries that map the locked page: by swap entries if it is in the swap cache, else by migration
        entries (TTU_MIGRATION)."""
        raise NotImplementedError

    @seam
    async def page_referenced(self, page: Frame) -> int:
        """Through how many entries the locked page was accessed since somebody last asked; 0 if one of them is in a
        VM_LOCKED vma, so that reclaim goes on to unmap it and finds out."""
        raise NotImplementedError

    @seam
    async def page_check_address(self, page: Frame, mm: AddressSpace, address: int) -> Pte | None:
        """The entry at an address if it is present and maps `page`: then the page table lock is held on return."""
        raise NotImplementedError

    # -- mlock.py ----------------------------------------------------------------------------------------------

    @seam
    async def munlock_vma_pages_range(self, vma: Vma, start: int, end: int) -> None:
        """Clear VM_LOCKED and take the mark off the pages of a part of a vma that nothing else locks."""
        raise NotImplementedError

    @seam
    async def munlock_vma_page(self, page: Frame) -> None:
        """Take the mark off a locked page, unless another VM_LOCKED vma turns out to map it (try_to_munlock)."""
        raise NotImplementedError

    @seam
    async def mlock_if_locked(self, page: Frame, vma: Vma) -> bool:
        """Mark a page that was met in a VM_LOCKED vma, if that can be made sure: mmap_sem is tried only, since the page
        lock is held."""
        raise NotImplementedError

    # -- swap_state.py -----------------------------------------------------------------------------------------

    @seam
    async def add_to_swap(self, page: Frame) -> bool:
        """Give a locked page a slot and put it in the swap cache, dirty; False if the device is full."""
        raise NotImplementedError

    def forget_cached(self, page: Frame) -> SwapSlot:
        """__delete_from_swap_cache: out of the radix tree, flag and private cleared."""
        raise NotImplementedError

    @seam
    async def delete_from_swap_cache(self, page: Frame) -> None:
        """Take a locked page out of the swap cache; the caller has a reference of its own."""
        raise NotImplementedError

    @seam
    async def free_swap_cache(self, page: Frame) -> None:
        """The same for a page that has just lost a mapping, if it was the last and nobody holds the lock."""
        raise NotImplementedError

    @seam
    async def lookup_swap_cache(self, slot: SwapSlot) -> Frame | None:
        """The page that is cached for a slot, with a reference; spins while its references are frozen."""
        raise NotImplementedError

    @seam
    async def read_swap_cache(self, slot: SwapSlot, nid: int) -> Frame | None:
        """read_swap_cache_async and the end of its read: the page of a slot, with a reference."""
        raise NotImplementedError

    # -- swapfile.py -------------------------------------------------------------------------------------------

    @seam
    async def swap_duplicate(self, slot: SwapSlot) -> None:
        """One more entry names the slot."""
        raise NotImplementedError

    @seam
    async def swap_free(self, slot: SwapSlot) -> int:
        """An entry names the slot no more; the last one frees it, unless the cache needs it."""
        raise NotImplementedError

    def swap_count(self, slot: SwapSlot) -> int:
        """How many entries name the slot at this instant: a look at swap_map without swap_lock."""
        raise NotImplementedError

    @seam
    async def try_to_free_swap(self, page: Frame) -> bool:
        """Take a locked page out of the swap cache if no swap entry needs it there, nor a write under way."""
        raise NotImplementedError

    @seam
    async def swapcache_free(self, slot: SwapSlot) -> None:
        """The cache needs the slot no more (SWAP_HAS_CACHE is cleared)."""
        raise NotImplementedError

    @seam
    async def free_swap_and_cache(self, slot: SwapSlot) -> None:
        """A swap entry goes; if it was the last, its page leaves the cache."""
        raise NotImplementedError

    @seam
    async def reuse_swap_page(self, page: Frame) -> bool:
        """Whether a write fault may keep the locked page for itself: never a KSM page (v3.9)."""
        raise NotImplementedError

    # -- page_io.py --------------------------------------------------------------------------------------------

    @seam
    async def swap_readpage(self, page: Frame, slot: SwapSlot) -> None:
        """Read a locked page from the device and unlock it; after an error it is not uptodate."""
        raise NotImplementedError

    @seam
    async def swap_writepage(self, page: Frame) -> None:
        """Write a locked page, or start to, as the device does it; or free its slot if no entry needs it."""
        raise NotImplementedError

    @seam
    async def wait_on_page_writeback(self, page: Frame) -> None:
        """Wait until a page is not being written."""
        raise NotImplementedError

    # -- migrate.py --------------------------------------------------------------------------------------------

    def movable_frames(self, nid: int) -> list[Frame]:
        """The frames of a node that a compaction scan would try to isolate, by frame number."""
        raise NotImplementedError

    @seam
    async def migrate_pages(self, page: Frame, nid: int, *, exactly: bool = True) -> int:
        """Migrate an isolated page to a node, or unless `exactly` to the next that has room: 0, -ENOMEM, or -EAGAIN
        after ten passes."""
        raise NotImplementedError

    @seam
    def migration_entry_to_page(self, pte: Pte) -> Frame:
        """The page that a migration entry names."""
        raise NotImplementedError

    @seam
    async def migration_entry_wait(self, mm: AddressSpace, address: int) -> None:
        """Wait until the page that a migration entry names is unlocked (v3.9)."""
        raise NotImplementedError

    # -- vmscan.py ---------------------------------------------------------------------------------------------

    @seam
    async def isolate_lru_page(self, page: Frame) -> bool:
        """Take a page off the LRU with a reference; False if somebody else did."""
        raise NotImplementedError

    @seam
    async def putback_lru_page(self, page: Frame) -> None:
        """Give an isolated page back, by way of a pagevec, and drop the isolation's reference."""
        raise NotImplementedError

    # -- mmap.py -----------------------------------------------------------------------------------------------

    @part
    def insert_vma(self, vma: Vma) -> None:
        """Put a new vma into its address space. mmap_sem is held for write."""
        raise NotImplementedError

    @seam
    async def do_munmap(self, mm: AddressSpace, start: int, end: int) -> int:
        """munmap with mmap_sem held for write: split at the ends, detach, zap, leave the anon_vmas: 0 or -ENOMEM."""
        raise NotImplementedError

    def vmas_in(self, mm: AddressSpace, start: int, end: int) -> list[Vma]:
        """The vmas that have a part in [start, end), ascending."""
        raise NotImplementedError

    @seam
    async def split_vma(self, vma: Vma, address: int) -> Vma | None:
        """Split a vma in two at an address inside; returns the upper half, None for want of memory."""
        raise NotImplementedError

    @seam
    async def merge_vma(self, vma: Vma) -> None:
        """Join a vma with the neighbours it continues: same advice, policy, anon_vma and page indices."""
        raise NotImplementedError

    @seam
    async def exit_mmap(self, mm: AddressSpace) -> None:
        """Empty all entries and leave all anon_vmas."""
        raise NotImplementedError

    # -- fork.py -----------------------------------------------------------------------------------------------

    @seam
    def mmget(self, mm: AddressSpace) -> None:
        """One more user of the page tables (a second thread)."""
        raise NotImplementedError

    @seam
    async def mmput(self, mm: AddressSpace) -> None:
        """Drop a user; the last one tells KSM, tears the page tables down and drops the struct."""
        raise NotImplementedError
