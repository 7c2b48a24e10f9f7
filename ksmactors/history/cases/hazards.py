"""Cases of what v3.9 still had, found by reading (H0 to H8): not repaired upstream; `series` has repairs.

H6 is G2, which was repaired.
"""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

SINCE_6_1: Final = ("v6.1", "v6.12", "v6.18", "v7.3")
SINCE_6_12: Final = SINCE_6_1[1:]
"""The recorded kernels on which a defect was reproduced."""

HAZARDS: Final = (
    Case(
        name="H0",
        title="a moved KSM page loses its mappings where it meets an equal one",
        workload="litmus.collision_meets_migration",
        without=("ksm-into-ksm",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A KSM page moves to a node where an equal one is. ksmd comes to its mappings and takes each off its "
            "node, to merge it into the equal page. That never succeeds: the place where a KSM page is mapped in a "
            "vma is unknown. The mappings are counted as volatile, and reverse mapping does not find them: the "
            "page can be neither moved nor reclaimed. (On all kernels from v3.9 to v7.3: measured.)"
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="H1",
        title="a live stable node is freed: its page has been away and is back",
        workload="litmus.search_meets_migrations",
        without=("kpfn-aba",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=(
            "hlist/freed_live@free_stable_node",
            "happens_before/data_race@migrate_page_copy+stable_tree_walk",
        ),
        story=(
            "ksmd reads kpfn of a stable node. The page moves to another frame; ksmd finds that the old frame does "
            "not name the node. The page moves back into the old frame. ksmd reads kpfn again, finds the same number, "
            "and takes the node for a stale one: it frees a node that a living page names. (If ksmd looks at the old "
            "frame when the page is on its way back, the frame names the node already, and ksmd compares a page whose "
            "content has not been copied yet.)"
        ),
        confirmed=SINCE_6_1,
        script=(
            "ksmd > get_ksm_page.GK3",
            "migrationd/1 > migrate.lock x3",
            "ksmd > get_ksm_page.GK1",
            "migrationd/1 > end",
            "ksmd > end",
        ),
    ),
    Case(
        name="H2",
        title="ksmd walks an unstable tree of rmap_items that have been freed",
        workload="litmus.scan_meets_switch_back",
        without=("all-unstable-roots",),
        watcher="lifetime",
        kind="use_after_free_rmap_item",
        where="get_mergeable_page",
        story=(
            "With merge_across_nodes at 1 a scan starts with an empty unstable tree, but only that of node 0: the one "
            "of node 1 goes on naming the items of the last scan, some of which are freed. In the middle of the scan "
            "merge_across_nodes becomes 0, which is allowed, since nothing is shared. ksmd comes to a page of node 1."
        ),
        confirmed=SINCE_6_1,
        script=("ksmd > batch.mutex", "admin > end", "ksmd > end"),
    ),
    Case(
        name="H3",
        title="an rmap_item is erased from an unstable tree that it is not in, after a run=2 that failed",
        workload="litmus.scan_meets_failed_unmerge",
        without=("aborted-unmerge",),
        inject="alloc_page=1/6",
        draws={"inject.alloc_page": (5,)},
        watcher="structure",
        kind="rb_erase_of_nonmember",
        where="unstable_tree_erase",
        story=(
            "In the middle of a scan run becomes 2. There is no memory to give A pages of its own: unmerging gives "
            "up, puts the cursor back to the start, and does not count the scan. The next one has the same number, "
            "and starts with empty unstable trees. ksmd comes to an item that was put in the old tree: by the number "
            "it must be in the new one, and is erased from there."
        ),
        confirmed=SINCE_6_12,
        script=("unmerged/sysfs > end", "ksmd > end"),
    ),
    Case(
        name="H4",
        title="a fault that has seen run=1 maps a KSM page behind the back of run=2",
        workload="litmus.unmerge_meets_fault",
        without=("run-under-pte-lock", "break-swapped"),
        watcher="unmerge",
        kind="ksm_page_left",
        where="run_store",
        story=(
            "A touches a KSM page that is in the swap cache. The fault asks for run, which is 1, and may map the page "
            "as it is. run becomes 2; unmerging finds a swap entry at A's address and passes. The fault maps the KSM "
            "page, and when run=2 has succeeded A has it still. (The other half of H4, a fork that has seen run=1, "
            "cannot be: __ksm_enter reads run under ksm_mmlist_lock.)"
        ),
        confirmed=SINCE_6_1,
        script=("fault/A > swapin.relock", "unmerged/sysfs > blocked", "fault/A > end", "unmerged/sysfs > end"),
    ),
    Case(
        name="H4b",
        title="a KSM page comes back from swap to where ksmd may not merge any more",
        workload="litmus.advice_meets_reclaim",
        without=("copy-unless-mergeable", "break-swapped", "unshare-on-advice"),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A's KSM page goes to swap. A takes its advice back: nothing is present that could be unmerged. A touches "
            "the page while it is still in the swap cache, and has the KSM page again, where neither ksmd nor run=2 "
            "ever comes: reverse mapping will not find that mapping. (Three repairs, each of which prevents it, "
            "are off.)"
        ),
        confirmed=SINCE_6_1,
        script=("kswapd/0 > end", "thread/A > end"),
    ),
    Case(
        name="H5",
        title="a mapping is taken for merged because a new node has the address of a freed one",
        workload="litmus.freed_node_meets_write",
        without=("freed-head",),
        with_=("h5-node-reused",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A has written a page that it shared with B, and forked E. B writes, too: the stable node has lost its "
            "page, and is freed with A's rmap_item on its list, which goes on naming it. ksmd comes to E, makes a KSM "
            "page of the one that E shares with A, and gets the memory of the freed node for its node. At A it finds "
            "a page whose node is the one that A's item names, takes it for merged, and passes on, for ever."
        ),
        confirmed=SINCE_6_1,
        script=("thread/B > end", "ksmd > end"),
    ),
    Case(
        name="H7",
        title="a child is left with a KSM page without a node",
        workload="litmus.merge_meets_fork",
        without=("half-ksm",),
        watcher="rmap",
        kind="half_ksm_page",
        where="rmap_walk_ksm",
        also=("convergence/half_ksm_page@cmp_and_merge_page", "convergence/merged_for_ever@cmp_and_merge_page"),
        story=(
            "ksmd has made a KSM page of B's, which is to get its node last. B forks. The merge of A's page fails, "
            "since it is pinned, so B is given a copy and all is as before; but the child keeps a KSM page that no "
            "node knows. It can be neither moved nor reclaimed, and what is merged with it comes apart again."
        ),
        confirmed=SINCE_6_1,
        script=("ksmd > merge.mmap_sem x2", "fork/B > end", "ksmd > end"),
    ),
    Case(
        name="H7-oom",
        title="an out-of-memory failure leaves a process with a KSM page that has no stable node",
        workload="litmus.merge_meets_fork",
        without=("half-ksm",),
        watcher="rmap",
        kind="half_ksm_page",
        where="rmap_walk_ksm",
        inject="alloc_page=1/2",
        draws={"inject.alloc_page": (1,)},
        story=(
            "ksmd has made a KSM page of B's, which is to get its node last. The merge of A's page fails, since it is "
            "pinned, and B is to get a copy; but there is no memory for it. break_cow gives up, as it may, and B keeps "
            "a KSM page that no node knows."
        ),
        script=("ksmd > end", "fork/B > end"),
    ),
    Case(
        name="H8",
        title="mremap moves the swap entry of a KSM page to where no rmap_item is",
        workload="litmus.mremap_meets_reclaim",
        without=("break-swapped",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A's KSM page goes to swap. A moves the mapping: mremap unmerges first, finds nothing present, and moves "
            "the swap entry. A touches the page while it is still in the swap cache, and has the KSM page at an "
            "address of which KSM does not know: until ksmd comes past, reverse mapping does not find it."
        ),
        confirmed=SINCE_6_1,
        script=("kswapd/0 > end", "thread/A > end"),
    ),
    Case(
        name="unshare-on-advice",
        title="a fork's other half maps a KSM page that no rmap_item of its own names",
        workload="litmus.advice_meets_scan",
        without=("unshare-on-advice",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        confirmed=SINCE_6_1,
        story=(
            "A has two equal pages and forks B, which shares them. A takes its advice back; B's stays. ksmd comes to "
            "B, and makes a KSM page of one of the two where it is: A maps it, too, and is never visited, so that "
            "mapping gets no rmap_item. B's items lead to B's anon_vma, in which A is not. The page can be neither "
            "moved nor reclaimed nor taken offline, and merge_across_nodes stays busy when B has gone, after run=2 as "
            "well. It takes no privilege. (On all kernels from v3.9 on.)"
        ),
        script=("thread/A > end", "ksmd > end"),
    ),
    Case(
        name="lost-while-full",
        title="a moved KSM page with one mapping is lost where its equal has no room",
        workload="litmus.full_page_meets_migration",
        kernel="v6.12",
        repair=("moved-joins-chain",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        confirmed=SINCE_6_1,
        story=(
            "merge_across_nodes is 0. A KSM page with one mapping moves to a node where an equal one has reached "
            "max_page_sharing. ksmd takes its rmap_item off its node, finds nothing with room, and puts the item into "
            "the unstable tree, as it does in every scan from now on. The page cannot be moved, the knobs stay busy, "
            "and equal pages that find it in the unstable tree never merge. (On all kernels with max_page_sharing. The "
            "variant moved-joins-chain repairs it; no kernel does.)"
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
)
