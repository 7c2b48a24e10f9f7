"""What races are over, what they cost the loser, and why the kernel may not know the winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Race:
    """What is to be said of a kind of race beside its fields.

    Attributes:
        over: what it is over, as a text with `{kpfn}` for that field.
        cost: what it costs the loser, in a word or two.
        meaning: what that means.
        unknown: why the kernel may not know the winner; empty if it always does.
        winner: who the winner is.
    """

    over: str
    cost: str
    meaning: str
    unknown: str = ""
    winner: str = "the actor that got there first"

    def derived(self, values: Sequence[Any]) -> tuple[str, str]:
        """The fields `object` and `cost` of a record with these values. Without a page it is over an address space."""
        over = self.over if values[5] >= 0 else "mm {winner}"
        return over.format(winner=values[0], kpfn=values[5]), self.cost


RACES: Final = {
    "page_migrated": Race(
        "stable_node of pfn {kpfn}", "retry", "the lookup starts again",
    ),
    "page_frozen": Race(
        "pfn {kpfn}", "retries", "the lookup spins until the references are back",
    ),
    "stale_node": Race(
        "stable_node of pfn {kpfn}", "node freed", "its rmap_items become volatile",
        unknown="the frame is in use again, and nothing in it names the actor that freed it",
    ),
    "trylock_lost": Race(
        "pfn {kpfn}", "lost merge", "until the next scan",
        unknown="the trylock failed because a fault was injected, no actor holds the lock",
    ),
    "checksum_changed": Race(
        "pfn {kpfn}", "scan", "the page is not searched for before its checksum stays the same",
        unknown="the frame has not been written since it was given out: the content came with it",
    ),
    "content_changed": Race(
        "pfn {kpfn}", "lost merge", "until the next scan",
        unknown="as for race.checksum_changed",
    ),
    "pte_changed": Race(
        "pfn {kpfn}", "retry", "the fault is taken again, or the merge waits for the next scan",
        unknown="no actor has held this page table lock before",
    ),
    "page_pinned": Race(
        "pfn {kpfn}", "lost merge", "until the next scan",
        unknown="no reference was taken since the frame was given out",
    ),
    "migration_busy": Race(
        "pfn {kpfn}", "retry", "of the migration, which gives up after ten passes",
        unknown="as for race.page_pinned",
    ),
    "migration_locked": Race(
        "pfn {kpfn}", "retry", "of the migration; in its later passes it waits instead",
        unknown="as for race.trylock_lost",
    ),
    "unstable_gone": Race(
        "pfn {kpfn}", "lost merge", "the search ends, and the page waits for the next scan",
        unknown="an entry of the unstable tree holds no reference, and nothing in it says who unmapped its page",
    ),
    "unstable_moved": Race(
        "pfn {kpfn}", "lost merge", "the search ends, and the page waits for the next scan",
        unknown="an rmap_item does not say who migrated its page",
    ),
    "node_misplaced": Race(
        "stable_node of pfn {kpfn}", "page exiled", "its node goes to migrate_nodes until a scan comes to the page",
        unknown="the page has not been migrated since the node came to be",
    ),
    "node_collided": Race(
        "stable_node of pfn {kpfn}",
        "page exiled",
        "its node stays on migrate_nodes, its mappings are merged into the other page",
        unknown="as for race.node_misplaced",
    ),
    "mm_exited": Race(
        "mm {winner}", "pages skipped", "those of the address space",
        winner="the address space that exited",
    ),
    "vma_gone": Race(
        "the vma of pfn {kpfn}", "lost merge", "the page has nowhere to be merged",
        unknown="the vma lost its advice, or the page its mapping, and neither says by whom",
        winner="the address space whose mapping went",
    ),
    "insert_lost": Race(
        "pfn {kpfn}", "lost merge", "both mappings are unshared again",
        unknown="the other entry says nothing of who inserted it, and it may be stale",
    ),
}  # fmt: skip
"""By kind."""
