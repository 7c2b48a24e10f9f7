"""Cases of a KSM page whose memory fails (X11a to X11c)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

MERGE: Final = "litmus.merge_meets_memory_failure"

MEMORY_FAILURE: Final = (
    Case(
        name="X11a",
        title="a good page is replaced by one whose memory has failed: the failure of a KSM page is refused",
        workload=MERGE,
        without=("poisoned-nodes",),
        watcher="memory_failure",
        kind="mapped",
        where="replace_page_at",
        story=(
            "The memory of a KSM page fails that A and B share. memory_failure marks the page, and gives up, since it "
            "does not deal with KSM pages. The page keeps its stable node. ksmd comes to an equal page of C, whose "
            "memory is good, finds the node, and maps the marked page in its place. (Up to v6.3.)"
        ),
        confirmed=("v6.1",),
        script=("scrubber > end", "ksmd > end"),
    ),
    Case(
        name="X11b",
        title="a good page is replaced by one whose memory has failed: its stable node is left",
        workload=MERGE,
        kernel="v6.12",
        repair=("poisoned-nodes",),
        watcher="memory_failure",
        kind="mapped",
        where="replace_page_at",
        story=(
            "ksmd knows the checksum of a page of C. The memory of an equal KSM page fails. memory_failure takes it "
            "from A and B, and is done: their entries end in SIGBUS. But its reference keeps the page alive, so the "
            "stable node is not stale. Until ksmd has come to A and B, their rmap_items are on it. ksmd comes to C "
            "first, and maps the page in the place of C's own. (v6.4 and later.)"
        ),
        confirmed=("v6.12",),
        script=("ksmd > batch.mutex", "scrubber > end", "ksmd > end"),
    ),
    Case(
        name="X11c",
        title="a proposed recovery waits for ksmd, which waits for the page whose memory has failed",
        workload="litmus.chain_meets_memory_failure",
        kernel="v6.12",
        with_=("recover-within-chain",),
        watcher="lock_order",
        kind="ksm_thread_mutex_under_page_lock",
        where="ksm_recover_within_chain",
        also=(
            "deadlock/deadlock@ksm_recover_within_chain+lock_page_if_of_node",
            "naming/freed_while_named@free_stable_node",
            "references/freed_while_mapped@ksm_recover_within_chain",
            "references/wrong_count@none",
        ),
        story=(
            "Two KSM pages of one content stand in a chain, and the memory of one fails. memory_failure has locked "
            "it, and takes ksm_thread_mutex, to move its mappings to a copy of the other one. ksmd holds the mutex. It "
            "has come to a mapping of the first page that was written to, and waits for the lock of that page. (A "
            "patch proposed in October 2025. It also replaces entries that map another page by then.)"
        ),
        script=("scrubber > end", "ksmd > end"),
    ),
)
