"""Layers over v3.9, one file each: repairs and features that came later, and ours.

Each is a *layer*: a subclass of `Ksm` that overrides just the functions that the repair changed. Layers compose by
inheritance, so each calls on to the one below with `super()`. The docstring of a layer says what went wrong without
it, and by which interleaving. `ksmactors.kernels` says which kernels have which.
"""

from __future__ import annotations

from typing import Final

from ksmactors.ksm.kernel import Ksm
from ksmactors.later.aborted_unmerge import AbortedUnmerge
from ksmactors.later.advisor import Advisor
from ksmactors.later.all_unstable_roots import AllUnstableRoots
from ksmactors.later.anon_exclusive import AnonExclusive
from ksmactors.later.booleans import BoolEnable
from ksmactors.later.break_swapped import BreakSwapped
from ksmactors.later.chains import Chains, ChainsAnyDup
from ksmactors.later.checksum_first import ChecksumFirst
from ksmactors.later.copy_before_mapping import CopyBeforeMapping
from ksmactors.later.copy_unless_mergeable import CopyUnlessMergeable
from ksmactors.later.dirty_migration import DirtyMigration
from ksmactors.later.find_mergeable_vma import FindMergeableVma
from ksmactors.later.fork_copies_pinned import ForkCopiesPinned
from ksmactors.later.freed_head import FreedHead
from ksmactors.later.half_ksm import HalfKsm
from ksmactors.later.head_cleared import HeadCleared
from ksmactors.later.kpfn_aba import KpfnAba
from ksmactors.later.ksm_into_ksm import KsmIntoKsm
from ksmactors.later.lazy_free import LazyFree
from ksmactors.later.leave_swap_cache import LeaveSwapCache
from ksmactors.later.memory_failure import HwpoisonCaller, HwpoisonResult, KsmHwpoison
from ksmactors.later.merge_any import MergeAny
from ksmactors.later.merge_any_kept import MergeAnyExec, MergeAnyKept
from ksmactors.later.migrate_swapped import MigrateSwapped
from ksmactors.later.mlock_batch import MlockBatch, MlockBatch31
from ksmactors.later.mlock_migrated import MlockMigrated
from ksmactors.later.mmap_sem_first import MmapSemFirst
from ksmactors.later.move_status import MoveEnoent, MoveStatus
from ksmactors.later.move_unlocked import MoveUnlocked
from ksmactors.later.moved_joins_chain import MovedJoinsChain
from ksmactors.later.mremap_vmas import MremapVmas
from ksmactors.later.no_ksm_given_up import NoKsmGivenUp
from ksmactors.later.no_warning import NoWarning
from ksmactors.later.node_reused import NodeReused
from ksmactors.later.offline_retries import OfflineRetries
from ksmactors.later.overlay import Overlay
from ksmactors.later.page_dirtied import PageDirtied
from ksmactors.later.pageout import Pageout
from ksmactors.later.per_mm import PerMm, PerMmFork
from ksmactors.later.per_mm_mergeable import PerMmMergeable
from ksmactors.later.pin_counted import PinCounted
from ksmactors.later.pinned_checked import PinnedChecked
from ksmactors.later.poisoned_nodes import PoisonedNodes
from ksmactors.later.profit import Profit
from ksmactors.later.range_walk import RangeWalk
from ksmactors.later.recover_within_chain import RecoverWithinChain
from ksmactors.later.restart_on_stale import RestartOnStale
from ksmactors.later.run_under_pte_lock import RunUnderPteLock
from ksmactors.later.scanned import Scanned
from ksmactors.later.skip_swap_cache import SkipSwapCache
from ksmactors.later.skips_in_step import SkipsInStep
from ksmactors.later.smart_scan import SmartScan
from ksmactors.later.swapin_error import SwapinError
from ksmactors.later.swapoff_unread import SwapoffUnread
from ksmactors.later.tracepoints import Tracepoints
from ksmactors.later.trylock_search import TrylockSearch
from ksmactors.later.unmerge_walk import UnmergeWalk
from ksmactors.later.unshare_fault import UnshareFault
from ksmactors.later.unshare_on_advice import UnshareOnAdvice
from ksmactors.later.unshare_on_pin import UnshareOnPin
from ksmactors.later.wake_on_sleep import WakeOnSleep
from ksmactors.later.wake_under_lock import WakeUnderLock
from ksmactors.later.weak_memory import WeakMemory
from ksmactors.later.wp_by_references import WpByReferences
from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.later.zero_pages import ZeroPages

