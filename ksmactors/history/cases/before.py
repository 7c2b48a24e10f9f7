"""Cases of what was repaired before v3.9 (F1 to F5): it must not come back."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

BEFORE: Final = (
    Case(
        name="F1",
        title="a stable page is never freed: a failed insertion keeps its reference",
        workload="litmus.insertion_meets_write",
        kernel="v3.9",
        with_=("f1-equal-page-kept",),
        watcher="references",
        kind="wrong_count",
        where="none",
        story=(
            "ksmd has found no KSM page that is equal to B's, but an equal ordinary one, A's. Before it makes a KSM "
            "page of B's, A and B rewrite both: they are equal still, but to a KSM page now. They are merged, the "
            "insertion into the stable tree finds the KSM page, gives up, and forgets the reference that it has taken "
            "on it. (Repaired in v2.6.32. `series` comes to the insertion before it merges the second page.)"
        ),
        script=("ksmd > merge.mmap_sem", "thread/A > end", "thread/B > end", "ksmd > end"),
    ),
    Case(
        name="F2",
        title="mremap takes a KSM page to an address that its rmap_item does not know",
        workload="litmus.mremap_meets_migration",
        with_=("f2-moved-as-merged",),
        watcher="migration",
        kind="stranded_entry",
        where="remove_migration_ptes",
        also=("structure/stranded_migration_entry@migration_entry_to_page",),
        story=(
            "All that KSM knows of a mapping is its process and address. A moves the mapping of a KSM page elsewhere "
            "without giving up the merge first. A migration has put a migration entry there just before, looks for it "
            "at the old address, and ends: the entry at the new one stays for ever. (Repaired in v2.6.32, "
            "1ff829957316; there the page that came to an address was taken for the one that had been merged there.)"
        ),
        script=("migrationd/1 > migrate.W7", "thread/A > end", "migrationd/1 > end"),
    ),
    Case(
        name="F3",
        title="a merged page comes back from swap as it was long ago",
        workload="litmus.merge_meets_write",
        with_=("f3-only-writable",),
        watcher="shadow",
        kind="lost_write",
        where="user_read",
        story=(
            "A's page has been to swap and back, and A has written it since; only the dirty bit of its entry tells, "
            "and fork has made the entry read-only. ksmd takes what is read-only for clean, and merges B's page into "
            "it. A writes, gets a copy, and the dirty bit goes with its mapping. Reclaim takes the page for clean and "
            "drops it. B reads what the device has: A's old page. (Repaired in v2.6.36.)"
        ),
        script=("ksmd > end", "thread/A > end"),
    ),
    Case(
        name="F4",
        title="a page without an anon_vma is asked for its root (a half-KSM page, H7)",
        workload="litmus.merge_meets_fork",
        without=("half-ksm",),
        with_=("f4-roots-compared",),
        watcher="lifetime",
        kind="null_dereference",
        where="page_address_in_vma",
        also=("rmap/half_ksm_page@rmap_walk_ksm",),
        story=(
            "ksmd has made a KSM page of B's, B forks, and the second merge fails since A's page is pinned. B gets a "
            "copy; the child keeps a KSM page without a node. When ksmd comes to the child it takes that for an "
            "ordinary page, finds B's equal one, and compares the anon_vmas of page and vma: the page has none. "
            "(Repaired in v2.6.36, 4829b906. series leaves no such page behind; that repair is off here.)"
        ),
        script=("ksmd > merge.mmap_sem x2", "fork/B > end", "ksmd > end"),
    ),
    Case(
        name="F5",
        title="a scan starts with the head of a list that has become empty (CVE-2011-2183)",
        workload="litmus.scan_meets_exit",
        with_=("f5-empty-list-scanned",),
        watcher="lifetime",
        kind="null_dereference",
        where="scan_get_next_rmap_item",
        story=(
            "ksmd sees that the list of address spaces is not empty. The only process on it exits, and since ksmd has "
            "no rmap_item of it, its slot goes at once. ksmd takes the first slot of the list: that is the head "
            "itself, which has no address space. (Repaired in v3.0, 2b472611a32a.)"
        ),
        script=("ksmd > scan.SC2d", "exit/A > end", "ksmd > end"),
    ),
)
