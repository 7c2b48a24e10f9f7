"""The commits that can be undone, oldest first.

The six of the series and the two that followed in the same posting were committed on 2013-02-23. Of the six that
came after them, the list below has the day on which they were posted; by the log of one of them they went upstream
within two days.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ksmactors.ksm.kernel import Ksm
from ksmactors.layers import layer_at

COMMITTED: Final = "2013-02-23"
POSTED: Final = "2013-02-21"


class Commit(NamedTuple):
    """A commit of the series or one that followed it.

    Attributes:
        slug: what `--without` calls it.
        case: how `ksmactors docs protocol` numbers it: S1 to S6, R1 to R7, D8.
        subject: its subject line.
        date: when it was made, or, if not `committed`, posted.
        place: where the layer is that does what the code did before it, as `layers.layer_at` takes it.
        repairs: variants that mend what the commit left open, and make no sense without it: they go with it.
        built_on: variants that build on the commit, or have put something else in its place: it cannot be undone where
            they are.
    """

    slug: str
    case: str
    subject: str
    place: str
    date: str = COMMITTED
    committed: bool = True
    repairs: tuple[str, ...] = ()
    built_on: tuple[str, ...] = ()

    @property
    def layer(self) -> type[Ksm]:
        """What the code did before it; imported when it is asked for."""
        return layer_at(__package__, self.place)

    @property
    def summary(self) -> str:
        """What it is like without the commit, in a line."""
        return (self.layer.__doc__ or "").strip().partition("\n")[0].rstrip(".")


_ALL: Final = (
    Commit("trivial-tidyups", "S1", "ksm: trivial tidyups", "trivial_tidyups:BeforeTrivialTidyups"),
    Commit(
        "reorganize-check-stable-tree",
        "S2",
        "ksm: reorganize ksm_check_stable_tree",
        "reorganize_check_stable_tree:BeforeReorganizeCheck",
    ),
    Commit("get-ksm-page-locked", "S3", "ksm: get_ksm_page locked", "get_ksm_page_locked:BeforeGetKsmPageLocked"),
    Commit(
        "remove-old-stable-nodes",
        "S4",
        "ksm: remove old stable nodes more thoroughly",
        "remove_old_stable_nodes:BeforeRemoveOldStableNodes",
        repairs=("run-under-pte-lock",),  # counts on the next fault to copy
    ),
    Commit(
        "ksm-page-migration",
        "S5",
        "ksm: make KSM page migration possible",
        "ksm_page_migration:BeforeKsmPageMigration",
        repairs=("kpfn-aba",),  # counts on a second look at a node that has moved
    ),
    Commit(
        "merge-across-nodes-migration",
        "S6",
        "ksm: make !merge_across_nodes migration safe",
        "merge_across_nodes_migration:BeforeMergeAcrossNodesMigration",
        built_on=("trylock-search", "chains", "chains-any-dup", "checksum-first"),
    ),
    Commit(
        "enable-ksm-page-migration",
        "R4",
        "ksm: enable KSM page migration",
        "enable_ksm_page_migration:BeforeEnableKsmPageMigration",
    ),
    Commit(
        "stop-hotremove-lockdep-warning",
        "R5",
        "ksm: stop hotremove lockdep warning",
        "hotremove_lockdep:BeforeHotremoveLockdep",
    ),
    Commit(
        "treat-unstable-nid",
        "R3",
        "ksm: treat unstable nid like in stable tree",
        "unstable_nid:BeforeUnstableNid",
        POSTED,
        committed=False,
    ),
    Commit(
        "shrink-rmap-item",
        "R6",
        "ksm: shrink 32-bit rmap_item back to 32 bytes",
        "shrink_rmap_item:BeforeShrinkRmapItem",
        POSTED,
        committed=False,
        built_on=("smart-scan", "overlay"),  # have items of their own
    ),
    Commit(
        "foll-migration",
        "R1",
        "mm,ksm: FOLL_MIGRATION do migration_entry_wait",
        "foll_migration:BeforeFollMigration",
        POSTED,
        committed=False,
        built_on=("unshare-fault",),
    ),
    Commit(
        "swapoff-might-need-to-copy",
        "R2",
        "mm,ksm: swapoff might need to copy",
        "swapoff_copy:BeforeSwapoffCopy",
        POSTED,
        committed=False,
    ),
    Commit(
        "cleanup-swapcache",
        "D8",
        'mm: cleanup "swapcache" in do_swap_page',
        "cleanup_swapcache:BeforeCleanupSwapcache",
        POSTED,
        committed=False,
    ),
    Commit(
        "allocate-roots",
        "R7",
        "ksm: allocate roots when needed",
        "allocate_roots:BeforeAllocateRoots",
        POSTED,
        committed=False,
    ),
)

COMMITS: Final[dict[str, Commit]] = {commit.slug: commit for commit in _ALL}
"""By slug, oldest first."""
