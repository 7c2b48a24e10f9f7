"""Cases of what followed the six commits (R1 to R7)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case
from ksmactors.history.cases.stable_check import BY_NODE, HOTPLUG

FOLLOW_UP: Final = (
    Case(
        name="R1-mremap",
        title="mremap moves a migration entry to where the end of the migration does not look",
        workload="litmus.mremap_meets_migration",
        without=("foll-migration",),
        watcher="migration",
        kind="stranded_entry",
        where="remove_migration_ptes",
        also=("structure/stranded_migration_entry@migration_entry_to_page",),
        story=(
            "A migration has put a migration entry in the place of A's mapping of a KSM page. A moves the mapping: "
            "mremap unmerges first, finds no page there, and moves the entry as it is. The migration looks for it at "
            "the address that the rmap_item has, and ends. An access to the mapping waits for a lock that no "
            "migration of the page holds."
        ),
        script=("migrationd/1 > migrate.W7", "thread/A > end", "migrationd/1 > end"),
    ),
    Case(
        name="R5'",
        title="ksmd works on the trees while memory goes offline",
        workload=HOTPLUG,
        params=BY_NODE,
        with_=("r5-nobody-waits",),
        watcher="lifetime",
        kind="use_after_free_frame",
        where="pfn_to_page",
        also=(
            "lifetime/use_after_free_stable_node@get_ksm_page",
            "lifetime/use_after_free_stable_node@ksm_check_stable_tree",
            "happens_before/data_race@remove_node_from_stable_tree+remove_rmap_item_from_tree",
        ),
        story=(
            "Memory has been taken away, and the stable trees are about to be checked. ksmd should wait for the end of "
            "that, but goes on, and comes to a stable node whose frame is gone. Or both are in the tree at once, and "
            "one of them frees the node that the other has come to."
        ),
        script=("hotplug > offline.check", "ksmd > end"),
    ),
    Case(
        name="R6",
        title="the tree of an rmap_item is read from where its anon_vma is",
        workload="litmus.first_merge_meets_migration",
        with_=("r6-anon-vma-before-removal",),
        watcher="structure",
        kind="union_misuse",
        where="unstable_tree_erase",
        story=(
            "Two equal pages are merged. The anon_vma of the item in the unstable tree is stored, over the number of "
            "its tree; then the item is to be removed from that tree."
        ),
        script=("ksmd > end", "migrationd/1 > end"),
    ),
    Case(
        name="R7",
        title="an rmap_item is erased from an unstable tree that never held it",
        workload="litmus.scan_meets_switch",
        kernel="v3.9",
        with_=("r7-root-left-behind",),
        watcher="structure",
        kind="rb_erase_of_nonmember",
        where="unstable_tree_erase",
        story=(
            "ksmd has put a page in the unstable tree. merge_across_nodes is switched for the first time: roots for "
            "all nodes are allocated, and the unstable tree's is left behind. The process has exited; ksmd, still in "
            "the same scan, erases its item from a tree that is empty. (On series an item that is in no tree is left "
            "alone: H3.)"
        ),
        script=("admin > end", "ksmd > end"),
    ),
)
