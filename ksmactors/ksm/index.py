"""An index by content beside a tree, valid while the tree's contents cannot have changed.

A search must visit entries one by one, because each visit can meet a page under migration or a stale node. But when no
other actor can run, and nothing has changed since the entries were linked, the walk would meet neither: one bisection
finds the same entry, or the same gap. The caller's *epoch* counts relevant changes; an index of another epoch is not
used, and is not kept up to date.
"""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

from sortedcontainers import SortedKeyList

from ksmactors.ksm.rbtree import RbNode, RbTree
from ksmactors.mm.content import Content


class IndexedNode(RbNode):
    """A tree entry that remembers the content it was indexed by."""

    __slots__ = ("indexed",)

    indexed: Content


E = TypeVar("E", bound=IndexedNode)


class InsertPosition(NamedTuple):
    """Where a search ended: at an equal entry, or below `parent` on one side; or at a stale entry."""

    entry: RbNode | None
    parent: RbNode | None
    left: bool
    stale: bool = False


NOWHERE: Final = InsertPosition(None, None, False)
"""Where a search of an empty tree ends."""


def _content(entry: IndexedNode) -> bytes:
    return entry.indexed.order


class ContentTree(RbTree[E], Generic[E]):
    """A red-black tree ordered by content, with its index."""

    __slots__ = ("_by_content", "_epoch", "nid", "reset_in")

    def __init__(self, name: str, nid: int) -> None:
        super().__init__(f"{name}[{nid}]")
        self.nid = nid
        self.reset_in = -1
        """For observers: which scan reset it last, as `KsmScan.started` counts them."""
        self._by_content: SortedKeyList[E, bytes] = SortedKeyList(key=_content)
        self._epoch = -1

    def label(self, field: object) -> str:
        """How strategies call the tree: `stable_tree/NID` or `unstable_tree/NID`."""
        return f"{self.name.removeprefix('root_').partition('[')[0]}/{self.nid}"

    def start_index(self, epoch: int) -> None:
        """Start the index of a tree that has just been reset."""
        if self._by_content:
            self._by_content = SortedKeyList(key=_content)
        self._epoch = epoch

    def restart_index(self, epoch: int) -> None:
        """Start the index with the tree's entries, whose `indexed` are right."""
        self._by_content = SortedKeyList(self, key=_content)
        self._epoch = epoch

    def usable(self, epoch: int) -> bool:
        """Whether the index says what a walk would find."""
        return self._epoch == epoch

    def find(self, content: Content) -> InsertPosition:
        """What a walk to this content would end at."""
        if self.root is None:
            return NOWHERE
        # No positions are asked for: sortedcontainers would count them again after each insertion.
        above = next(self._by_content.irange_key(content.order), None)
        if above is None:
            return InsertPosition(None, self._by_content[-1], False)
        if above.indexed is content:
            return InsertPosition(above, None, False)
        below = above.rb_left
        if below is None:
            return InsertPosition(None, above, True)
        while below.rb_right is not None:
            below = below.rb_right
        return InsertPosition(None, below, False)

    def link(self, node: E, place: InsertPosition, content: Content, epoch: int) -> None:
        """Insert an entry where a search ended."""
        node.indexed = content
        self.insert(node, place.parent, place.left)  # type: ignore[arg-type]  # found in this tree
        if self._epoch == epoch:
            self._by_content.add(node)

    def unlink(self, node: E, epoch: int) -> None:
        """Erase an entry."""
        self.erase(node)
        if self._epoch == epoch:
            self._by_content.remove(node)
