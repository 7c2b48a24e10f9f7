"""Marked accesses (LKMM and KCSAN): intentional races, and the order that operations create.

This lists the operations that the kernel does with READ_ONCE (ACCESS_ONCE in v3.9), with atomics and flag bits, or
under a lock that is not emulated, by the name of the operation that passes the point. Every other access is plain, and
two unordered plain accesses are a race. Each entry gives its reason, since an entry too many hides races.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Order(Enum):
    """The order that a marked access creates: none; release of what its actor has done before; acquire of what was
    released at this field; or both."""

    NONE = 0
    RELEASE = 1
    ACQUIRE = 2
    BOTH = 3


MARKED: Final[dict[str, tuple[Order, str]]] = {
    # -- struct page
    "get": (Order.NONE, "get_page is an atomic increment that orders nothing"),
    "get_unless_zero": (Order.ACQUIRE, "a conditional atomic is a full barrier: after put and unfreeze"),
    "put": (Order.RELEASE, "put_page_testzero is a full barrier: the last put comes after all others"),
    "count": (Order.NONE, "page_count is a snapshot; migration allows for a stale value (C1)"),
    "freeze": (Order.BOTH, "a compare-and-swap under tree_lock"),
    "unfreeze": (Order.RELEASE, "smp_mb before the store: a later reference sees the page as it was before"),
    "free_frozen": (Order.RELEASE, "the frame goes back to the allocator"),
    "read_mapping": (Order.NONE, "ACCESS_ONCE of the keyhole reader: GK3, GK5 and GK6"),
    "page_stable_node": (Order.NONE, "ksmd's unlocked read; the result is looked up again through the keyhole"),
    "set_mapping": (Order.NONE, "the writes for these reads: W0, W5 and W8 under the page lock"),
    "in_swap_cache": (Order.NONE, "PageSwapCache tests one bit: the spin at GK4"),
    "clear_page_swap_cache": (Order.NONE, "W6 clears one bit, after the write barrier W4"),
    "remove_mapping": (Order.NONE, "clears the bit inside the freeze, under tree_lock"),
    "isolate_lru_page": (Order.BOTH, "zone->lru_lock"),
    "isolate_lru_pages": (Order.BOTH, "zone->lru_lock"),
    "putback_lru_page": (Order.BOTH, "zone->lru_lock, or the pagevec of this CPU"),
    "putback_inactive_page": (Order.BOTH, "zone->lru_lock"),
    "lru_add_drain_all": (Order.BOTH, "work queued on each CPU, and waited for"),
    "mlock_vma_page": (Order.NONE, "TestSetPageMlocked is an atomic on one bit"),
    "munlock_vma_page": (Order.NONE, "TestClearPageMlocked is an atomic on one bit"),
    "wait_on_page_writeback": (Order.NONE, "tests one bit, and waits for it"),
    "end_page_writeback": (Order.RELEASE, "it has a barrier: the page is freed after its writeback"),
    "wait_unlocked": (Order.NONE, "wait_on_page_locked tests one bit, and waits for it"),
    # -- page tables, as the CPU sees them
    "user_read": (Order.NONE, "the CPU walks the page table by itself; a TLB flush is part of every change"),
    "user_write": (
        Order.NONE,
        "as user_read; what ksmd's memcmp saw of it is compared again after the write-protection",
    ),
    "device_write": (Order.NONE, "DMA: as user_write; write protection checks for references first"),
    "device_read": (Order.NONE, "DMA: the device reads the current content"),
    "handle_mm_fault": (Order.NONE, "reads the entry without a lock, and compares under the lock (pte_same)"),
    # -- swap slots and allocation
    "swap_duplicate": (Order.BOTH, "swap_lock"),
    "swap_free": (Order.BOTH, "swap_lock"),
    "swapcache_free": (Order.BOTH, "swap_lock"),
    "page_swapcount": (Order.BOTH, "swap_lock"),
    "read_swap_cache": (Order.BOTH, "swapcache_prepare, under swap_lock"),
    "lookup_swap_cache": (Order.NONE, "a radix tree lookup under RCU, whose result is checked after the reference"),
    "alloc_page": (Order.BOTH, "zone->lock"),
    # -- mm/ksm.c
    "read_kpfn": (Order.ACQUIRE, "GK1 with its data dependency (GK2), and the re-read after the read barrier (GK7)"),
    "write_kpfn": (Order.RELEASE, "W3: the copy is visible before it (SetPageUptodate has a write barrier)"),
    "read_ksm_run": (Order.NONE, "a plain read that is repeated under ksm_thread_mutex"),
    "write_ksm_run": (Order.NONE, "under ksm_thread_mutex; readers without it check again"),
    "mm_list_empty": (Order.NONE, "list_empty before anything is locked: it may be wrong; the next check is not"),
    "knob_store": (Order.NONE, "a store of one word; ksmd takes whatever it reads"),
    # -- outside the kernel
    "send": (Order.RELEASE, "a request reaches its actor with all that was done before"),
    "receive": (Order.ACQUIRE, "acquires what send released"),
}
"""By the name of the operation: what it orders, and why it is no plain access."""

UNLOCKED: Final[dict[tuple[str, str], str]] = {
    ("sysfs_show", "*"): "reading a file of sysfs takes no lock: each value is one word, and old as soon as it is read",
    ("pages_volatile", "*"): "as sysfs_show, of several words: the kernel shows a negative number as 0 for that reason",
    ("ksm_migrate_page", "nid"): "only the event reads the node's tree here; the kernel does not",
}
"""By function and field ("*": any): accesses to declared fields of mm/ksm.c that take no lock, and why."""


_UNLOCKED_PLACES = frozenset(place for place, _ in UNLOCKED)


def may_be_unlocked(place: str, field: object) -> bool:
    """Whether a function may use an instrumented field without any lock."""
    return place in _UNLOCKED_PLACES and ((place, field) in UNLOCKED or (place, "*") in UNLOCKED)
