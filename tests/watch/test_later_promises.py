"""What only later kernels promise: a kernel that breaks it is found by a litmus test or workload, and early."""

from __future__ import annotations

import pytest

import ksmactors
from tests.helpers import broken_later as broken

ROWS = (
    (broken.KeepsExclusiveMark, "litmus.merge_meets_fork", "writable/exclusive@copy_one_pte"),
    (broken.KeepsExclusiveMark, "fork_storm", "writable/exclusive@try_to_merge_with_ksm_page"),
    (broken.CountsNoItemOff, "fork_storm", "counters/wrong_ksm_rmap_items@mutex_unlock"),
    (broken.CountsNoMappingOff, "fork_storm", "counters/wrong_ksm_merging_pages@mutex_unlock"),
    (broken.LeavesZeroPages, "litmus.zero_page_meets_fork", "unmerge/zero_page_left@run_store"),
    (broken.CountsZeroPage, "litmus.zero_page_meets_fork", "references/wrong_count@none"),
    (broken.SharesOneMore, "litmus.chain_meets_migration", "warning/kernel_warning@stable_tree_append"),
    (broken.ForgetsMisplacedDup, "litmus.chain_meets_migration", "counters/wrong_pages_shared@mutex_unlock"),
    (broken.ChecksFirstDup, "litmus.chain_meets_hotplug", "offline/node_of_absent_frame@ksm_check_stable_tree"),
    (broken.KeepsMutex, "litmus.chain_meets_unmerge", "deadlock/deadlock@concurrent+run_store"),
    (broken.LeavesChain, "litmus.chain_meets_unmerge", "structure/left_in_tree@remove_all_stable_nodes"),
    (broken.LeavesChain, "litmus.chain_meets_fault", "structure/left_in_tree@remove_all_stable_nodes"),
    (broken.SearchesEmptyChain, "litmus.chain_meets_exits", "structure/left_in_tree@stable_tree_walk"),
    (broken.ReplacesFirst, "litmus.chain_meets_exits", "structure/union_misuse@stable_tree_erase"),
    (broken.FreesBusyChain, "litmus.chain_meets_fault", "counters/wrong_stable_node_dups@mutex_unlock"),
    (broken.AnnouncesNothing, "litmus.fork_meets_guest", "secondary/stale_mapping@copy_one_pte"),
    (broken.AnnouncesNothing, "litmus.write_meets_guest", "secondary/stale_mapping@wp_page_copy"),
    (broken.AnnouncesNothing, "litmus.remap_meets_guest", "lifetime/use_after_free_frame@guest_write"),
    (broken.AnnouncesNothing, "litmus.reclaim_of_freed_meets_guest", "lifetime/use_after_free_frame@guest_read"),
    (broken.DropsDirty, "litmus.reclaim_of_freed_meets_write", "shadow/lost_write@user_read"),
    (broken.GivesUpSharedPage, "litmus.reclaim_of_freed_meets_read", "shadow/lost_write@user_read"),
    (broken.DropsPinned, "litmus.reclaim_of_freed_meets_dma", "shadow/pinned_page_dropped@try_to_unmap_one"),
    (broken.UnmapsPinned, "litmus.fork_meets_pinned_move", "shadow/pinned_page_shared@copy_page_range"),
    (broken.PinsShared, "litmus.write_meets_pin", "shadow/shared_page_pinned@pin_user_pages"),
    (broken.DropsLastReference, "pinned_pages", "lifetime/frame_not_freed@none"),
    (broken.LosesLockByMoving, "pinned_pages", "mlock/moved_not_locked@remove_migration_pte"),
    (broken.KeepsReference, "litmus.memory_failures_meet", "references/wrong_count@none"),
    (broken.FreesBeforeFlag, "litmus.merge_meets_soft_offline", "references/wrong_count@none"),
    (broken.MovesUnlocked, "litmus.locked_mremap_meets_scan", "mlock/locked_for_nobody@none"),
    (broken.CopiesPinnedTwice, "litmus.fork_meets_pin", "references/wrong_count@none"),
    (broken.KeepsIsolated, "litmus.pageout_meets_merge", "references/wrong_count@none"),
    (broken.FreesUnfrozen, "litmus.reclaim_of_freed_meets_read", "structure/freed_unfrozen@shrink_page_list"),
    (broken.KeepsOnMigrateNodes, "litmus.chain_meets_exit", "structure/union_misuse@stable_node_chain_add_dup"),
    (broken.KeepsOnChain, "litmus.chain_meets_migration", "structure/union_misuse@stable_node_to_migrate_nodes"),
    (broken.CancelsNothing, "litmus.scan_meets_failed_hotplug", "deadlock/deadlock@concurrent+wait_while_offlining"),
    (broken.MapsWhatWasGivenUp, "litmus.swap_in_meets_swap_in", "lifetime/use_after_free_swap_slot@swap_free"),
)


@pytest.mark.parametrize(("variant", "workload", "signature"), ROWS, ids=str)
def test_is_found(variant: type, workload: str, signature: str) -> None:
    tally = ksmactors.stress(
        workload, seeds=12, kernel="v6.12", with_=(f"{variant.__module__}:{variant.__qualname__}",)
    )
    assert signature in tally.found


EXPLORED = (
    (broken.LooksOnce, "litmus.search_meets_move", 1),
    (broken.CopiesWhatWasPinned, "litmus.fork_meets_unpin", 2),
)


@pytest.mark.parametrize(("variant", "workload", "preemptions"), EXPLORED, ids=str)
def test_is_found_by_exploring(variant: type, workload: str, preemptions: int) -> None:
    summary = ksmactors.explore(
        workload,
        preemptions=preemptions,
        stop_at_first=True,
        kernel="v6.12",
        with_=(f"{variant.__module__}:{variant.__qualname__}",),
    )
    assert summary.found


NEW = sorted({workload for _, workload, _ in (*ROWS, *EXPLORED)})


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v7.3"])
@pytest.mark.parametrize("workload", NEW)
def test_is_not_found_otherwise(workload: str, kernel: str) -> None:
    tally = ksmactors.stress(workload, seeds=4, kernel=kernel)
    assert not {signature for _, _, signature in ROWS} & set(tally.found)
