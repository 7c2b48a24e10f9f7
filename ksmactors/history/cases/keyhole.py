"""Cases of the keyhole protocol between ksmd and migration (S3, S5)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

SEARCH: Final = "litmus.search_meets_migration"
REMOVAL: Final = "litmus.removal_meets_migration"
SWAP_CACHE: Final = {"swap_cache": "1"}

KEYHOLE: Final = (
    Case(
        name="S3a",
        title="a mapping is taken off its node under the lock of a page that is the node's no more",
        workload=REMOVAL,
        params=SWAP_CACHE,
        with_=("s3a-no-recheck-after-lock",),
        watcher="hlist",
        kind="changed_unlocked",
        where="remove_rmap_item_from_tree",
        story=(
            "A migration holds the lock of a KSM page that is in the swap cache, and has unmapped it. ksmd passes over "
            "a mapping that is not there any more, looks the page up in its node, and waits for the lock. When it gets "
            "it the node has another page, and an actor that has locked that one may be walking the list that ksmd now "
            "changes."
        ),
        script=("migrationd/1 > migrate.W2", "ksmd > blocked", "migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S3b",
        title="a mapping is taken off its node while a migration walks the node's list",
        workload=REMOVAL,
        with_=("s3b-removal-unlocked",),
        watcher="hlist",
        kind="changed_unlocked",
        where="remove_rmap_item_from_tree",
        also=("migration/stranded_entry@remove_migration_ptes", "lifetime/use_after_free_rmap_item@rmap_walk_ksm"),
        story=(
            "A migration has put migration entries in the place of all mappings. ksmd finds no page at one of these "
            "addresses, passes on, and takes the mapping off its node without the page lock. The migration, which "
            "walks the list to restore its entries, does not find that one: it stays, and any access to it waits for "
            "ever."
        ),
        script=("migrationd/1 > migrate.W5", "ksmd > end", "migrationd/1 > end"),
    ),
    Case(
        name="S3c",
        title="control: every page on the way down a tree is locked",
        workload=SEARCH,
        with_=("s3c-locked-descent",),
        story="ksmd comes to an entry whose page is being migrated, and waits for its lock before it compares.",
        script=("migrationd/1 > migrate.W7", "ksmd > blocked", "migrationd/1 > end", "ksmd > end"),
        silent_because=(
            "a page that is locked is as good as one that is not: ksmd only waits, with ksm_thread_mutex, where it "
            "need not. A holder of a page lock never takes that mutex, so there is no deadlock."
        ),
    ),
    Case(
        name="S5-GK5",
        title="a walk is misled by a frame that has been freed and used again before it was referenced",
        workload="litmus.insertion_meets_reuse",
        with_=("s5-no-recheck",),
        watcher="trees",
        kind="bad_order",
        where="mutex_unlock",
        story=(
            "ksmd has made a KSM page of 30 and looks for its place in the stable tree. At the root, a page of 50, it "
            "finds that the frame names the node, and is about to take a reference. The last one who had that page "
            "gives it back, and G gets the frame, full of zeros. ksmd takes its reference, does not look once more, "
            "compares with what is G's, and goes to the right. The new node is linked behind one of 40, and no search "
            "finds it there."
        ),
        script=("ksmd > insert.GK4", "thread/G > end", "ksmd > end"),
    ),
    Case(
        name="S5-GK5GK6",
        title="control: a page that is to be locked is looked at again under its lock only",
        workload="litmus.insertion_meets_reuse",
        with_=("s5-recheck-once",),
        story=(
            "As in S5-GK5: ksmd takes a reference on a frame that is G's by now. Where it wants the lock, too, it does "
            "not look before it has that."
        ),
        script=("ksmd > insert.GK4", "thread/G > end", "ksmd > end"),
        silent_because=(
            "an actor that locks a page that is not the node's notices under the lock, and drops lock and reference; "
            "that costs a wait"
        ),
    ),
    Case(
        name="S5a",
        title="a live stable node is freed: it is taken as stale at the first mismatch",
        workload="litmus.scan_meets_migration",
        without=("kpfn-aba",),  # counts on a second look at a node that has moved
        with_=("s5a-no-kpfn-recheck",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=(
            "hlist/freed_live@free_stable_node",
            "lifetime/use_after_free_stable_node@cmp_and_merge_page",
        ),
        story=(
            "ksmd reads kpfn of a stable node; a migration moves the page to another frame; ksmd finds that the old "
            "frame does not name the node any more, takes the node as stale and frees it, although the page lives on "
            "elsewhere and names it."
        ),
        script=("ksmd > get_ksm_page.GK3", "migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S5b",
        title="a live stable node is freed: the old page forgets it before it has learned of the new one",
        workload=SEARCH,
        with_=("s5b-mapping-before-kpfn",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=("lifetime/use_after_free_stable_node@ksm_migrate_page",),
        story=(
            "ksmd reads kpfn of a stable node. A migration clears the old page's mapping and is about to store kpfn. "
            "ksmd finds the mapping gone, reads kpfn once more, finds the same number, and frees the node. The "
            "migration stores kpfn in freed memory, and the new page names a node that is no more."
        ),
        script=("ksmd > get_ksm_page.GK3", "migrationd/1 > migrate.W3", "ksmd > end", "migrationd/1 > end"),
    ),
    Case(
        name="S5c",
        title="a live stable node is freed: its page has no references, but only because they are frozen",
        workload=SEARCH,
        params=SWAP_CACHE,
        with_=("s5c-frozen-is-stale",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=(
            "hlist/freed_live@free_stable_node",
            "lifetime/use_after_free_stable_node@ksm_migrate_page",
        ),
        story=(
            "A migration has frozen the references of a KSM page that is in the swap cache, to tell the cache of the "
            "new page. ksmd comes by way of the node, gets no reference, takes the page as free and frees the node. "
            "The migration goes on and stores kpfn in freed memory."
        ),
        script=("ksmd > get_ksm_page.GK4", "migrationd/1 > migrate.freeze x3", "ksmd > end", "migrationd/1 > end"),
    ),
    Case(
        name="S5d",
        title="control: the old page of a migration goes on naming the node",
        workload=SEARCH,
        without=("kpfn-aba",),  # which would refuse the old page
        with_=("s5d-old-mapping-kept",),
        story=(
            "The node has learned of the new page, and the old one still names the node. ksmd, which has read kpfn "
            "before, takes the old page for the node's, compares, and comes back for its lock."
        ),
        script=(
            "ksmd > get_ksm_page.GK3",
            "migrationd/1 > migrate.W7",
            "ksmd > blocked",
            "migrationd/1 > end",
            "ksmd > end",
        ),
        silent_because=(
            "every actor reaches a page through kpfn or a page table entry, and the content of the old page is still "
            "right. Before it is used for more than a comparison, its lock is taken: by then the migration has cleared "
            "it."
        ),
    ),
    Case(
        name="S5e",
        title="the page that the search has found is migrated: stable_tree_append gets no node, and the kernel crashes",
        workload=SEARCH,
        with_=("s5e-no-lock-cycle",),
        watcher="lifetime",
        kind="null_dereference",
        where="stable_tree_append",
        story=(
            "A migration has counted the references of a KSM page and goes on to copy it. Only now ksmd, which "
            "searches the stable tree for an equal page, takes one, which the migration does not notice. The migration "
            "ends; ksmd maps the frame that was left behind into a process, locks it, and asks for its node: there is "
            "none, and stable_tree_append dereferences NULL. In the field uksm stopped in that function, since the "
            "page had been migrated (dolohow/uksm issue 8). The right code takes the page lock once in the search: "
            "then a migration is either over, or sees the reference."
        ),
        script=("migrationd/1 > migrate.W2", "ksmd > merge.mmap_sem", "migrationd/1 > end", "ksmd > end"),
        headline=True,
    ),
    Case(
        name="S5f",
        title="a live stable node is freed: its page leaves the swap cache before kpfn is stored",
        workload=SEARCH,
        params=SWAP_CACHE,
        with_=("s5f-swap-cache-before-kpfn",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=("hlist/freed_live@free_stable_node", "lifetime/use_after_free_stable_node@ksm_migrate_page"),
        story=(
            "ksmd finds a page without references, frozen by a migration, and is about to look whether it is in the "
            "swap cache. The migration gives the references back, takes the old page out of the swap cache, copies it, "
            "and is about to store kpfn. ksmd finds the page outside of the cache, kpfn as it was, and frees the node."
        ),
        script=(
            "ksmd > get_ksm_page.GK4",
            "migrationd/1 > migrate.freeze x3",
            "ksmd > get_ksm_page.spin",
            "migrationd/1 > migrate.W3",
            "ksmd > end",
            "migrationd/1 > end",
        ),
    ),
    Case(
        name="S5g",
        title="a mapping is put on its node while a migration walks the node's list",
        workload=SEARCH,
        with_=("s5g-append-unlocked",),
        watcher="hlist",
        kind="changed_unlocked",
        where="stable_tree_append",
        story=(
            "ksmd has merged a page and puts the mapping at the front of the node's list without the page lock. A "
            "migration that has locked the page and walks the list stands behind the front already, and misses it. It "
            "gives up, since the page is still mapped; on a machine with weakly ordered memory it might follow a "
            "half-made link."
        ),
        script=("ksmd > append", "migrationd/1 > rmap_walk.item x2", "ksmd > end"),
    ),
    Case(
        name="S5h",
        title="control: a search gives up at a locked page",
        workload=SEARCH,
        kernel="v3.9",
        with_=("s5h-locked-is-gone",),
        story="ksmd comes to an entry whose page is being migrated, and leaves the page at hand for the next scan.",
        script=("migrationd/1 > migrate.W7", "ksmd > end", "migrationd/1 > end"),
        silent_because=(
            "the node is not freed, only not used this time: a merge comes a scan later. Here on v3.9, where a search "
            "that meets a stale entry ends; where it starts again it would spin."
        ),
    ),
)
