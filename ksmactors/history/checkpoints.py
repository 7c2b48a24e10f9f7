"""Places in the code by name, for directed schedules: an actor that is there is *about to* do what the name says.

The names are a function of the kernel and the step in it, as `ksmactors docs protocol` numbers them:
at `get_ksm_page.GK3` an actor has done GK1 and is about to do GK3.
"""

from __future__ import annotations

from typing import Final

from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock
from ksmactors.interleave.strategies.directed import Checkpoint
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot, StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame

KEYHOLE: Final = {
    "get_ksm_page.GK1": Checkpoint(READ, StableNode, "kpfn", "get_ksm_page"),
    "get_ksm_page.GK3": Checkpoint(READ, Frame, "mapping", "get_ksm_page"),  # GK5 and GK6 are its second and third time
    "get_ksm_page.GK4": Checkpoint(WRITE, Frame, "refcount", "get_ksm_page"),
    "get_ksm_page.stale": Checkpoint(READ, StableNode, "kpfn", "page_has_moved"),
    "get_ksm_page.spin": Checkpoint(READ, Frame, "swap_cache", "get_ksm_page"),
    "get_ksm_page.lock": Checkpoint(ACQUIRE, Frame, "", "get_ksm_page"),
    "get_ksm_page.unlock": Checkpoint(RELEASE, Frame, "", "get_ksm_page"),
    "remove_node_from_stable_tree": Checkpoint(WRITE, None, None, "remove_node_from_stable_tree"),
    "remove_rmap_item.hlist_del": Checkpoint(WRITE, StableNode, "hlist", "remove_rmap_item_from_tree"),
    "remove_rmap_item.unlock": Checkpoint(RELEASE, Frame, "", "remove_rmap_item_from_tree"),
}

MIGRATION: Final = {
    "migrate.lock": Checkpoint(ACQUIRE, Frame, "", "unmap_and_move"),
    "migrate.unmap": Checkpoint(WRITE, AddressSpace, None, "try_to_unmap_one"),
    "migrate.C1": Checkpoint(READ, Frame, "refcount", "migrate_page_move_mapping"),
    "migrate.W0": Checkpoint(WRITE, Frame, "mapping", "move_to_new_page"),  # W8 is its second time
    "migrate.freeze": Checkpoint(WRITE, Frame, "refcount", "migrate_page_move_mapping"),
    "migrate.content": Checkpoint(READ, Frame, "content", "migrate_page_copy"),
    "migrate.W2": Checkpoint(WRITE, Frame, "content", "migrate_page_copy"),
    "migrate.W3": Checkpoint(WRITE, StableNode, "kpfn", "ksm_migrate_page"),
    "migrate.W5": Checkpoint(WRITE, Frame, "mapping", "ksm_migrate_page"),
    "migrate.W6": Checkpoint(WRITE, Frame, "swap_cache", "clear_page_swap_cache"),
    "migrate.restore": Checkpoint(ACQUIRE, RwSem, None, "remove_migration_ptes"),
    "migrate.W7": Checkpoint(WRITE, AddressSpace, None, "remove_migration_pte"),
    "migrate.unlock": Checkpoint(RELEASE, Frame, "", "unmap_and_move"),
}

