"""Red-black trees with the kernel's shapes (lib/rbtree.c, v3.9).

Insertion and erasure rebalance exactly as the kernel's do, since which entries a search meets can be observed: a
stale one on the path is pruned, or ends the search. Entries are their own tree nodes, as in C; `rb_tree` says in
which tree an entry is linked. A tree that is reset forgets its entries without touching them, so their `rb_tree`
goes on naming a tree generation that is no more: erasing such an entry is a finding, not a corrupted tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from ksmactors.mm.reports import misuse


class Generation:
    """The life of a tree between two resets."""

    __slots__ = ()


class RbNode:
    """struct rb_node, embedded by inheritance."""

    __slots__ = ("rb_left", "rb_parent", "rb_red", "rb_right", "rb_tree")

    rb_parent: RbNode | None
    rb_left: RbNode | None
    rb_right: RbNode | None
    rb_red: bool
    rb_tree: Generation | None

    def __init__(self) -> None:
        self.rb_parent = self.rb_left = self.rb_right = None
        self.rb_red = False
        self.rb_tree = None

    def must_be_alive(self) -> None:
        """Raise the finding if the entry has been freed, where entries can be."""


E = TypeVar("E", bound=RbNode)


class RbTree(Generic[E]):
    """struct rb_root of entries of one type."""

    __slots__ = ("generation", "name", "root")

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: E | None = None
        self.generation = Generation()

    def reset(self) -> None:
        """Set the root to empty; the entries keep their links, as in the kernel."""
        self.root = None
        self.generation = Generation()

    def has(self, node: RbNode) -> bool:
        """Whether the entry is linked here, in this generation."""
        return node.rb_tree is self.generation

    def __iter__(self) -> Iterator[E]:
        """In order, for observers."""
        stack: list[RbNode] = []
        below: RbNode | None = self.root
        while stack or below is not None:
            while below is not None:
                stack.append(below)
                below = below.rb_left
            entry = stack.pop()
            yield entry  # type: ignore[misc]  # only E's are ever linked
            below = entry.rb_right

    def first(self) -> E | None:
        """rb_first."""
        return self._leftmost(self.root)

    def next(self, node: E) -> E | None:
        """rb_next. It reads the entry's links, so it is a finding if the entry has been freed."""
        node.must_be_alive()
        if node.rb_right is not None:
            return self._leftmost(node.rb_right)
        below: RbNode = node
        above = node.rb_parent
        while above is not None and below is above.rb_right:
            below, above = above, above.rb_parent
        return above  # type: ignore[return-value]  # only E's are ever linked

    @staticmethod
    def _leftmost(node: RbNode | None) -> E | None:
        while node is not None and node.rb_left is not None:
            node = node.rb_left
        return node  # type: ignore[return-value]  # only E's are ever linked

    def insert(self, node: E, parent: E | None, left: bool) -> None:
        """rb_link_node and rb_insert_color: link below `parent` on one side, rebalance.

        A parent that is not linked here is a finding: in the kernel that would overwrite unrelated memory.
        """
        if node.rb_tree is self.generation:
            raise misuse("linked_twice", f"{node} is linked into {self.name} a second time", node)
        if parent is not None and parent.rb_tree is not self.generation:
            message = f"{node} is linked into {self.name} below {parent}, which is not in it"
            raise misuse("linked_below_nonmember", message, node, parent)
        node.rb_tree = self.generation
        node.rb_left = node.rb_right = None
        node.rb_parent = parent
        node.rb_red = True
        if parent is None:
            self.root = node
        elif left:
            parent.rb_left = node
        else:
            parent.rb_right = node
        self._insert_color(node)

    def erase(self, node: E) -> None:
        """rb_erase: unlink, rebalance. An entry that is not linked here is a finding."""
        if node.rb_tree is not self.generation:
            raise misuse("rb_erase_of_nonmember", f"{node} is erased from {self.name}, in which it is not", node)
        node.rb_tree = None
        parent: RbNode | None
        if node.rb_left is not None and node.rb_right is not None:
            child, parent, red = self._erase_inner(node, node.rb_right)
        else:
            child = node.rb_left if node.rb_left is not None else node.rb_right
            parent, red = node.rb_parent, node.rb_red
            if child is not None:
                child.rb_parent = parent
            self._replace_child(node, child, parent)
        if not red:
            self._erase_color(child, parent)

    def replace(self, victim: E, new: E) -> None:
        """rb_replace_node: `new` takes the place, the colour and the children of `victim`."""
        if victim.rb_tree is not self.generation:
            raise misuse("rb_replace_of_nonmember", f"{victim} is replaced in {self.name}, in which it is not", victim)
        new.rb_tree, victim.rb_tree = self.generation, None
        new.rb_parent, new.rb_left, new.rb_right = victim.rb_parent, victim.rb_left, victim.rb_right
        new.rb_red = victim.rb_red
        for child in (victim.rb_left, victim.rb_right):
            if child is not None:
                child.rb_parent = new
        self._replace_child(victim, new, victim.rb_parent)

    # -- inside -----------------------------------------------------------------------------------------------

    def _replace_child(self, old: RbNode, new: RbNode | None, parent: RbNode | None) -> None:
        if parent is None:
            self.root = new  # type: ignore[assignment]  # only E's are ever linked
        elif parent.rb_left is old:
            parent.rb_left = new
        else:
            parent.rb_right = new

    def _erase_inner(self, node: RbNode, right: RbNode) -> tuple[RbNode | None, RbNode, bool]:
        """Put the successor in the place of an entry with two children: where it left a gap, and its colour."""
        successor = right
        while (lower := successor.rb_left) is not None:
            successor = lower
        child, red = successor.rb_right, successor.rb_red
        if successor is right:
            gap: RbNode = successor
        else:
            above = successor.rb_parent
            assert above is not None, "the successor is below the right child"
            gap = above
            gap.rb_left = child
            if child is not None:
                child.rb_parent = gap
            successor.rb_right = right
            right.rb_parent = successor
        successor.rb_left = node.rb_left
        node.rb_left.rb_parent = successor  # type: ignore[union-attr]  # it has two children
        successor.rb_parent, successor.rb_red = node.rb_parent, node.rb_red
        self._replace_child(node, successor, node.rb_parent)
        return child, gap, red

    def _rotate(self, node: RbNode, left: bool) -> None:
        """Rotate `node` down to the left (or right); its other child comes up."""
        up = node.rb_right if left else node.rb_left
        assert up is not None, "a rotation has a child to bring up"
        inner = up.rb_left if left else up.rb_right
        if left:
            node.rb_right, up.rb_left = inner, node
        else:
            node.rb_left, up.rb_right = inner, node
        if inner is not None:
            inner.rb_parent = node
        up.rb_parent = node.rb_parent
        self._replace_child(node, up, node.rb_parent)
        node.rb_parent = up

    def _insert_color(self, node: RbNode) -> None:
        while True:
            parent = node.rb_parent
            if parent is None:
                node.rb_red = False
                return
            if not parent.rb_red:
                return
            grandparent = parent.rb_parent
            assert grandparent is not None, "the root is black, so a red parent has a parent"
            on_left = grandparent.rb_left is parent
            uncle = grandparent.rb_right if on_left else grandparent.rb_left
            if uncle is not None and uncle.rb_red:
                uncle.rb_red = parent.rb_red = False
                grandparent.rb_red = True
                node = grandparent
                continue
            if node is (parent.rb_right if on_left else parent.rb_left):
                self._rotate(parent, on_left)
                parent = node
            parent.rb_red, grandparent.rb_red = False, True
            self._rotate(grandparent, not on_left)
            return

    def _erase_color(self, node: RbNode | None, parent: RbNode | None) -> None:
        while parent is not None and (node is None or not node.rb_red):
            on_left = parent.rb_left is node
            sibling = parent.rb_right if on_left else parent.rb_left
            assert sibling is not None, "black heights were equal, so a black entry's sibling exists"
            if sibling.rb_red:
                sibling.rb_red, parent.rb_red = False, True
                self._rotate(parent, on_left)
                sibling = parent.rb_right if on_left else parent.rb_left
                assert sibling is not None, "a red sibling has two children"
            outer = sibling.rb_right if on_left else sibling.rb_left
            inner = sibling.rb_left if on_left else sibling.rb_right
            if outer is None or not outer.rb_red:
                if inner is None or not inner.rb_red:
                    sibling.rb_red = True
                    node, parent = parent, parent.rb_parent
                    continue
                inner.rb_red, sibling.rb_red = False, True
                self._rotate(sibling, not on_left)
                outer, sibling = sibling, inner
            sibling.rb_red, parent.rb_red = parent.rb_red, False
            outer.rb_red = False
            self._rotate(parent, on_left)
            return
        if node is not None:
            node.rb_red = False
