"""Marked accesses (LKMM and KCSAN): intentional races, and the order that operations create.

This lists the operations that the kernel does with READ_ONCE (ACCESS_ONCE in v3.9), with atomics and flag bits, or
under a lock that is not emulated, by the name of the operation that passes the point. Every other access is plain, and
two unordered plain accesses are a race. Each entry gives its reason, since an entry too many hides races.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Ordering(Enum):
    """What an access does besides not being a race: nothing, or it hands over what its actor has done before, or takes
    what was handed over at this field, or both."""

    NONE = 0
    RELEASE = 1
    ACQUIRE = 2
    BOTH = 3


MARKED: Final[dict[str, tuple[Ordering, str]]] = {
    # -- struct page
    "get": (Ordering.NONE, "get_page is an atomic increment that orders nothing"),
    "get_unless_zero": (Ordering.ACQUIRE, "a conditional atomic is a full barrier: after put and unfreeze"),
    "put": (Ordering.RELEASE, "put_page_testzero is a full barrier: who drops the last one comes after all others"),
    "count": (Ordering.NONE, "page_count is an instant's reading; migration knows that it can be wrong at once (C1)"),
    "freeze": (Ordering.BOTH, "a compare-and-swap under tree_lock"),
    "unfreeze": (Ordering.RELEASE, "smp_mb before the store: who gets a reference sees the page as it was left"),
    "free_frozen": (Ordering.RELEASE, "the frame goes back to the allocator"),
    "read_mapping": (Ordering.NONE, "ACCESS_ONCE of the keyhole reader: GK3, GK5 and GK6"),
    "page_stable_node": (Ordering.NONE, "ksmd's unlocked look; what it finds is looked up again through the keyhole"),
    "set_mapping": (Ordering.NONE, "the other side of these looks: W0, W5 and W8 under the page lock"),
    "in_swap_cache": (Ordering.NONE, "PageSwapCache tests one bit: the spin at GK4"),
    "clear_page_swap_cache": (Ordering.NONE, "W6 clears one bit, after the write barrier W4"),
    "remove_mapping": (Ordering.NONE, "clears the bit inside the freeze, under tree_lock"),
    "isolate_lru_page": (Ordering.BOTH, "zone->lru_lock"),
    "isolate_lru_pages": (Ordering.BOTH, "zone->lru_lock"),
    "putback_lru_page": (Ordering.BOTH, "zone->lru_lock, or the pagevec of this CPU"),
    "putback_inactive_page": (Ordering.BOTH, "zone->lru_lock"),
    "lru_add_drain_all": (Ordering.BOTH, "work queued on each CPU, and waited for"),
    "mlock_vma_page": (Ordering.NONE, "TestSetPageMlocked is an atomic on one bit"),
    "munlock_vma_page": (Ordering.NONE, "TestClearPageMlocked is an atomic on one bit"),
    "test_set_page_hwpoison": (Ordering.NONE, "TestSetPageHWPoison is an atomic on one bit"),
    "wait_on_page_writeback": (Ordering.NONE, "tests one bit, and waits for it"),
    "end_page_writeback": (Ordering.RELEASE, "it has a barrier: the page is freed after its writeback"),
    "wait_unlocked": (Ordering.NONE, "wait_on_page_locked tests one bit, and waits for it"),
    # -- page tables, as the CPU sees them
    "user_read": (Ordering.NONE, "the CPU walks the page table by itself; a TLB flush is part of every change"),
    "user_write": (
        Ordering.NONE,
        "as user_read; what ksmd's memcmp saw of it is compared again after the write-protection",
    ),
    "device_write": (Ordering.NONE, "DMA: as user_write, and references are checked before a page is write-protected"),
    "device_read": (Ordering.NONE, "DMA: the device sees what is there"),
    "guest_read": (Ordering.NONE, "as user_read: the processor walks the secondary page table by itself"),
    "guest_write": (Ordering.NONE, "as user_write: KVM flushes remote TLBs before it answers an invalidation"),
    "read_notifier_seq": (Ordering.ACQUIRE, "mmu_notifier_seq is read before the page is looked up (smp_rmb)"),
    "handle_mm_fault": (Ordering.NONE, "reads the entry without a lock, and compares under the lock (pte_same)"),
    # -- swap slots and allocation
    "swap_duplicate": (Ordering.BOTH, "swap_lock"),
    "swap_free": (Ordering.BOTH, "swap_lock"),
    "swapcache_prepare": (Ordering.BOTH, "swap_lock"),
    "swapcache_free": (Ordering.BOTH, "swap_lock"),
    "page_swapcount": (Ordering.BOTH, "swap_lock"),
    "read_swap_cache": (Ordering.BOTH, "swapcache_prepare, under swap_lock"),
    "lookup_swap_cache": (Ordering.NONE, "a radix tree lookup under RCU, whose result is checked after the reference"),
    "alloc_page": (Ordering.BOTH, "zone->lock"),
    # -- mm/ksm.c
    "read_kpfn": (Ordering.ACQUIRE, "GK1 with its data dependency (GK2), and the re-read after the read barrier (GK7)"),
    "write_kpfn": (Ordering.RELEASE, "W3: the copy is visible before it (SetPageUptodate has a write barrier)"),
    "read_ksm_run": (Ordering.NONE, "a plain read that is repeated under ksm_thread_mutex"),
    "write_ksm_run": (Ordering.NONE, "under ksm_thread_mutex; readers without it look again"),
    "mm_list_empty": (Ordering.NONE, "list_empty before anything is locked: it may be wrong, and the next look is not"),
    "knob_store": (Ordering.NONE, "a store of one word; ksmd takes whatever it reads"),
    # -- what is no part of the kernel
    "send": (Ordering.RELEASE, "a request reaches its actor with all that was done before"),
    "receive": (Ordering.ACQUIRE, "the other side of send"),
}
"""By the name of the operation: what it orders, and why it is no plain access."""

UNLOCKED: Final[dict[tuple[str, str], str]] = {
    ("sysfs_show", "*"): "reading a file of sysfs takes no lock: each value is one word, and old as soon as it is read",
    ("pages_volatile", "*"): "as sysfs_show, of several words: the kernel shows a negative number as 0 for that reason",
    ("ksm_migrate_page", "nid"): "only the event reads the node's tree here; the kernel does not",
}
"""By function and field ("*": any): accesses to declared fields of mm/ksm.c that take no lock, and why."""

UNLOCKED_PLACES: Final = frozenset(place for place, _ in UNLOCKED)
"""The functions among these."""


def may_be_unlocked(place: str, field: object) -> bool:
    """Whether a function may use an instrumented field without any lock."""
    return (place, field) in UNLOCKED or (place, "*") in UNLOCKED
