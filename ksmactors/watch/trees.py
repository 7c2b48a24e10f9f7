"""O2: the trees are sound red-black trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.rbtree import RbNode
from ksmactors.ksm.structs import FREED, KSM_RUN_OFFLINE, RmapItem, StableNode
from ksmactors.later.chain_nodes import Chain
from ksmactors.machine import Machine
from ksmactors.watch.base import UNLOCK, Watcher, frame_at
from ksmactors.watch.probe import Probe, names_of, number_of


class TreeInvariants(Watcher):
    """Every tree is a red-black tree of members that say so, and a stable one is strictly ordered by content.

    Promise. Parents and children name each other, no red entry has a red child, all paths down have equally many black
    entries, the root is black and has no parent. Each entry says that it is linked in this tree, in this generation,
    and not elsewhere: a stable node is in exactly one place, the tree of its stored nid or `migrate_nodes`. No two
    entries of one stable tree have equal pages; in later kernels equal pages are dups of one chain.

    Why it holds. Trees, `nid` and the list change under ksm_thread_mutex only. The stored nid determines the tree to
    erase from, never the node that the page is on now (S6a, S6j). The links of tree and list share their storage, so a
    node leaves one before it enters the other (S6h, S6k, S6l). A stable page's content cannot change, and an insertion
    refuses an equal page, so a stable tree stays in order.

    When not checked. While an actor holds the mutex a node may be between two places, so the check is made when it is
    released. While memory goes offline the trees are changed without it, under the exclusion that the OFFLINE bit
    gives. An unstable tree is in use from the reset at the start of a scan to the end of that scan; before and after
    its links dangle, and in one that this scan did not reset (H2). The order of an unstable tree is not checked: its
    pages may be written at any time. An entry whose page is gone has no content to compare and is skipped.

    Finding. The next search walks into a wrong subtree, or into freed memory. Cases: S2a, S6a, S6f, S6h, S6j to S6l,
    H3, R6, R7. The operation detects much of that earlier (`structure/...`: an erasure of what is no member), so this
    watcher is left with what links and erases without an error.
    """

    name: ClassVar[str] = "trees"
    summary: ClassVar[str] = "the trees are red-black trees of their members, in order (O2)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _at_unlock(self) -> None:
        kernel = self.kernel
        if kernel.ksm_run & KSM_RUN_OFFLINE:
            return
        for root in kernel.root_stable_tree:
            if root.root is not None:
                self._red_black(root)
                self._ordered(root)
        scan = kernel.ksm_scan
        if scan.mm_slot is not kernel.ksm_mm_head:
            for tree in kernel.root_unstable_tree:
                if tree.root is not None and tree.reset_in == scan.started:
                    self._red_black(tree)
        for node in kernel.migrate_nodes:
            if not node.migrating or node.rb_tree is not None:
                raise self._unsound("bad_migrate_nodes", f"{node} is on migrate_nodes, but its fields deny it", node)

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Check the tree in the same way after each step; an unstable one counts for as long as it is in use."""
        kernel, number = self.kernel, number_of(finding, "node")
        name = next((one[1] for one in names_of(finding) if one[0] == "tree"), None)
        if name is None:
            listed = kernel.migrate_nodes
            return Probe(
                lambda: sum(one.number == number and not (one.migrating and one.rb_tree is None) for one in listed)
            )
        stable = [root for root in kernel.root_stable_tree if root.name == name]
        unstable = [root for root in kernel.root_unstable_tree if root.name == name]

        def wrong() -> int:
            try:
                for root in stable:
                    self._red_black(root)
                    self._ordered(root)
                for tree in unstable:
                    if tree.reset_in == kernel.ksm_scan.started:
                        self._red_black(tree)
            except Finding:
                return 1
            return 0

        return Probe(wrong)

    def _unsound(self, kind: str, message: str, root: object) -> Finding:
        return self.finding(kind, message, where=UNLOCK, about=(root,))

    def _red_black(self, root: ContentTree[StableNode] | ContentTree[RmapItem]) -> None:
        if root.root is not None and (root.root.rb_red or root.root.rb_parent is not None):
            raise self._unsound("bad_tree", f"the root of {root.name} is red or has a parent", root)
        self._height(root, root.root)

    def _height(self, root: ContentTree[StableNode] | ContentTree[RmapItem], node: RbNode | None) -> int:
        if node is None:
            return 1
        if node.flag == FREED if isinstance(node, RmapItem) else isinstance(node, StableNode) and not node.alive:
            raise self._unsound("freed_member", f"{node} is linked in {root.name}, but has been freed", root)
        if node.rb_tree is not root.generation:
            raise self._unsound("bad_tree", f"{node} is linked in {root.name}, but its fields deny it", root)
        if isinstance(node, RmapItem) and node.nid != root.nid:
            raise self._unsound("wrong_tree", f"{node} (nid {node.nid}) is linked in {root.name}", root)
        for child in (node.rb_left, node.rb_right):
            if child is not None and (child.rb_parent is not node or (child.rb_red and node.rb_red)):
                message = f"{child} in {root.name}: wrong parent, or two reds in a row"
                raise self._unsound("bad_tree", message, root)
        left, right = self._height(root, node.rb_left), self._height(root, node.rb_right)
        if left != right:
            raise self._unsound("bad_tree", f"{root.name} is not balanced below {node}", root)
        return left + (not node.rb_red)

    def _ordered(self, root: ContentTree[StableNode]) -> None:
        last: bytes | None = None
        for entry in root:
            nodes = self._nodes(root, entry)
            contents = [content for node in nodes if (content := self._content(root, node)) is not None]
            if not contents:
                continue
            if min(contents) != max(contents):
                raise self._unsound("unequal_dups", f"{root.name}: the pages of {entry} are not all equal", root)
            if last is not None and contents[0] <= last:
                message = f"{root.name}: the page of {entry} is not above the one before"
                raise self._unsound("bad_order", message, root)
            last = contents[0]

    def _nodes(self, root: ContentTree[StableNode], entry: StableNode) -> Sequence[StableNode]:
        """Return the nodes that an entry of a stable tree stands for."""
        if not isinstance(entry, Chain):
            return [entry]
        if entry.first is not None:
            raise self._unsound("bad_chain", f"{entry} has rmap_items, as only its dups may", root)
        for dup in entry.dups:
            if not dup.alive or dup.chain is not entry or dup.rb_tree is not None:
                message = f"{dup} on {entry} is linked elsewhere, too, or its fields say so"
                raise self._unsound("bad_chain", message, root)
        return entry.dups

    def _content(self, root: ContentTree[StableNode], node: StableNode) -> bytes | None:
        """Return what the content of a node's page is ordered by, or None if the page is gone."""
        if node.nid != root.nid:
            raise self._unsound("wrong_tree", f"{node} (nid {node.nid}) is linked in {root.name}", root)
        if node.migrating:
            raise self._unsound("wrong_tree", f"{node} is linked in {root.name}, and on migrate_nodes, too", root)
        page = frame_at(self.kernel, node.kpfn)
        return page.content.order if page is not None and page.mapping is node.mapping else None
