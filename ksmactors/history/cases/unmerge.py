"""Cases of "remove old stable nodes more thoroughly" (S4)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

BY_NODE: Final = {"merge_across_nodes": "0"}

OURS: Final = ("run-under-pte-lock", "break-swapped")
"""Two repairs that keep a fault and run=2 apart by other means."""

UNMERGE: Final = (
    Case(
        name="S4a",
        title="run=2 leaves the stable nodes of pages that are unmapped, but alive",
        workload="litmus.unmerge_meets_reclaim",
        without=("break-swapped",),
        with_=("s4a-no-removal",),
        watcher="unmerge",
        kind="node_left",
        where="run_store",
        story=(
            "Reclaim puts a KSM page in the swap cache and unmaps it; its write is under way. run=2 finds nothing "
            "mapped, frees the rmap_items, and is content: the stable node, without items now, stays in its tree. "
            "pages_shared is 0, so merge_across_nodes can be switched; then the tree that the node is in is no "
            "longer the one in which it is looked for."
        ),
        script=("kswapd/0 > end", "unmerged/sysfs > end"),
        headline=True,
    ),
    Case(
        name="S4a-0to1",  # also called S4a', which is awkward in a shell
        title="merge_across_nodes becomes 1, and a stable node is left in a tree that no search visits any more",
        workload="litmus.switch_meets_fault",
        params={"home": "1", **BY_NODE},
        with_=("s4a-no-removal",),
        watcher="knob",
        kind="node_in_tree",
        where="merge_across_nodes_store",
        story=(
            "KSM pages of node 1 are in the swap cache and mapped nowhere; ksmd has passed, so no item is left and "
            "pages_shared is 0. merge_across_nodes becomes 1: from now on only the tree of node 0 is searched, checked "
            "and pruned. The stable nodes in the other one are out of reach until the next switch, when their pages "
            "may be gone, frames and all."
        ),
        script=("unmerged/sysfs > end", "fault/A > end"),
    ),
    Case(
        name="S4b",
        title="a child that is forked during run=2 keeps its KSM pages",
        workload="litmus.unmerge_meets_fork",
        with_=("s4b-behind-cursor",),
        watcher="unmerge",
        kind="ksm_page_left",
        where="run_store",
        story=(
            "run=2 is busy with A. B forks: the child is put on the list just behind the cursor, that is, where "
            "unmerging has been already, and gets B's KSM page. Unmerging goes on with B, comes to the end, and has "
            "not seen the child."
        ),
        script=("unmerged/sysfs > unmerge.page of lock of A", "fork/B > end", "unmerged/sysfs > end"),
    ),
    Case(
        name="S4c",
        title="a fault brings a KSM page back behind the back of run=2",
        workload="litmus.unmerge_meets_fault",
        without=OURS,
        with_=("s4c-no-copy-while-unmerging",),
        watcher="unmerge",
        kind="ksm_page_left",
        where="run_store",
        story=(
            "A KSM page is in the swap cache. run=2 comes to A and finds a swap entry: nothing to break. While it "
            "goes on with B, A touches the page: the fault finds it in the swap cache, a KSM page with a node, and "
            "maps it as it is. When run=2 has succeeded A maps a KSM page for which there is no rmap_item."
        ),
        script=("unmerged/sysfs > unmerge.mmap_sem of sem of B", "fault/A > end", "unmerged/sysfs > end"),
    ),
    Case(
        name="S4d",
        title="a page that could not be read from swap is copied, and read",
        workload="litmus.spoilt_page_meets_fault",
        with_=("s4d-copy-unread",),
        watcher="shadow",
        kind="lost_write",
        where="user_read",
        story=(
            "A page of the swap cache could not be read. It has been A's, and B has its swap entry, too. B touches "
            "it: the fault sees another's page, makes a copy of whatever is in the frame, and the copy is as good as "
            "any: B reads garbage where it should get SIGBUS."
        ),
        script=("fault/B > end", "thread/A > end"),
    ),
    Case(
        name="S4e",
        title="a stable node is removed while its page is mapped",
        workload="litmus.switch_meets_fault",
        with_=("s4e-remove-mapped",),
        watcher="rmap",
        kind="half_ksm_page",
        where="rmap_walk_ksm",
        story=(
            "A KSM page is in the swap cache, its items are gone. A touches it and maps it again, without an item. "
            "Then merge_across_nodes is switched, which removes all stable nodes, this one included, instead of giving "
            "up: A is left with a KSM page without a node, which reverse mapping does not find until A writes to it."
        ),
        script=("fault/A > end", "unmerged/sysfs > end"),
    ),
    Case(
        name="S4f",
        title="the page of a stable node that is removed goes on naming it",
        workload="litmus.switch_meets_fault",
        with_=("s4f-mapping-kept",),
        watcher="naming",
        kind="freed_while_named",
        where="free_stable_node",
        story=(
            "A KSM page is in the swap cache and unmapped. merge_across_nodes is switched, and its stable node is "
            "freed; the page's mapping goes on naming it. A fault maps the page as a KSM page again, and ksmd, or "
            "reverse mapping, follows the mapping into freed memory."
        ),
        script=("unmerged/sysfs > end", "fault/A > end"),
    ),
    Case(
        name="S4g",
        title="the removal of all stable nodes ends at the first that is mapped",
        workload="litmus.switch_meets_fault",
        params=BY_NODE,
        with_=("s4g-no-next-tree",),
        story=(
            "merge_across_nodes is switched while a stable node in the first tree has a page that is mapped again. "
            "What is in the other tree is not looked at."
        ),
        script=("fault/A > end", "unmerged/sysfs > end"),
        silent_because=(
            "the switch is -EBUSY in any case, and nothing promises what such an attempt has removed: the nodes that "
            "are left are as good as before"
        ),
    ),
)
