"""Cases of "make !merge_across_nodes migration safe" (S6). In all of them merge_across_nodes is 0."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

BY_NODE: Final = {"merge_across_nodes": "0"}

NODES: Final = (
    Case(
        name="S6a",
        title="a stable node is erased from another tree than the one it is in",
        workload="litmus.moved_page_meets_exit",
        with_=("s6a-root-by-kpfn",),
        watcher="structure",
        kind="rb_erase_of_nonmember",
        where="stable_tree_erase",
        story=(
            "A KSM page moves from node 0 to node 1: its stable node is still in the tree of node 0, its kpfn says "
            "node 1. All who map the page exit. ksmd comes to the stale node and erases it from the tree of node 1, "
            "in which it is not. The tree of node 0 goes on naming freed memory."
        ),
        script=("migrationd/1 > end", "exit/A > end", "ksmd > end"),
        headline=True,
    ),
    Case(
        name="S6b",
        title="a page is merged with one of another node, against the knob",
        workload="litmus.search_meets_migration",
        params=BY_NODE,
        with_=("s6b-misplaced-is-found",),
        watcher="locality",
        kind="merged_across_nodes",
        where="replace_page",
        story=(
            "ksmd is about to search the tree of node 0 for C's page. The equal KSM page moves to node 1; its stable "
            "node is where it was. The search finds it, does not ask where its page is by now, and C gets a page of "
            "node 1."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S6c",
        title="a stable node stays on migrate_nodes for ever",
        workload="litmus.exiled_node_meets_exit",
        with_=("s6c-no-pruning",),
        watcher="pruning",
        kind="stale_node_kept",
        where="scan_get_next_rmap_item",
        story=(
            "A KSM page has moved, and its node was driven out of the tree by a collision. A and B have written "
            "their pages, so ksmd takes their items off the node; a child D, which it has not come to yet, is the "
            "last to map the page. D exits first. Now no item leads to the node, and no search meets what is on "
            "migrate_nodes: only the look at the start of each scan would free it."
        ),
        script=("ksmd > scan.mmap_sem of sem of D", "exit/D > end", "ksmd > end"),
    ),
    Case(
        name="S6d",
        title="merge_across_nodes becomes 1 with a stable node on migrate_nodes",
        workload="litmus.exiled_node_meets_switch",
        with_=("s6d-list-left",),
        watcher="knob",
        kind="node_on_migrate_nodes",
        where="merge_across_nodes_store",
        story=(
            "A node without items is on migrate_nodes, so pages_shared is 0. The switch of merge_across_nodes "
            "removes what is in the trees, and succeeds. With the knob at 1 no scan looks at migrate_nodes again: a "
            "leak."
        ),
        script=("unmerged/sysfs > end", "exit/D > end"),
    ),
    Case(
        name="S6e",
        title="a stable node on migrate_nodes names a frame that is offline",
        workload="litmus.exiled_node_meets_hotplug",
        with_=("s6e-list-unchecked",),
        watcher="offline",
        kind="node_of_absent_frame",
        where="ksm_check_stable_tree",
        story=(
            "The page of a node on migrate_nodes has been freed. Its memory goes offline; the check of the stable "
            "nodes looks through the trees only. The next scan starts by asking each node on the list for its page, "
            "and touches a struct page that is gone."
        ),
        script=("hotplug > end", "ksmd > end"),
    ),
    Case(
        name="S6f",
        title="a moved node is linked below an entry that has been freed",
        workload="litmus.collision_meets_exit",
        with_=("s6f-no-second-search",),
        watcher="structure",
        kind="linked_below_nonmember",
        where="stable_tree_search",
        story=(
            "ksmd looks for a place for a moved KSM page and finds an equal one. Before it looks a second time, the "
            "last process that maps that one exits: its node is stale, and freed. The search goes on from where it "
            "was, and links the moved node below the freed one."
        ),
        script=("ksmd > search.second_look", "exit/C > end", "ksmd > end"),
    ),
    Case(
        name="S6g",
        title="a merged page is looked up in the stable tree although its place is right",
        workload="litmus.scan_meets_migration",
        params=BY_NODE,
        with_=("s6g-never-settled",),
        story=(
            "ksmd does not ask whether a merged page is where it should be, but searches for it each time; the page "
            "moves to another node just then."
        ),
        script=("ksmd > scan.mmap_sem of sem of B", "migrationd/1 > end", "ksmd > end"),
        silent_because=(
            "the search returns at once for a page whose node is in a tree, and the item that has this node already "
            "is left alone afterwards: it only costs a reference"
        ),
    ),
    Case(
        name="S6h",
        title="a misplaced node goes on migrate_nodes while it is in its tree",
        workload="litmus.scan_meets_migration",
        params=BY_NODE,
        with_=("s6h-exile-without-erase",),
        watcher="structure",
        kind="union_misuse",
        where="stable_node_to_migrate_nodes",
        story=(
            "A KSM page moves to another node. ksmd comes to it, finds its stable node misplaced, and puts it on "
            "migrate_nodes without taking it out of its tree. The links of list and tree are the same words."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S6i",
        title="a moved KSM page loses its mappings one by one",
        workload="litmus.scan_meets_migration",
        params=BY_NODE,
        with_=("s6i-never-back",),
        watcher="rmap",
        kind="lost_mapping",
        where="rmap_walk_ksm",
        story=(
            "A KSM page moves to another node, and its stable node goes on migrate_nodes. It never comes back from "
            "there: ksmd takes the item of each mapping that it comes to off the node, and puts it into the unstable "
            "tree at best. The page stays mapped, and reverse mapping finds none of the places."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S6j",
        title="a moved node is in one tree and says that it is in another",
        workload="litmus.scan_meets_migration",
        params=BY_NODE,
        with_=("s6j-old-nid",),
        watcher="structure",
        kind="rb_erase_of_nonmember",
        where="stable_tree_erase",
        also=("trees/wrong_tree@mutex_unlock",),
        story=(
            "A KSM page moves to another node, and its stable node is linked in that node's tree, but keeps the "
            "index of the old one. ksmd comes to the next mapping, takes the node for misplaced, and erases it from "
            "the tree that it names, in which it is not."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S6k",
        title="a moved node is linked in a tree while it is on migrate_nodes",
        workload="litmus.scan_meets_migration",
        params=BY_NODE,
        with_=("s6k-link-before-unlist",),
        watcher="structure",
        kind="union_misuse",
        where="stable_tree_search",
        story=(
            "A KSM page moves to another node, and its stable node is linked in that node's tree before it is taken "
            "off migrate_nodes: the neighbours on the list are overwritten with what were tree links."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S6l",
        title="a misplaced node is in no tree and on no list",
        workload="litmus.moved_page_is_met",
        with_=("s6l-replaced-is-nowhere",),
        watcher="structure",
        kind="rb_erase_of_nonmember",
        where="stable_tree_erase",
        story=(
            "A KSM page moves to another node. A search for an equal page of the old node meets its stable node, and "
            "takes it out of the tree, but does not put it on migrate_nodes. The next who comes to the page finds "
            "its node misplaced, and takes it out of the tree, in which it is no more."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
    Case(
        name="S6m",
        title="two pages are merged and broken again in every scan",
        workload="litmus.moved_page_in_swap",
        with_=("s6m-misplaced-stays",),
        watcher="convergence",
        kind="merged_for_ever",
        where="cmp_and_merge_page",
        story=(
            "A KSM page has moved to another node, and gone to swap; its node stays in the old tree, although each "
            "search that meets it finds it misplaced. Two other pages of the old node are equal: ksmd merges them, "
            "finds that the tree has an equal entry already, and breaks them apart. So it goes in every scan."
        ),
        script=("kswapd/0 > end", "ksmd > end"),
    ),
    Case(
        name="S6n",
        title="ksmd passes by what is merged, and never sees that it has moved",
        workload="litmus.moved_page_finds_equal",
        with_=("s6n-merged-unvisited",),
        watcher="convergence",
        kind="pages_unmerged",
        where="cmp_and_merge_page",
        story=(
            "A KSM page moves to node 1, where C has an equal page. Its stable node stays in the tree of node 0, "
            "since ksmd does not look at pages that are merged already. A search in the tree of node 1 does not find "
            "it, so C's page stays alone for ever."
        ),
        script=("migrationd/1 > end", "ksmd > end"),
    ),
)