SCAN: Final = {
    "scan.mmap_sem": Checkpoint(ACQUIRE, RwSem, None, "scan_get_next_rmap_item"),
    "scan.page": Checkpoint(ACQUIRE, SpinLock, None, "follow_page"),
    "scan.SC1": Checkpoint(READ, MmSlot, None, "scan_get_next_rmap_item"),
    "scan.leave_mm": Checkpoint(ACQUIRE, SpinLock, None, "leave_mm"),
    "scan.up_read": Checkpoint(RELEASE, RwSem, None, "leave_mm"),
    "cmp_and_merge.CM1": Checkpoint(READ, Frame, "mapping", "cmp_and_merge_page"),
    "search.content": Checkpoint(READ, Frame, "content", "stable_tree_search"),
    "search.second_look": Checkpoint(READ, StableNode, "kpfn", "second_look"),
    "search.link": Checkpoint(WRITE, ContentTree, None, "stable_tree_search"),
    "search.second_unlock": Checkpoint(RELEASE, Frame, "", "second_look"),
    "search.unlock": Checkpoint(RELEASE, Frame, "", "stable_tree_search"),
    "insert.content": Checkpoint(READ, Frame, "content", "stable_tree_insert"),
    "insert.GK4": Checkpoint(WRITE, Frame, "refcount", "stable_tree_insert"),
    "insert.mapping": Checkpoint(WRITE, Frame, "mapping", "stable_tree_insert"),
    "insert.link": Checkpoint(WRITE, ContentTree, None, "stable_tree_insert"),
    "unstable.content": Checkpoint(READ, Frame, "content", "unstable_tree_search_insert"),
    "scan.SC2d": Checkpoint(ACQUIRE, SpinLock, None, "start_scan"),
    "merge.mmap_sem": Checkpoint(ACQUIRE, RwSem, None, "try_to_merge_with_ksm_page"),
    "merge.trylock": Checkpoint(ACQUIRE, Frame, "", "try_to_merge_one_page"),
    "merge.write_protect": Checkpoint(WRITE, AddressSpace, None, "write_protect_page"),
    "merge.count": Checkpoint(READ, Frame, "refcount", "write_protect_page"),
    "merge.compare": Checkpoint(READ, Frame, "content", "try_to_merge_one_page"),
    "merge.replace": Checkpoint(ACQUIRE, SpinLock, None, "replace_page_at"),
    "append.lock": Checkpoint(ACQUIRE, Frame, "", "append_to_page"),
    "append": Checkpoint(WRITE, StableNode, "hlist", "stable_tree_append"),
}

NEIGHBOURS: Final = {
    "exit.spinlock": Checkpoint(ACQUIRE, SpinLock, None, "ksm_exit"),
    "enter.spinlock": Checkpoint(ACQUIRE, SpinLock, None, "ksm_enter"),
    "exit.mmap_sem": Checkpoint(ACQUIRE, RwSem, None, "ksm_exit"),
    "exit.exit_mmap": Checkpoint(None, None, None, "exit_mmap"),
    "fork.copy": Checkpoint(WRITE, AddressSpace, None, "dup_mmap"),
    "guest.map": Checkpoint(ACQUIRE, SpinLock, None, "direct_map"),
    "wp.relock": Checkpoint(ACQUIRE, SpinLock, None, "do_wp_page"),
    "wp.set": Checkpoint(WRITE, AddressSpace, None, "do_wp_page"),
    "swapin.lock": Checkpoint(ACQUIRE, Frame, "", "do_swap_page"),
    "swapin.copy": Checkpoint(READ, Frame, "mapping", "ksm_might_need_to_copy"),
    "swapin.relock": Checkpoint(ACQUIRE, SpinLock, None, "do_swap_page"),
    "rmap_walk.item": Checkpoint(ACQUIRE, RwSem, None, "rmap_walk_ksm"),
    "run_store.run": Checkpoint(WRITE, Ksm, "ksm_run", "run_store"),
    "batch.mutex": Checkpoint(ACQUIRE, Mutex, None, "batch"),
    "knob.mutex": Checkpoint(ACQUIRE, Mutex, None, "sysfs_store"),
    "unmerge.page": Checkpoint(ACQUIRE, SpinLock, None, "unmerge_ksm_pages"),
    "unmerge.mmap_sem": Checkpoint(ACQUIRE, RwSem, None, "unmerge_and_remove_all_rmap_items"),
    "remove_all_stable_nodes": Checkpoint(READ, StableNode, "kpfn", "remove_all_stable_nodes"),
    "offline.bit": Checkpoint(WRITE, Ksm, "ksm_run", "ksm_memory_callback"),
    "offline.check": Checkpoint(READ, StableNode, "kpfn", "ksm_check_stable_tree"),
    "writeback.end": Checkpoint(WRITE, Frame, "writeback", "end_page_writeback"),
    "reclaim.unmap": Checkpoint(WRITE, AddressSpace, None, "try_to_unmap_one"),
    "reclaim.freeze": Checkpoint(WRITE, Frame, "refcount", "remove_mapping"),
}

CHECKPOINTS: Final[dict[str, Checkpoint]] = {**KEYHOLE, **MIGRATION, **SCAN, **NEIGHBOURS}
"""All of them."""
