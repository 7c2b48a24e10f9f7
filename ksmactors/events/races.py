"""What races are over, what they cost the loser, and why the kernel may not know the winner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple


class Cost(NamedTuple):
    """What one race costs the loser, as counts. `COUNTS` says what each is."""

    retries: int = 0
    lost_merges: int = 0
    pages_exiled: int = 0
    nodes_freed: int = 0
    pages_skipped: int = 0


COUNTS: Final = (
    ("retries", "attempts", "those that the loser must make again, at the least"),
    ("lost_merges", "merges", "those that do not take place in this scan"),
    ("pages_exiled", "pages", "KSM pages whose stable node is on migrate_nodes because of it"),
    ("nodes_freed", "", "stable nodes that were freed because of it"),
    ("pages_skipped", "pages", "those that this scan does not search for, -1 for an unknown number"),
)
"""The fields of `Cost`, in order: name, unit, meaning."""

RETRY: Final = Cost(retries=1)
LOST_MERGE: Final = Cost(lost_merges=1)
EXILE: Final = Cost(pages_exiled=1)


class Race(NamedTuple):
    """What is to be said of a kind of race beside its fields.

    Attributes:
        over: what it is over, as a text with `{kpfn}` for that field.
        cost: what it costs the loser, in a word or two.
        meaning: what that means.
        counts: the same, as counts.
        unknown: why the kernel may not know the winner; empty if it always does.
        winner: who the winner is.
        by_reference: whether the actor that took the last reference is recorded as the winner. That may be the loser,
            who is then not shown as the winner over itself.
    """

    over: str
    cost: str
    meaning: str
    counts: Cost
    unknown: str = ""
    winner: str = "the actor that got there first"
    by_reference: bool = False

    def known_winner(self, values: Sequence[Any]) -> str:
        """The winner in a record with these values, or `unknown`."""
        winner, loser = values[:2]
        return "unknown" if self.by_reference and winner == loser else winner

    def derived(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The fields `object`, `cost` and those of `Cost` of a record with these values. Without a page it is over
        an address space."""
        over = self.over if values[5] >= 0 else "mm {winner}"
        return over.format(winner=values[0], kpfn=values[5]), self.cost, *self.counts


RACES: Final = {
    "page_migrated": Race(
        "stable_node of pfn {kpfn}", "retry", "the lookup starts again", RETRY,
    ),
    "page_frozen": Race(
        "pfn {kpfn}", "retries", "the lookup spins until the references are back", RETRY,
    ),
    "stale_node": Race(
        "stable_node of pfn {kpfn}", "node freed", "its rmap_items become volatile", Cost(nodes_freed=1),
        unknown="the frame is in use again, and nothing in it names the actor that freed it",
    ),
    "trylock_lost": Race(
        "pfn {kpfn}", "lost merge", "until the next scan", LOST_MERGE,
        unknown="the trylock failed because a fault was injected, no actor holds the lock",
    ),
    "checksum_changed": Race(
        "pfn {kpfn}", "scan", "the page is not searched for before its checksum stays the same", Cost(pages_skipped=1),
        unknown="the frame has not been written since it was given out: the content came with it",
    ),
    "content_changed": Race(
        "pfn {kpfn}", "lost merge", "until the next scan", LOST_MERGE,
        unknown="as for race.checksum_changed",
    ),
    "pte_changed": Race(
        "pfn {kpfn}", "retry", "the fault is taken again at once, or the merge in the next scan", RETRY,
        unknown="no actor has held this page table lock before",
    ),
    "page_pinned": Race(
        "pfn {kpfn}", "lost merge", "until the next scan", LOST_MERGE,
        unknown="the loser took the last reference, or none was taken since the frame was given out",
        by_reference=True,
    ),
    "migration_busy": Race(
        "pfn {kpfn}", "retry", "of the migration, which gives up after ten passes", RETRY,
        unknown="as for race.page_pinned",
        by_reference=True,
    ),
    "migration_locked": Race(
        "pfn {kpfn}", "retry", "of the migration; in its later passes it waits instead", RETRY,
        unknown="as for race.trylock_lost",
    ),
    "unstable_gone": Race(
        "pfn {kpfn}", "lost merge", "the search ends, and the page waits for the next scan", LOST_MERGE,
        unknown="an entry of the unstable tree holds no reference, and nothing in it says who unmapped its page",
    ),
    "unstable_moved": Race(
        "pfn {kpfn}", "lost merge", "the search ends, and the page waits for the next scan", LOST_MERGE,
        unknown="an rmap_item does not say who migrated its page",
    ),
    "node_misplaced": Race(
        "stable_node of pfn {kpfn}", "page exiled", "its node goes to migrate_nodes until a scan comes to the page",
        EXILE,
        unknown="the page has not been migrated since the node came to be",
    ),
    "node_collided": Race(
        "stable_node of pfn {kpfn}",
        "page exiled",
        "its node stays on migrate_nodes, its mappings are merged into the other page", EXILE,
        unknown="as for race.node_misplaced",
    ),
    "mm_exited": Race(
        "mm {winner}", "pages skipped", "those of the address space", Cost(pages_skipped=-1),
        winner="the address space that exited",
    ),
    "vma_gone": Race(
        "the vma of pfn {kpfn}", "lost merge", "the page has nowhere to be merged", LOST_MERGE,
        unknown="the vma lost its advice, or the page its mapping, and neither says by whom",
        winner="the address space whose mapping went",
    ),
    "insert_lost": Race(
        "pfn {kpfn}", "lost merge", "both mappings are unshared again", LOST_MERGE,
        unknown="the other entry says nothing of who inserted it, and it may be stale",
    ),
}  # fmt: skip
"""By kind."""
