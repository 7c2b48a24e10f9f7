"""O2, O3: the trees are trees, and stable nodes and pages name each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.rbtree import RbNode
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, STABLE_FLAG, RmapItem, StableNode
from ksmactors.later.chain_nodes import Chain, DupNode
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher


class Structure(Watcher):
    """Trees, lists and back-pointers are sound whenever ksm_thread_mutex is released.

    Every tree obeys the red-black rules and its members say that they are in it; stable trees are strictly ordered by
    content, as far as their pages are still there (an unstable tree may have rotted: that is its nature). A live node
    and its page name each other; only while a migration holds one of the two locks may that be otherwise. The items on
    a node's hlist name the node and are marked stable. The dups of a chain have equal pages and say so.
    migrate_nodes holds just the nodes that say so.
    """

    name: ClassVar[str] = "structure"
    summary: ClassVar[str] = "trees, lists and back-pointers are sound (O2, O3)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _at_unlock(self) -> None:
        kernel = self.kernel
        if kernel.ksm_run & KSM_RUN_OFFLINE:  # memory hot-remove changes the trees without the mutex
            return
        for root in kernel.root_stable_tree:
            self._red_black(root)
            self._ordered(root)
        scan = kernel.ksm_scan
        for tree in kernel.root_unstable_tree:
            # Between two scans links may dangle, and in a tree that this scan has not reset: nobody follows them yet.
            if scan.mm_slot is not kernel.ksm_mm_head and tree.reset_in == scan.seqnr:
                self._red_black(tree)
        for node in kernel.migrate_nodes:
            if not node.migrating or node.rb_tree is not None:
                raise self.convicts("bad_migrate_nodes", f"{node} is on migrate_nodes and says that it is not")
            self._named(node)

    def _red_black(self, root: ContentTree[StableNode] | ContentTree[RmapItem]) -> None:
        if root.root is not None and (root.root.rb_red or root.root.rb_parent is not None):
            raise self.convicts("bad_tree", f"the root of {root.name} is red or has a parent")
        self._height(root, root.root)

    def _height(self, root: ContentTree[StableNode] | ContentTree[RmapItem], node: RbNode | None) -> int:
        if node is None:
            return 1
        if isinstance(node, RmapItem):
            node.must_be_alive()
        if node.rb_tree is not root.generation:
            raise self.convicts("bad_tree", f"{node} is linked in {root.name} and says that it is not")
        for child in (node.rb_left, node.rb_right):
            if child is not None and (child.rb_parent is not node or (child.rb_red and node.rb_red)):
                raise self.convicts("bad_tree", f"{child} in {root.name}: wrong parent, or two reds in a row")
        left, right = self._height(root, node.rb_left), self._height(root, node.rb_right)
        if left != right:
            raise self.convicts("bad_tree", f"{root.name} is not balanced below {node}")
        return left + (not node.rb_red)

    def _ordered(self, root: ContentTree[StableNode]) -> None:
        last: bytes | None = None
        for entry in root:
            entry.must_be_alive()
            contents = [content for node in self._nodes(entry) if (content := self._content(root, node)) is not None]
            if not contents:
                continue
            if min(contents) != max(contents):
                raise self.convicts("unequal_dups", f"{root.name}: the pages of {entry} are not all equal")
            if last is not None and contents[0] <= last:
                raise self.convicts("bad_order", f"{root.name}: the page of {entry} is not above the one before")
            last = contents[0]

    def _nodes(self, entry: StableNode) -> Sequence[StableNode]:
        """The nodes that an entry of a stable tree stands for."""
        if not isinstance(entry, Chain):
            return [entry]
        if entry.first is not None:
            raise self.convicts("bad_chain", f"{entry} has rmap_items, as only its dups may")
        for dup in entry.dups:
            dup.must_be_alive()
            if dup.chain is not entry or dup.rb_tree is not None:
                raise self.convicts("bad_chain", f"{dup} on {entry} is linked elsewhere, too, or says that it is")
        return entry.dups

    def _content(self, root: ContentTree[StableNode], node: StableNode) -> bytes | None:
        """The content of a node's page, if it is there still."""
        if node.nid != root.nid or node.migrating:
            raise self.convicts("wrong_tree", f"{node} (nid {node.nid}) is linked in {root.name}")
        self._named(node)
        page = self.kernel.pfn_to_page(node.kpfn)
        return page.content.data if page.mapping is node.mapping else None

    def _named(self, node: StableNode) -> None:
        items = list(node.hlist())
        if isinstance(node, DupNode) and node.rmap_hlist_len != len(items):
            message = f"{node} has {len(items)} rmap_items, but rmap_hlist_len {node.rmap_hlist_len}"
            raise self.convicts("bad_hlist", message)
        for item in items:
            if item.flag != STABLE_FLAG or item.head is not node:
                message = f"{item} on the hlist of {node} names {item.head}, flag {item.flag:#x}"
                raise self.convicts("bad_hlist", message)
        page = self.kernel.pfn_to_page(node.kpfn)
        if page.mapping is node.mapping or page.owner is not None:
            return
        for mapped in self._frames_naming(node):
            raise self.convicts("not_mutual", f"pfn {mapped} names {node}, whose kpfn is {node.kpfn}")

    def _frames_naming(self, node: StableNode) -> list[int]:
        return [
            frame.pfn
            for on in self.kernel.nodes
            for frame in on.frames
            if frame.mapping is node.mapping and frame.mapcount and frame.owner is None
        ]
