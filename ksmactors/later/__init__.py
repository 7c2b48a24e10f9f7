"""Layers over v3.9, one file each: repairs and features that came later, and ours.

Each is a *layer*: a subclass of `Ksm` that overrides just the functions that the repair changed. Layers compose by
inheritance, so each calls on to the one below with `super()`. The docstring of a layer says what went wrong without
it, and by which interleaving. `ksmactors.kernels` says which kernels have which.

The tables say in which module a layer is: it is imported when it is asked for.
"""

from __future__ import annotations

from typing import Final

from ksmactors.layers import Layers

SERIES: Final = Layers(
    __name__,
    {
        "restart-on-stale": "restart_on_stale:RestartOnStale",
        "head-cleared": "head_cleared:HeadCleared",
        "freed-head": "freed_head:FreedHead",
        "mmap-sem-first": "mmap_sem_first:MmapSemFirst",
        "find-mergeable-vma": "find_mergeable_vma:FindMergeableVma",
        "no-warning": "no_warning:NoWarning",
        "ksm-into-ksm": "ksm_into_ksm:KsmIntoKsm",
        "kpfn-aba": "kpfn_aba:KpfnAba",
        "all-unstable-roots": "all_unstable_roots:AllUnstableRoots",
        "aborted-unmerge": "aborted_unmerge:AbortedUnmerge",
        "run-under-pte-lock": "run_under_pte_lock:RunUnderPteLock",
        "copy-unless-mergeable": "copy_unless_mergeable:CopyUnlessMergeable",
        "break-swapped": "break_swapped:BreakSwapped",
        "swapoff-unread": "swapoff_unread:SwapoffUnread",
        "half-ksm": "half_ksm:HalfKsm",
        "unshare-on-advice": "unshare_on_advice:UnshareOnAdvice",
        "wake-under-lock": "wake_under_lock:WakeUnderLock",
        "pinned-checked": "pinned_checked:PinnedChecked",
        "poisoned-nodes": "poisoned_nodes:PoisonedNodes",
    },
)
"""What makes `series` of v3.9, lowest first: upstream's repairs of the series, and ours."""

LATER: Final = Layers(
    __name__,
    {
        "node-reused": "node_reused:NodeReused",
        "page-dirtied": "page_dirtied:PageDirtied",
        "migrate-swapped": "migrate_swapped:MigrateSwapped",
        "mlock-migrated": "mlock_migrated:MlockMigrated",
        "lazy-free": "lazy_free:LazyFree",
        "move-unlocked": "move_unlocked:MoveUnlocked",
        "offline-retries": "offline_retries:OfflineRetries",
        "pageout": "pageout:Pageout",
        "pin-counted": "pin_counted:PinCounted",
        "wp-by-references": "wp_by_references:WpByReferences",
        "leave-swap-cache": "leave_swap_cache:LeaveSwapCache",
        "mlock-batch": "mlock_batch:MlockBatch",
        "anon-exclusive": "anon_exclusive:AnonExclusive",
        "skip-swap-cache": "skip_swap_cache:SkipSwapCache",
        "dirty-migration": "dirty_migration:DirtyMigration",
        "fork-copies-pinned": "fork_copies_pinned:ForkCopiesPinned",
        "unshare-on-pin": "unshare_on_pin:UnshareOnPin",
        "swapin-error": "swapin_error:SwapinError",
        "trylock-search": "trylock_search:TrylockSearch",
        "chains": "chains:Chains",
        "chains-any-dup": "chains:ChainsAnyDup",
        "per-mm": "per_mm:PerMm",
        "per-mm-fork": "per_mm:PerMmFork",
        "zero-pages": "zero_pages:ZeroPages",
        "unshare-fault": "unshare_fault:UnshareFault",
        "zero-counted": "zero_counted:ZeroCounted",
        "checksum-first": "checksum_first:ChecksumFirst",
        "copy-before-mapping": "copy_before_mapping:CopyBeforeMapping",
        "smart-scan": "smart_scan:SmartScan",
        "overlay": "overlay:Overlay",
        "range-walk": "range_walk:RangeWalk",
        "move-status": "move_status:MoveStatus",
        "move-enoent": "move_status:MoveEnoent",
        "merge-any": "merge_any:MergeAny",
        "merge-any-exec": "merge_any_kept:MergeAnyExec",
        "merge-any-kept": "merge_any_kept:MergeAnyKept",
        "mlock-batch-31": "mlock_batch:MlockBatch31",
        "per-mm-mergeable": "per_mm_mergeable:PerMmMergeable",
        "profit": "profit:Profit",
        "scanned": "scanned:Scanned",
        "advisor": "advisor:Advisor",
        "tracepoints": "tracepoints:Tracepoints",
        "hwpoison-result": "memory_failure:HwpoisonResult",
        "ksm-hwpoison": "memory_failure:KsmHwpoison",
        "hwpoison-caller": "memory_failure:HwpoisonCaller",
        "wake-on-sleep": "wake_on_sleep:WakeOnSleep",
        "bool-enable": "booleans:BoolEnable",
        "mremap-vmas": "mremap_vmas:MremapVmas",
        "unmerge-walk": "unmerge_walk:UnmergeWalk",
    },
)
"""What later kernels have besides the repairs, oldest first."""

REPAIRS: Final = Layers(
    __name__,
    {
        "moved-joins-chain": "moved_joins_chain:MovedJoinsChain",
        "no-ksm-given-up": "no_ksm_given_up:NoKsmGivenUp",
        "skips-in-step": "skips_in_step:SkipsInStep",
    },
)
"""Repairs of what later kernels have. No kernel has them, and `series`, which has nothing to repair there, does
without."""

PROPOSED: Final = Layers(
    __name__,
    {
        "recover-within-chain": "recover_within_chain:RecoverWithinChain",
    },
)
"""Patches that were proposed for the kernel. No kernel has them."""

MODES: Final = Layers(
    __name__,
    {
        "weak-memory": "weak_memory:WeakMemory",
    },
)
"""What is in no kernel, and can be put on any."""
