"""Cases of what was repaired after v3.9: in its own code (G), and in what came later (N)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

LATER: Final = (
    Case(
        name="G2",
        title="a merge takes a reference on the anon_vma of a vma that has none (H6)",
        workload="litmus.merge_meets_remap",
        without=("find-mergeable-vma",),
        watcher="lifetime",
        kind="null_dereference",
        where="try_to_merge_with_ksm_page",
        story=(
            "ksmd holds a KSM page that it has found in a forked child. The child unmaps the address and maps it "
            "again, without touching it. ksmd looks for a vma at the address, finds the new one, has nothing to merge "
            "since the page is the KSM page itself, and takes a reference on the vma's anon_vma. (v3.9's own; "
            "repaired in v4.4, 85c6e8dd2390, as a side effect.)"
        ),
        script=("ksmd > merge.mmap_sem", "thread/C > end", "ksmd > end"),
    ),
    Case(
        name="G3",
        title="a stale node ends a search, and the mapping at hand is lost (K3)",
        workload="litmus.search_meets_exit",
        without=("restart-on-stale",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A KSM page has moved to another node, and ksmd looks for its place in that node's tree. On the way it "
            "meets a stable node whose last process has just exited. That ends the search with nothing found; ksmd "
            "takes A's rmap_item off its node and puts it into the unstable tree. Until it comes past again reverse "
            "mapping does not find A's mapping; if the item does not get as far as the unstable tree, since its "
            "checksum is news, never (G10). (v3.9's own; repaired in v4.4, f2e5ff85ed8f.)"
        ),
        script=("ksmd > cmp_and_merge.CM1", "exit/C > end", "ksmd > end"),
    ),
    Case(
        name="G4",
        title="a merged page is dropped by reclaim as one that was never written",
        workload="litmus.merge_of_freed_meets_write",
        with_=("g4-clean-is-dropped",),
        watcher="shadow",
        kind="lost_write",
        where="user_read",
        story=(
            "A has said by MADV_FREE that it does not need its page, which has been cleaned for that. ksmd merges B's "
            "page, which is equal, into it. A writes, and gets a copy. Reclaim finds the page clean wherever it is "
            "mapped, and drops it instead of swapping it out; B, who has given up nothing, reads zeros. (No defect of "
            "v3.9, which has no MADV_FREE: the mutant brings the reclaim of v4.5. Repaired with it, in v4.5: see the "
            "variant page-dirtied.)"
        ),
        script=("ksmd > end", "thread/A > end"),
    ),
    Case(
        name="G5",
        title="ksmd releases a semaphore in an address space that has been freed (K2)",
        workload="litmus.scan_meets_exit",
        without=("mmap-sem-first",),
        watcher="lifetime",
        kind="use_after_free_mm",
        where="unlock_left_mm",
        story=(
            "ksmd leaves an address space in which it has found nothing (scan_get_next_rmap_item): it puts the cursor "
            "on the next slot, releases ksm_mmlist_lock, and is about to release mmap_sem. The process exits: the "
            "cursor is elsewhere and there is no rmap_item, so its slot goes at once, and the last hold on the address "
            "space with it. (v3.9's own; repaired in v4.7, 7496fea9a6bf.)"
        ),
        script=("ksmd > scan.up_read", "exit/A > end", "ksmd > end"),
    ),
    Case(
        name="G9",
        title="a warning about a page that an exiting process maps (K4)",
        workload="litmus.unmerge_meets_exit",
        without=("no-warning",),
        watcher="warning",
        kind="kernel_warning",
        where="remove_stable_node",
        story=(
            "A exits: its last user has gone, it has called ksm_exit, and its page tables still exist. run=2 frees A's "
            "rmap_items and leaves its page tables alone, since A is exiting; then it finds the page of a stable node "
            "mapped, and warns. (v3.9's own; repaired in v5.4, 9a63236f1ad8, by not warning.)"
        ),
        script=("exit/A > exit.exit_mmap", "unmerged/sysfs > end", "exit/A > end"),
    ),
    Case(
        name="G9-migration",
        title="a warning about a page that ksmd has passed over while it moved",
        workload="litmus.passing_meets_switch",
        without=("no-warning",),
        watcher="warning",
        kind="kernel_warning",
        where="remove_stable_node",
        story=(
            "B has written, so A alone maps a KSM page, which moves to another node. ksmd comes to A and finds a "
            "migration entry: nothing to look at there. It drops A's rmap_item, as for a page that has gone, and waits "
            "for the page lock to take it off its node. The migration ends, and A maps the page again: no rmap_item is "
            "left, and pages_shared is 0, so the write of merge_across_nodes goes on to remove the stable nodes, finds "
            "the page mapped, and warns. The next scan would have mended it. (v3.9's own; repaired as G9 is.)"
        ),
        script=("migrationd/1 > migrate.W2", "ksmd > end", "migrationd/1 > end", "ksmd > end", "admin > end"),
    ),
    Case(
        name="G10",
        title="a mapping is taken for merged because of the node it was on once (K1)",
        workload="litmus.collision_meets_exit",
        without=("head-cleared", "freed-head", "ksm-into-ksm"),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A KSM page has moved to a node where an equal one is. ksmd comes to A: the mapping is taken off its "
            "node, and cannot be merged into the equal page (H0). C, the last to map that one, exits. ksmd comes to "
            "B: the moved node gets its place. When it comes to A again the rmap_item still names the node, so it "
            "passes for one that is on its list, for ever. (v3.9's own; repaired in v5.13, c89a384e2551. Off are that "
            "repair, ours of H5, which does the same, and that of H0, which is how the mapping leaves its node.)"
        ),
        script=("ksmd > end", "exit/C > end"),
    ),
    Case(
        name="G11",
        title="an anon_vma that has been freed is asked for its root (K6)",
        workload="litmus.swap_in_meets_exit",
        with_=("g11-root-first",),
        watcher="lifetime",
        kind="use_after_free_anon_vma",
        where="may_be_mapped_as_it_is",
        story=(
            "A KSM page has been to swap; A has brought it back as a page of its own, which stays in the swap cache "
            "for B's entry. A exits, and the anon_vma that the page names goes with it. B touches its entry, finds "
            "the page in the cache, and asks whether it belongs to B (ksm_might_need_to_copy): it reads the root of a "
            "freed anon_vma. (v3.9's own, and harmless there, since whatever is read there is not B's; the emulated "
            "kernel does not look. Changed in v5.18, e1c63e110f97.)"
        ),
        script=("exit/A > end", "fault/B > end"),
    ),
    Case(
        name="N2",
        title="a moved node is put on a chain that has just been freed",
        workload="litmus.chain_meets_exit",
        kernel="v6.12",
        with_=("n2-collapsed-chain-kept",),
        watcher="lifetime",
        kind="use_after_free_stable_node",
        where="stable_node_chain_add_dup",
        story=(
            "Two equal KSM pages of a node stand in a chain; an equal one has moved there. F, the last to map one of "
            "the two, exits. ksmd looks for a place for the moved page, comes to the chain, frees the stale dup, and "
            "puts the other one in the place of the chain, which is freed. Then it adds the moved node to the chain. "
            "(Repaired in v4.13, the release that brought chains.)"
        ),
        script=("exit/F > end", "ksmd > end"),
    ),
    Case(
        name="N3",
        title="a vma is looked up, and used, without mmap_sem",
        workload="litmus.zero_page_meets_munmap",
        kernel="v6.1",
        with_=("n3-vma-unlocked",),
        watcher="happens_before",
        kind="data_race",
        where="find_mergeable_vma+split_vma",
        also=(
            "happens_before/data_race@do_munmap+find_mergeable_vma",
            "lifetime/use_after_free_vma@page_address_in_vma",
        ),
        story=(
            "ksmd has come to a page of zeros, and looks for the vma that it is in without taking mmap_sem. The "
            "process unmaps it at the same time: the vma is gone when ksmd merges the page in it. (In v4.12, when "
            "use_zero_pages was new; repaired in v4.14.)"
        ),
        script=("ksmd > merge.trylock", "thread/A > end", "ksmd > end"),
    ),
    Case(
        name="N7",
        title="an rmap_item is unlinked while reclaim walks the list that it is on",
        workload="litmus.removal_meets_reclaim",
        with_=("s3b-removal-unlocked",),
        watcher="hlist",
        kind="changed_unlocked",
        where="remove_rmap_item_from_tree",
        also=("lifetime/use_after_free_rmap_item@rmap_walk_ksm",),
        story=(
            "Reclaim has locked a KSM page and walks the list of its rmap_items. ksmd comes past a mapping that is "
            "gone, and takes its item off the list and frees it without the page lock: the walker comes to a freed "
            "item. (As S3b, with reclaim in the place of migration: v5.13-rc1 removed the lock as superfluous, "
            "3e96b6a2e9ad; 628622904b8d brought it back.)"
        ),
        script=("kswapd/0 > rmap_walk.item", "ksmd > end", "kswapd/0 > end"),
    ),
    Case(
        name="N8",
        title="unmerging walks vmas that exit is tearing down",
        workload="litmus.unmerge_meets_exit",
        with_=("n8-vma-before-exit",),
        watcher="happens_before",
        kind="data_race",
        where="exit_mmap+unmerge_and_remove_all_rmap_items",
        story=(
            "run=2 is about to lock A's mmap_sem. A exits: the cursor is at its slot, so it waits only for actors that "
            "hold the lock already, and tears its vmas down. run=2 gets the lock, and looks for A's first vma before "
            "it asks whether A's last user has gone. (v3.9 asks first; later kernels came to it the other way round, "
            "until 6db504ce55bd in v6.3-rc4.)"
        ),
        script=("unmerged/sysfs > unmerge.mmap_sem", "exit/A > end", "unmerged/sysfs > end"),
    ),
    Case(
        name="N9",
        title="a stable node is freed that its page names already",
        workload="litmus.chain_meets_reclaim",
        kernel="v6.1",
        with_=("n9-named-before-chain",),
        inject="alloc_stable_node_chain=1/2",
        draws={"inject.alloc_stable_node_chain": (1,)},
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=("lifetime/use_after_free_stable_node@rmap_walk_ksm",),
        story=(
            "ksmd makes a second KSM page of one content, since the first one has all the mappings that it may have. "
            "The page names its new node; then there is no memory for the chain that both nodes need, and the new one "
            "is freed. Reclaim looks at the page, and goes to its node. (Repaired in v6.10, 90e823498881.)"
        ),
        script=("ksmd > end", "kswapd/0 > end"),
    ),
    Case(
        name="N16",
        title="control: an rmap_item and the anon_vma of a process that exits",
        workload="litmus.removal_meets_exit",
        story=(
            "ksmd takes the rmap_item of a page that A has unmapped off its node, and is about to drop the item's "
            "hold on A's anon_vma. A exits at the same time, and its vmas leave the anon_vma. A patch of 2015, which "
            "was not taken, meant that the item could be left with an anon_vma that is gone."
        ),
        script=("ksmd > remove_rmap_item.unlock", "exit/A > blocked", "ksmd > end", "exit/A > end"),
        silent_because=(
            "an item on a node holds a reference on its anon_vma, so the vmas may go first; and the page tables do "
            "not go while ksmd is in them: exit cycles mmap_sem, and who takes it later sees that the last user has "
            "gone"
        ),
    ),
)