SERIES: Final[dict[str, type[Ksm]]] = {
    "restart-on-stale": RestartOnStale,
    "head-cleared": HeadCleared,
    "freed-head": FreedHead,
    "mmap-sem-first": MmapSemFirst,
    "find-mergeable-vma": FindMergeableVma,
    "no-warning": NoWarning,
    "ksm-into-ksm": KsmIntoKsm,
    "kpfn-aba": KpfnAba,
    "all-unstable-roots": AllUnstableRoots,
    "aborted-unmerge": AbortedUnmerge,
    "run-under-pte-lock": RunUnderPteLock,
    "copy-unless-mergeable": CopyUnlessMergeable,
    "break-swapped": BreakSwapped,
    "swapoff-unread": SwapoffUnread,
    "half-ksm": HalfKsm,
    "unshare-on-advice": UnshareOnAdvice,
    "wake-under-lock": WakeUnderLock,
    "pinned-checked": PinnedChecked,
    "poisoned-nodes": PoisonedNodes,
}
"""What makes `series` of v3.9, lowest first: upstream's repairs of the series, and ours."""

LATER: Final[dict[str, type[Ksm]]] = {
    "node-reused": NodeReused,
    "page-dirtied": PageDirtied,
    "migrate-swapped": MigrateSwapped,
    "mlock-migrated": MlockMigrated,
    "lazy-free": LazyFree,
    "move-unlocked": MoveUnlocked,
    "offline-retries": OfflineRetries,
    "pageout": Pageout,
    "pin-counted": PinCounted,
    "wp-by-references": WpByReferences,
    "leave-swap-cache": LeaveSwapCache,
    "mlock-batch": MlockBatch,
    "anon-exclusive": AnonExclusive,
    "skip-swap-cache": SkipSwapCache,
    "dirty-migration": DirtyMigration,
    "fork-copies-pinned": ForkCopiesPinned,
    "unshare-on-pin": UnshareOnPin,
    "swapin-error": SwapinError,
    "trylock-search": TrylockSearch,
    "chains": Chains,
    "chains-any-dup": ChainsAnyDup,
    "per-mm": PerMm,
    "per-mm-fork": PerMmFork,
    "zero-pages": ZeroPages,
    "unshare-fault": UnshareFault,
    "zero-counted": ZeroCounted,
    "checksum-first": ChecksumFirst,
    "copy-before-mapping": CopyBeforeMapping,
    "smart-scan": SmartScan,
    "overlay": Overlay,
    "range-walk": RangeWalk,
    "move-status": MoveStatus,
    "move-enoent": MoveEnoent,
    "merge-any": MergeAny,
    "merge-any-exec": MergeAnyExec,
    "merge-any-kept": MergeAnyKept,
    "mlock-batch-31": MlockBatch31,
    "per-mm-mergeable": PerMmMergeable,
    "profit": Profit,
    "scanned": Scanned,
    "advisor": Advisor,
    "tracepoints": Tracepoints,
    "hwpoison-result": HwpoisonResult,
    "ksm-hwpoison": KsmHwpoison,
    "hwpoison-caller": HwpoisonCaller,
    "wake-on-sleep": WakeOnSleep,
    "bool-enable": BoolEnable,
    "mremap-vmas": MremapVmas,
    "unmerge-walk": UnmergeWalk,
}
"""What later kernels have besides the repairs, oldest first."""

REPAIRS: Final[dict[str, type[Ksm]]] = {
    "moved-joins-chain": MovedJoinsChain,
    "no-ksm-given-up": NoKsmGivenUp,
    "skips-in-step": SkipsInStep,
}
"""Repairs of what later kernels have. No kernel has them, and `series`, which has nothing to repair there, does
without."""

PROPOSED: Final[dict[str, type[Ksm]]] = {
    "recover-within-chain": RecoverWithinChain,
}
"""Patches that were proposed for the kernel. No kernel has them."""

MODES: Final[dict[str, type[Ksm]]] = {
    "weak-memory": WeakMemory,
}
"""What is in no kernel, and can be put on any."""
