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
    (broken.AnnouncesNothing, "litmus.fork_meets_guest", "secondary/stale_mapping@copy_one_pte"),
    (broken.AnnouncesNothing, "litmus.write_meets_guest", "secondary/stale_mapping@wp_page_copy"),
    (broken.AnnouncesNothing, "litmus.remap_meets_guest", "lifetime/use_after_free_frame@guest_write"),
    (broken.AnnouncesNothing, "litmus.reclaim_of_freed_meets_guest", "lifetime/use_after_free_frame@guest_read"),
    (broken.DropsDirty, "litmus.reclaim_of_freed_meets_write", "shadow/lost_write@user_read"),
    (broken.GivesUpSharedPage, "litmus.reclaim_of_freed_meets_read", "shadow/lost_write@user_read"),
    (broken.CopiesPinnedTwice, "litmus.fork_meets_pin", "references/wrong_count@none"),
    (broken.KeepsIsolated, "litmus.pageout_meets_merge", "references/wrong_count@none"),
)


@pytest.mark.parametrize(("variant", "workload", "signature"), ROWS, ids=str)
def test_is_found(variant: type, workload: str, signature: str) -> None:
    tally = ksmactors.stress(
        workload, seeds=12, kernel="v6.12", with_=(f"{variant.__module__}:{variant.__qualname__}",)
    )
    assert signature in tally.found


NEW = sorted({workload for _, workload, _ in ROWS})


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v7.3"])
@pytest.mark.parametrize("workload", NEW)
def test_is_not_found_otherwise(workload: str, kernel: str) -> None:
    tally = ksmactors.stress(workload, seeds=4, kernel=kernel)
    assert not {signature for _, _, signature in ROWS} & set(tally.found)
