"""Cases that were found with the emulator (X): in real kernels, or as mutants."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

REGISTRATION: Final = "litmus.registration_meets_exit"
ARRIVAL: Final = "litmus.start_meets_scans"

BEYOND: Final = (
    Case(
        name="X1",
        title="ksmd sleeps for ever although a process has registered: its wake-up is lost",
        workload=REGISTRATION,
        without=("wake-under-lock",),
        watcher="liveness",
        kind="asleep_with_work",
        where="ksm_scan_thread",
        story=(
            "B registers. It looks whether the list of address spaces is empty, which A is on: ksmd need not be woken. "
            "Before B has locked the list A exits; ksmd has no rmap_item of it, so it leaves the list at once. ksmd "
            "finds the list empty and goes to sleep without a timeout. B links its slot and does not wake ksmd. "
            "Nothing is merged until a write to `run`. (On all kernels from v3.9 to v7.3, by reading: mainline still "
            "looks before it takes ksm_mmlist_lock.)"
        ),
        script=("thread/B > enter.spinlock", "exit/A > end", "ksmd > blocked", "thread/B > end"),
    ),
    Case(
        name="X1a",
        title="ksmd sleeps for ever although a process has registered: no call wakes it",
        workload=REGISTRATION,
        with_=("x1a-never-woken",),
        watcher="liveness",
        kind="asleep_with_work",
        where="ksm_scan_thread",
        story="A exits, ksmd finds the list empty and goes to sleep. B registers, and does not wake it.",
        script=("exit/A > end", "ksmd > blocked", "thread/B > end"),
    ),
    Case(
        name="X1b",
        title="control: every registration wakes ksmd",
        workload=REGISTRATION,
        with_=("x1b-always-woken",),
        story="B registers while A is on the list, and wakes ksmd, which does not sleep.",
        script=("thread/B > end", "exit/A > end"),
        silent_because="ksmd looks again whenever it is woken: a wake-up too many costs a look",
    ),
    Case(
        name="X2",
        title="equal pages stay apart for ever: smart_scan looks at them in turns",
        workload=ARRIVAL,
        kernel="v6.12",
        repair=("skips-in-step",),
        watcher="convergence",
        kind="skipped_in_turns",
        where="should_skip_rmap_item",
        story=(
            "A's page is not equal to any other, so ksmd looks at it less and less often: in the end in every ninth "
            "scan. After 13 scans B comes to an equal page, which is looked at in each scan at first, then less and "
            "less often, too. They can merge only in a scan that looks at both, and never is there one: counted from "
            "A's first, ksmd looks at A 22, 31, 40 ... scans later, and at B 13 to 16, 18, 21, 26, 35, 44 ... (On all "
            "kernels that have smart_scan, v6.7 and later. On a real 6.18 four equal guests were unmerged after 300 "
            "scans. The variant skips-in-step repairs it; no kernel does.)"
        ),
        confirmed=("v6.12", "v6.18", "v7.3"),
        script=("thread/B > end", "ksmd > end"),
    ),
    Case(
        name="X2a",
        title="equal pages stay apart for ever: a page that is skipped once is skipped at each visit",
        workload=ARRIVAL,
        with_=("x2a-skips-never-run-out",),
        watcher="convergence",
        kind="never_looked_at",
        where="should_skip_rmap_item",
        story="A's page is to be skipped once, and that once never ends. B's page is equal to it.",
        script=("thread/B > end", "ksmd > end"),
    ),
    Case(
        name="X2b",
        title="control: old pages are skipped in every second scan, all in the same ones",
        workload=ARRIVAL,
        with_=("x2b-every-second-scan",),
        story="A's page is old when B comes to an equal one; from its fourth visit on both are looked at together.",
        script=("thread/B > end", "ksmd > end"),
        silent_because="two pages that are skipped in the same scans are looked at in the same scans",
    ),
    Case(
        name="X3a",
        title="equal pages stay apart for ever: ksmd takes each for one that changes",
        workload="litmus.first_merge_meets_migration",
        with_=("x3a-checksum-not-kept",),
        watcher="convergence",
        kind="pages_unmerged",
        where="cmp_and_merge_page",
        story=(
            "ksmd finds that the checksum of A's page is another one than that of its last visit, and leaves the page "
            "for the next scan; but it does not store the new one. So A's page changes in each scan, as far as ksmd "
            "knows, and B's, too."
        ),
        script=("ksmd > end", "migrationd/1 > end"),
    ),
    Case(
        name="X3b",
        title="control: a page may merge at first sight",
        workload="litmus.first_merge_meets_migration",
        with_=("x3b-first-sight-suffices",),
        story="ksmd comes to A's page for the first time, and puts it in the unstable tree at once.",
        script=("ksmd > end", "migrationd/1 > end"),
        silent_because=(
            "the checksum only keeps pages out that change all the time; a page that merges is compared once more, "
            "write-protected"
        ),
    ),
    Case(
        name="X4a",
        title="a new node is linked where a walk has ended that was misled by a write",
        workload="litmus.search_meets_write",
        with_=("x4a-place-remembered",),
        watcher="trees",
        kind="bad_order",
        where="mutex_unlock",
        story=(
            "ksmd looks for E's page, of 8, in a tree of 3, 5 and 7, and goes to the right at the root. E writes 4, "
            "which it was in the last scan. The walk ends to the left of 7. The page is not in the tree, its checksum "
            "has not changed, and F's is equal, so a KSM page is made of both. Its node is linked where the walk ended "
            "instead of where a page of 4 belongs."
        ),
        script=("ksmd > search.content x3", "thread/E > end", "ksmd > end"),
    ),
    Case(
        name="X4b",
        title="control: a search goes by what the page in hand was when it began",
        workload="litmus.search_meets_write",
        with_=("x4b-read-once",),
        story="As in X4a; ksmd goes on looking for 8 although the page is 4 by now.",
        script=("ksmd > search.content x3", "thread/E > end", "ksmd > end"),
        silent_because=(
            "what a search finds is compared once more, write-protected; what it does not find is looked for again "
            "before a node is linked"
        ),
    ),
    Case(
        name="X5a",
        title="memory that is locked can be swapped out after it was merged",
        workload="litmus.locked_merge_meets_reclaim",
        with_=("x5a-lock-not-handed-over",),
        watcher="mlock",
        kind="not_handed_over",
        where="try_to_merge_one_page",
        story=(
            "A has locked its page in memory. ksmd merges it into a KSM page that B maps, and does not give that the "
            "flag which tells reclaim to leave it alone."
        ),
        script=("ksmd > end", "kswapd/0 > end"),
    ),
    Case(
        name="X5b",
        title="control: reclaim does not go by the flag of a locked page",
        workload="litmus.locked_merge_meets_reclaim",
        with_=("x5b-flag-ignored",),
        story="Reclaim takes a page that is locked in memory, flag or not, and comes to the vma that has locked it.",
        script=("ksmd > end", "kswapd/0 > end"),
        silent_because=(
            "reclaim, when it unmaps a page, leaves it where the vma is VM_LOCKED, and marks it again: the flag only "
            "saves the way there"
        ),
    ),
    Case(
        name="X6",
        title="what a device stores is lost: its page is merged although it is pinned",
        workload="litmus.swapped_merge_meets_dma",
        without=("pinned-checked",),
        watcher="shadow",
        kind="lost_write",
        where="device_write",
        also=("shadow/store_to_ksm_page@device_write", "shadow/stale_read@device_read"),
        story=(
            "A has pinned its page for a device that is to write it. Reclaim puts the page in the swap cache and "
            "unmaps it; A reads it, and has it back, read-only and clean. ksmd need not write-protect it, so it does "
            "not ask who holds references, and replaces it by an equal KSM page. The device stores to a page without a "
            "mapping. (v3.9's own, by reading; later kernels, from v5.19 on, ask wherever a page may be pinned.)"
        ),
        script=("ksmd > end", "dma > end"),
    ),
    Case(
        name="X6a",
        title="what a device stores is lost: references are not asked for",
        workload="litmus.merge_meets_dma",
        with_=("x6a-references-ignored",),
        watcher="shadow",
        kind="lost_write",
        where="device_write",
        also=("shadow/store_to_ksm_page@device_write", "shadow/stale_read@device_read"),
        story=(
            "A has pinned its page for a device that is to write it. ksmd write-protects the page, and replaces it by "
            "an equal KSM page, although a reference is held. The device stores to a page without a mapping."
        ),
        script=("ksmd > end", "dma > end"),
    ),
    Case(
        name="X6b",
        title="control: references are asked for twice",
        workload="litmus.merge_meets_dma",
        with_=("x6b-references-asked-twice",),
        story="ksmd finds that A's page is pinned, and leaves it alone; the device stores to it.",
        script=("ksmd > end", "dma > end"),
        silent_because="the entry is taken out before the first look, so the page cannot be pinned between the two",
    ),
    Case(
        name="X7a",
        title="what a process wrote during the writeback is lost: the page is taken for clean",
        workload="litmus.writeback_meets_merge",
        with_=("x7a-clean-after-writeback",),
        watcher="shadow",
        kind="lost_write",
        where="user_read",
        also=("shadow/lost_write@none",),
        draws={"swap.read_early": (3,)},
        story=(
            "A's page is being written to swap, and the device has read it. A writes the page, which is still in the "
            "swap cache. ksmd makes a KSM page of it: that it was written is the page's own dirty bit from now on, "
            "which the end of the writeback clears. Reclaim drops the page as a clean one, and the device gives back "
            "what it has read."
        ),
        script=("writeback > writeback.end", "thread/A > end", "ksmd > end"),
    ),
    Case(
        name="X7b",
        title="control: the swap device reads a page as early as it can",
        workload="litmus.writeback_meets_merge",
        with_=("x7b-read-at-once",),
        story="As in X7a: the device has read A's page when A writes it and ksmd makes a KSM page of it.",
        script=("writeback > writeback.end", "thread/A > end", "ksmd > end"),
        silent_because="a page is marked clean before its write is submitted, so whatever comes later makes it dirty",
    ),
    Case(
        name="X8",
        title="a process reads zeros: its page was merged into one that another process had given up",
        workload="litmus.merge_meets_reclaim_of_freed",
        kernel="v6.18",
        repair=("no-ksm-given-up",),
        watcher="shadow",
        kind="lost_write",
        where="user_read",
        confirmed=("v6.18",),
        story=(
            "A has a KSM page that no other process maps, and gives it up by MADV_FREE: the page is clean then, and "
            "marked as one to drop. ksmd merges C's equal page into it. Reclaim finds no entry that was written "
            "through, and drops the page without writing it to swap. C, which has given nothing up, reads zeros. It "
            "takes no privilege. (By reading: since v4.12; tried on a real 6.18. The variant no-ksm-given-up "
            "repairs it; no kernel does.)"
        ),
        script=("thread/A > end", "ksmd > end"),
    ),
    Case(
        name="X9a",
        title="a page stays alone because a walk of the unstable tree was misled by a write",
        workload="litmus.insertion_meets_entry_write",
        with_=("x9a-searched-once",),
        watcher="convergence",
        kind="pages_unmerged",
        where="cmp_and_merge_page",
        story=(
            "The unstable tree has pages of 5, 3, 7 and A's of 4. ksmd comes to B's page of 4, and goes to the left at "
            "5. D writes its page of 3, which is 6 now: ksmd goes to the left there, too, and does not meet A's. B's "
            "page is linked as a second one of 4; C's meets B's, and the two become a KSM page. A's is unchanged and "
            "was in the unstable tree, so the stable one is not asked for it: it goes back, alone, in each scan."
        ),
        script=("ksmd > unstable.content x3", "thread/D > end", "ksmd > end"),
    ),
    Case(
        name="X9b",
        title="control: a search goes by what the entries of the unstable tree were when they were linked",
        workload="litmus.insertion_meets_entry_write",
        with_=("x9b-entries-remembered",),
        story="As in X9a; ksmd goes by 3 where the page is 6 by now, and meets A's page.",
        script=("ksmd > unstable.content x3", "thread/D > end", "ksmd > end"),
        silent_because=(
            "what is found in the unstable tree is compared once more, write-protected; what is not found is looked "
            "for again in the next scan"
        ),
    ),
)
