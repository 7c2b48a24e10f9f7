"""Each commit as a whole, undone: what is found without it; where nothing is found, a control.

The smaller things that could be wrong with each are the mutants of the other modules.
"""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

HOTPLUG: Final = "litmus.scan_meets_hotplug"
SEARCH: Final = "litmus.search_meets_migration"
FIRST_MERGE: Final = "litmus.first_merge_meets_migration"
BY_NODE: Final = {"merge_across_nodes": "0"}

OF_THE_SERIES: Final = (
    Case(
        name="S1a",
        title="control: a stable node is linked into its tree before it is filled",
        workload=FIRST_MERGE,
        without=("trivial-tidyups",),
        story=(
            "ksmd has merged two pages, and has linked the new stable node into its tree with nothing in it yet. A "
            "migration wants to move the page."
        ),
        script=("ksmd > insert.mapping", "migrationd/1 > blocked", "ksmd > end", "migrationd/1 > end"),
        silent_because=(
            "ksmd holds the page lock, on which the migration waits, and ksm_thread_mutex, on which all wait who would "
            "walk the tree; memory hot-remove, which walks it without, has shut ksmd out"
        ),
        headline=True,
    ),
    Case(
        name="S2c",
        title="the check of the stable trees starts again from the first tree for each node that it removes",
        workload=HOTPLUG,
        params=BY_NODE,
        without=("reorganize-check-stable-tree",),
        watcher="wasted_work",
        kind="tree_revisited",
        where="ksm_check_stable_tree",
        story=(
            "Three KSM pages of node 1 have been freed, their stable nodes not yet pruned. Node 1 goes offline. For "
            "each of the three the check begins with the tree of node 0, where nothing has changed. It costs time, and "
            "nothing else."
        ),
        script=("hotplug > end", "ksmd > end"),
        headline=True,
    ),
    Case(
        name="S3",
        title="ksmd waits for the lock of a KSM page and gets that of the frame it has left",
        workload=SEARCH,
        without=("get-ksm-page-locked",),
        watcher="lifetime",
        kind="null_dereference",
        where="stable_tree_append",
        also=("hlist/changed_unlocked@remove_rmap_item_from_tree",),
        story=(
            "A migration has counted the references of a KSM page and holds its lock. ksmd has found the page equal to "
            "the one in hand, takes a reference by way of the node, and waits for the lock. The migration ends: the "
            "node has another page. ksmd gets the lock, does not look what it has locked, merges the page in hand into "
            "the frame left behind, and asks that for its node: there is none. Or it takes a mapping off the node "
            "under that lock, while another actor, with the right lock, walks the list."
        ),
        script=(
            "ksmd > search.second_look",
            "migrationd/1 > migrate.W2",
            "ksmd > blocked",
            "migrationd/1 > end",
            "ksmd > end",
        ),
        headline=True,
    ),
    Case(
        name="S4",
        title="a stable node outlives run=2 and the rule by which it was put into its tree",
        workload="litmus.unmerge_meets_reclaim",
        without=("remove-old-stable-nodes", "break-swapped"),  # ours, which brings back what is in the swap cache
        watcher="unmerge",
        kind="node_left",
        where="run_store",
        story=(
            "A KSM page has been unmapped and is being written to swap. run=2 finds nothing mapped, frees the "
            "rmap_items, and is done: the stable node stays in its tree. merge_across_nodes can be changed, since "
            "pages_shared is 0; from then on the node is in a tree where it does not belong."
        ),
        script=("kswapd/0 > end", "unmerged/sysfs > end"),
        headline=True,
    ),
    Case(
        name="S5",
        title="the stable node of a page that is being migrated is freed",
        workload="litmus.scan_meets_migration",
        without=("ksm-page-migration",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=("lifetime/null_dereference@stable_tree_append", "hlist/freed_live@free_stable_node"),
        story=(
            "ksmd reads kpfn of a stable node; a migration makes another frame the node's page; ksmd finds that the "
            "old frame does not name the node and frees it, although the new one does. Or ksmd finds the page equal to "
            "the one in hand when a migration has counted its references already, and merges into the frame that is "
            "left behind."
        ),
        script=("ksmd > get_ksm_page.GK3", "migrationd/1 > end", "ksmd > end"),
        headline=True,
    ),
    Case(
        name="S6",
        title="a page is merged into a KSM page that has moved to another node, although merge_across_nodes is 0",
        workload="litmus.moved_page_is_met",
        without=("merge-across-nodes-migration",),
        watcher="locality",
        kind="merged_across_nodes",
        where="replace_page",
        also=("structure/rb_erase_of_nonmember@stable_tree_erase",),
        story=(
            "A KSM page moves from node 0 to node 1; its stable node stays in the tree of node 0. "
            "ksmd comes to an equal page on node 0, finds the node in that node's tree, and maps the page of node 1. "
            "When the page is freed, the node is erased from the tree of node 1, in which it is not."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
        headline=True,
    ),
)

AFTERWARDS: Final = (
    Case(
        name="R4",
        title="control: KSM pages do not migrate",
        workload=SEARCH,
        without=("enable-ksm-page-migration",),
        story="ksmd has found a KSM page equal to the one in hand when a migration of it is tried, and refused.",
        script=("ksmd > search.second_look", "migrationd/1 > end", "ksmd > end"),
        silent_because="a page that stays where it is does no harm, but to those who want its place for something else",
    ),
    Case(
        name="R5",
        title="memory hot-remove takes ksm_thread_mutex and the notifiers' semaphore in both orders",
        workload=HOTPLUG,
        params=BY_NODE,
        without=("stop-hotremove-lockdep-warning",),
        watcher="lock_order",
        kind="lock_order_cycle",
        where="ksm_memory_callback",
        story=(
            "Memory is going offline: KSM is notified with the semaphore of the notifier chain held, and takes "
            "ksm_thread_mutex. When the memory has gone it is notified again, with the semaphore taken inside of the "
            "mutex. This lock order cycle never deadlocks, since the lock of memory hotplug is held around it; but "
            "lockdep reports it, and then no other cycle any more."
        ),
        script=("hotplug > end", "ksmd > end"),
    ),
    Case(
        name="R3",
        title="a search of the unstable tree is given up because of a page that is not even equal",
        workload="litmus.unstable_meets_migration",
        params=BY_NODE,
        without=("treat-unstable-nid",),
        watcher="wasted_work",
        kind="search_given_up",
        where="unstable_tree_search_insert",
        story=(
            "A page is in the unstable tree of node 0, and moves to node 1. ksmd comes to another page of node 0, "
            "whose place lies behind it. It finds that the first page has moved, and gives up: the page in hand is not "
            "inserted, and no equal page finds it in this scan."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="D2",
        title="control: an rmap_item has a field each for its unstable tree and its anon_vma",
        workload=FIRST_MERGE,
        without=("shrink-rmap-item",),
        story="Two equal pages are merged. The item in the unstable tree gets its anon_vma, then leaves the tree.",
        script=("ksmd > end", "migrationd/1 > end"),
        silent_because="neither of two fields is overwritten by the other; only memory is saved by having one (R6)",
    ),
    Case(
        name="R1",
        title="a KSM page survives run=2 because it was under migration when its turn came",
        workload="litmus.unmerge_meets_migration",
        without=("foll-migration",),
        watcher="unmerge",
        kind="ksm_page_left",
        where="run_store",
        story=(
            "A migration has put migration entries in the place of all mappings of a KSM page. run=2 comes to A, finds "
            "no page at its address, and waits for the lock of the page to take A's rmap_item off its node. The "
            "migration puts the page back and gives up its lock; the rmap_item is freed, and A is not visited again: "
            "a KSM page after run=2, and nothing that leads to where it is mapped."
        ),
        script=("migrationd/1 > migrate.W2", "unmerged/sysfs > end", "migrationd/1 > end"),
    ),
    Case(
        name="R2",
        title="swapoff maps a KSM page that has been unmerged",
        workload="litmus.unmerge_meets_swapoff",
        kernel="v3.9",  # `series` unmerges what is in the swap cache, too
        without=("swapoff-might-need-to-copy",),
        watcher="rmap",
        kind="half_ksm_page",
        where="rmap_walk_ksm",
        also=("warning/kernel_warning@remove_stable_node",),
        story=(
            "A KSM page is in the swap cache and mapped nowhere. run=2 frees its rmap_items and its stable node. "
            "swapoff finds the page in the cache and maps it, as it is, wherever a swap entry names it: a KSM page "
            "without a node, which reverse mapping finds in none of these places. Or swapoff maps it behind the back "
            "of run=2, which then finds its page still mapped, and warns."
        ),
        script=("unmerged/sysfs > end", "swapoff > end"),
    ),
    Case(
        name="D8",
        title="control: in do_swap_page, swapcache names a page only if there is a copy of it",
        workload="litmus.unmerge_meets_fault",
        kernel="v3.9",  # on `series` run=2 copies the page before the fault does
        without=("cleanup-swapcache",),
        story="A page is in the swap cache, and run=2 is under way when its process touches it: the fault copies it.",
        script=("unmerged/sysfs > unmerge.mmap_sem of sem of B", "fault/A > end", "unmerged/sysfs > end"),
        silent_because="both ways to write the function do the same",
    ),
    Case(
        name="D1",
        title="control: there are tree roots for all nodes from the start",
        workload="litmus.scan_meets_switch",
        kernel="v3.9",  # on `series` no item of a tree that is out of use is erased
        without=("allocate-roots",),
        story=(
            "A page is in the unstable tree when merge_across_nodes is changed for the first time; its process has "
            "exited, and ksmd comes to take it out of the tree."
        ),
        script=("admin > end", "ksmd > end"),
        silent_because="the trees are where they were before the change",
    ),
)
