"""The commits that can be undone, oldest first.

The six of the series and the two that followed in the same posting were committed on 2013-02-23. Of the six that
came after them, the list below has the day on which they were posted; by the log of one of them they went upstream
within two days.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ksmactors.history.allocate_roots import BeforeAllocateRoots
from ksmactors.history.cleanup_swapcache import BeforeCleanupSwapcache
from ksmactors.history.enable_ksm_page_migration import BeforeEnableKsmPageMigration
from ksmactors.history.foll_migration import BeforeFollMigration
from ksmactors.history.get_ksm_page_locked import BeforeGetKsmPageLocked
from ksmactors.history.hotremove_lockdep import BeforeHotremoveLockdep
from ksmactors.history.ksm_page_migration import BeforeKsmPageMigration
from ksmactors.history.merge_across_nodes_migration import BeforeMergeAcrossNodesMigration
from ksmactors.history.remove_old_stable_nodes import BeforeRemoveOldStableNodes
from ksmactors.history.reorganize_check_stable_tree import BeforeReorganizeCheck
from ksmactors.history.shrink_rmap_item import BeforeShrinkRmapItem
from ksmactors.history.swapoff_copy import BeforeSwapoffCopy
from ksmactors.history.trivial_tidyups import BeforeTrivialTidyups
from ksmactors.history.unstable_nid import BeforeUnstableNid
from ksmactors.ksm.kernel import Ksm

COMMITTED: Final = "2013-02-23"
POSTED: Final = "2013-02-21"


class Commit(NamedTuple):
    """A commit of the series or one that followed it.

    Attributes:
        slug: what `--without` calls it.
        case: how `ksmactors docs protocol` numbers it: S1 to S6, R1 to R7, D8.
        subject: its subject line.
        date: when it was made, or, if not `committed`, posted.
        layer: what the code did before it, as a layer.
        repairs: variants that mend what the commit left open, and make no sense without it: they go with it.
        built_on: variants that build on the commit, or have put something else in its place: it cannot be undone where
            they are.
    """

    slug: str
    case: str
    subject: str
    layer: type[Ksm]
    date: str = COMMITTED
    committed: bool = True
    repairs: tuple[str, ...] = ()
    built_on: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What it is like without the commit, in a line."""
        return (self.layer.__doc__ or "").strip().partition("\n")[0].rstrip(".")


_ALL: Final = (
    Commit("trivial-tidyups", "S1", "ksm: trivial tidyups", BeforeTrivialTidyups),
    Commit("reorganize-check-stable-tree", "S2", "ksm: reorganize ksm_check_stable_tree", BeforeReorganizeCheck),
    Commit("get-ksm-page-locked", "S3", "ksm: get_ksm_page locked", BeforeGetKsmPageLocked),
    Commit(
        "remove-old-stable-nodes",
        "S4",
        "ksm: remove old stable nodes more thoroughly",
        BeforeRemoveOldStableNodes,
        repairs=("run-under-pte-lock",),  # counts on the next fault to copy
    ),
    Commit(
        "ksm-page-migration",
        "S5",
        "ksm: make KSM page migration possible",
        BeforeKsmPageMigration,
        repairs=("kpfn-aba",),  # counts on a second look at a node that has moved
    ),
    Commit(
        "merge-across-nodes-migration",
        "S6",
        "ksm: make !merge_across_nodes migration safe",
        BeforeMergeAcrossNodesMigration,
        built_on=("trylock-search", "chains", "chains-any-dup", "checksum-first"),
    ),
    Commit("enable-ksm-page-migration", "R4", "ksm: enable KSM page migration", BeforeEnableKsmPageMigration),
    Commit("stop-hotremove-lockdep-warning", "R5", "ksm: stop hotremove lockdep warning", BeforeHotremoveLockdep),
    Commit(
        "treat-unstable-nid",
        "R3",
        "ksm: treat unstable nid like in stable tree",
        BeforeUnstableNid,
        POSTED,
        committed=False,
    ),
    Commit(
        "shrink-rmap-item",
        "R6",
        "ksm: shrink 32-bit rmap_item back to 32 bytes",
        BeforeShrinkRmapItem,
        POSTED,
        committed=False,
        built_on=("smart-scan", "overlay"),  # have items of their own
    ),
    Commit(
        "foll-migration",
        "R1",
        "mm,ksm: FOLL_MIGRATION do migration_entry_wait",
        BeforeFollMigration,
        POSTED,
        committed=False,
        built_on=("unshare-fault",),
    ),
    Commit(
        "swapoff-might-need-to-copy",
        "R2",
        "mm,ksm: swapoff might need to copy",
        BeforeSwapoffCopy,
        POSTED,
        committed=False,
    ),
    Commit(
        "cleanup-swapcache",
        "D8",
        'mm: cleanup "swapcache" in do_swap_page',
        BeforeCleanupSwapcache,
        POSTED,
        committed=False,
    ),
    Commit(
        "allocate-roots",
        "R7",
        "ksm: allocate roots when needed",
        BeforeAllocateRoots,
        POSTED,
        committed=False,
    ),
)

COMMITS: Final[dict[str, Commit]] = {commit.slug: commit for commit in _ALL}
"""By slug, oldest first."""
