"""Cases of the check of the stable trees when memory has gone offline (S2)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

HOTPLUG: Final = "litmus.scan_meets_hotplug"
BY_NODE: Final = {"merge_across_nodes": "0"}

STABLE_CHECK: Final = (
    Case(
        name="S2a",
        title="the check of the stable tree goes on from an entry that it has freed",
        workload=HOTPLUG,
        params=BY_NODE,
        with_=("s2a-step-after-free",),
        watcher="lifetime",
        kind="use_after_free_stable_node",
        where="ksm_check_stable_tree",
        story=(
            "Three KSM pages of a node have been freed, their stable nodes not yet pruned. The node goes offline; the "
            "check frees the first of them, then asks it for the next."
        ),
        script=("hotplug > end", "ksmd > end"),
    ),
    Case(
        name="S2b",
        title="stable nodes stay that name frames which are offline",
        workload=HOTPLUG,
        params=BY_NODE,
        with_=("s2b-no-pruning-at-offline",),
        watcher="offline",
        kind="node_of_absent_frame",
        where="ksm_check_stable_tree",
        also=("lifetime/use_after_free_frame@pfn_to_page",),
        story=(
            "Three KSM pages of a node have been freed, their stable nodes not yet pruned. The node goes offline, and "
            "no code looks for such stable nodes. The next time ksmd comes to one it asks for a struct page that is "
            "gone."
        ),
        script=("hotplug > end", "ksmd > end"),
    ),
    Case(
        name="S2d",
        title="the check of the stable tree looks at frames that are offline",
        workload=HOTPLUG,
        params=BY_NODE,
        with_=("s2d-check-by-keyhole",),
        watcher="lifetime",
        kind="use_after_free_frame",
        where="pfn_to_page",
        story=(
            "The check asks get_ksm_page whether a stable node is stale. That looks at the struct page of its frame, "
            "which has been taken away with the memory."
        ),
        script=("hotplug > end", "ksmd > end"),
    ),
)
