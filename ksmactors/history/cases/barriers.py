"""Cases of the barriers between a migration and the keyhole reader, in weak memory (S5b)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

BARRIERS: Final = (
    Case(
        name="S5b-W4",
        title="no write barrier: the old mapping is seen gone before the new kpfn is seen",
        workload="litmus.scan_meets_migration",
        with_=("weak-memory", "s5b-no-write-barrier"),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=(
            "lifetime/use_after_free_stable_node@cmp_and_merge_page",
            "lifetime/use_after_free_rmap_item@rmap_walk_ksm",
        ),
        story=(
            "A migration stores the new kpfn into the stable node and then takes the old page's mapping away. Without "
            "the barrier between them ksmd may see the second store and not the first: it finds the old page without "
            "the mapping, reads kpfn again, still gets the old one, and frees a node whose page lives."
        ),
        script=("ksmd > get_ksm_page.R3", "migrationd/1 > migrate.restore", "ksmd > end", "migrationd/1 > end"),
        draws={"memory.kpfn": (1,)},
    ),
    Case(
        name="S5b-GK7",
        title="no read barrier: kpfn was read again too early, before the mapping was looked at",
        workload="litmus.scan_meets_migration",
        with_=("weak-memory", "s5b-no-read-barrier"),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        also=(
            "lifetime/use_after_free_stable_node@cmp_and_merge_page",
            "lifetime/use_after_free_rmap_item@rmap_walk_ksm",
        ),
        story=(
            "ksmd reads kpfn; a migration moves the page, stores in the right order, and ends. ksmd finds the old page "
            "without the mapping. Without a barrier its second read of kpfn may have been done before that look, and "
            "gives the old frame once more: a live node is freed."
        ),
        script=("ksmd > get_ksm_page.R3", "migrationd/1 > end", "ksmd > end"),
        draws={"memory.kpfn": (1,)},
    ),
)
