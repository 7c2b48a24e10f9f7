"""Red-black trees: the kernel's shapes, after every insertion, erasure and replacement."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmactors.errors import Finding
from ksmactors.ksm.rbtree import RbNode, RbTree
from tests.helpers.player import same_in_ci

Shape = tuple[Any, ...] | None
"""(key, whether red, left, right), or None for an empty tree."""


class Entry(RbNode):
    """An entry with a number for its content."""

    def __init__(self, key: int) -> None:
        super().__init__()
        self.key = key

    def __repr__(self) -> str:
        return f"<Entry {self.key}>"


def insert(tree: RbTree[Entry], entry: Entry) -> None:
    """Descend and link, as a search that fails does."""
    parent, left = None, False
    below = tree.root
    while below is not None:
        parent, left = below, entry.key < below.key
        below = below.rb_left if left else below.rb_right  # type: ignore[assignment]
    tree.insert(entry, parent, left)


def shape(node: Any) -> Shape:
    """What a tree looks like from an entry down."""
    return None if node is None else (node.key, node.rb_red, shape(node.rb_left), shape(node.rb_right))


def black_height(node: Any, parent: Any = None) -> int:
    """Check all the rules below an entry; how many black entries there are on each path."""
    if node is None:
        return 1
    assert node.rb_parent is parent
    assert not (node.rb_red and (parent is None or parent.rb_red)), "the root is black; no two reds in a row"
    left, right = black_height(node.rb_left, node), black_height(node.rb_right, node)
    assert left == right
    return left + (not node.rb_red)


class Textbook:
    """The textbook's algorithms (Cormen et al., third edition) on a table of entries with a sentinel: 0."""

    def __init__(self) -> None:
        self.key, self.red, self.up, self.kids = [0], [False], [0], [[0, 0]]
        self.root = 0

    def shape(self, at: int | None = None) -> Shape:
        at = self.root if at is None else at
        return None if not at else (self.key[at], self.red[at], *(self.shape(kid) for kid in self.kids[at]))

    def rotate(self, x: int, side: int) -> None:
        """Down to `side` (0: left); the child on the other side comes up."""
        y = self.kids[x][1 - side]
        self.kids[x][1 - side] = self.kids[y][side]
        if self.kids[y][side]:
            self.up[self.kids[y][side]] = x
        self.transplant(x, y)
        self.kids[y][side], self.up[x] = x, y

    def transplant(self, u: int, v: int) -> None:
        parent = self.up[u]
        if not parent:
            self.root = v
        else:
            self.kids[parent][self.kids[parent].index(u)] = v
        self.up[v] = parent

    def insert(self, key: int) -> None:
        parent, at = 0, self.root
        while at:
            parent, at = at, self.kids[at][key > self.key[at]]
        z = len(self.key)
        self.key.append(key), self.red.append(True), self.up.append(parent), self.kids.append([0, 0])
        if not parent:
            self.root = z
        else:
            self.kids[parent][key > self.key[parent]] = z
        while self.red[self.up[z]]:
            parent, grand = self.up[z], self.up[self.up[z]]
            side = self.kids[grand].index(parent)
            uncle = self.kids[grand][1 - side]
            if self.red[uncle]:
                self.red[parent] = self.red[uncle] = False
                self.red[grand] = True
                z = grand
                continue
            if z == self.kids[parent][1 - side]:
                self.rotate(parent, side)
                z, parent = parent, z
            self.red[parent], self.red[grand] = False, True
            self.rotate(grand, 1 - side)
        self.red[self.root] = False

    def erase(self, key: int) -> None:
        z = self.key.index(key, 1)
        self.key[z] = -1
        left, right = self.kids[z]
        lost_red = self.red[z]
        if not left or not right:
            x = left or right
            self.transplant(z, x)
        else:
            y = right
            while self.kids[y][0]:
                y = self.kids[y][0]
            lost_red, x = self.red[y], self.kids[y][1]
            if self.up[y] == z:
                self.up[x] = y
            else:
                self.transplant(y, x)
                self.kids[y][1], self.up[right] = right, y
            self.transplant(z, y)
            self.kids[y][0], self.up[left] = left, y
            self.red[y] = self.red[z]
        if not lost_red:
            self.erase_fixup(x)

    def erase_fixup(self, x: int) -> None:
        while x != self.root and not self.red[x]:
            parent = self.up[x]
            side = self.kids[parent].index(x)
            w = self.kids[parent][1 - side]
            if self.red[w]:
                self.red[w], self.red[parent] = False, True
                self.rotate(parent, side)
                w = self.kids[parent][1 - side]
            inner, outer = self.kids[w][side], self.kids[w][1 - side]
            if not self.red[inner] and not self.red[outer]:
                self.red[w] = True
                x = parent
                continue
            if not self.red[outer]:
                self.red[inner], self.red[w] = False, True
                self.rotate(w, 1 - side)
                w = self.kids[parent][1 - side]
                outer = self.kids[w][1 - side]
            self.red[w], self.red[parent], self.red[outer] = self.red[parent], False, False
            self.rotate(parent, side)
            x = self.root
        self.red[x] = False


@settings(same_in_ci, max_examples=100)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=80))
def test_shapes(keys: list[int]) -> None:
    """A key that is not in the tree is inserted, one that is, is erased: each time the tree obeys all rules, is in
    order, and has the shape and colours of the textbook's."""
    tree: RbTree[Entry] = RbTree("tree")
    textbook = Textbook()
    entries: dict[int, Entry] = {}
    for key in keys:
        if key in entries:
            tree.erase(entries.pop(key))
            textbook.erase(key)
        else:
            entries[key] = Entry(key)
            insert(tree, entries[key])
            textbook.insert(key)
        black_height(tree.root)
        assert [entry.key for entry in tree] == sorted(entries)
        assert shape(tree.root) == textbook.shape()


def test_known_shape() -> None:
    """Ascending keys give the shape that everybody knows."""
    tree: RbTree[Entry] = RbTree("tree")
    for key in range(1, 8):
        insert(tree, Entry(key))
    assert shape(tree.root) == (
        2, False,
        (1, False, None, None),
        (4, True, (3, False, None, None), (6, False, (5, True, None, None), (7, True, None, None))),
    )  # fmt: skip


@settings(same_in_ci, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20, unique=True), st.integers(0, 19))
def test_replace(keys: list[int], which: int) -> None:
    """A replacement has the place, the colour and the children of its victim, which is in no tree any more."""
    tree: RbTree[Entry] = RbTree("tree")
    entries = [Entry(key) for key in keys]
    for entry in entries:
        insert(tree, entry)
    before = shape(tree.root)
    victim = entries[which % len(entries)]
    new = Entry(victim.key)
    tree.replace(victim, new)
    assert shape(tree.root) == before
    black_height(tree.root)
    assert (tree.has(victim), tree.has(new)) == (False, True)
    tree.erase(new)
    black_height(tree.root)


def test_replacement_is_not_erase_and_insert() -> None:
    """rb_replace_node changes no other entry's place; erasing and inserting the same key would."""
    replaced: RbTree[Entry] = RbTree("replaced")
    reinserted: RbTree[Entry] = RbTree("reinserted")
    for tree in (replaced, reinserted):
        for key in range(1, 8):
            insert(tree, Entry(key))
    before = shape(replaced.root)
    replaced.replace(next(e for e in replaced if e.key == 2), Entry(2))
    reinserted.erase(next(e for e in reinserted if e.key == 2))
    insert(reinserted, Entry(2))
    assert shape(replaced.root) == before != shape(reinserted.root)


def test_misuse() -> None:
    """Linking twice, and erasing or replacing what is not linked here, are findings."""
    tree: RbTree[Entry] = RbTree("tree")
    entry = Entry(1)
    insert(tree, entry)
    with pytest.raises(Finding, match="linked into tree a second time"):
        tree.insert(entry, None, False)
    with pytest.raises(Finding, match="is erased from tree, in which it is not"):
        tree.erase(Entry(2))
    with pytest.raises(Finding, match="is replaced in tree, in which it is not"):
        tree.replace(Entry(2), Entry(3))


def test_reset() -> None:
    """A tree that is reset forgets its entries, which do not notice: erasing one is a finding, linking one is not."""
    tree: RbTree[Entry] = RbTree("tree")
    one, two = Entry(1), Entry(2)
    insert(tree, one)
    insert(tree, two)
    tree.reset()
    assert list(tree) == []
    assert not tree.has(one)
    assert one.rb_right is two, "links dangle, as in the kernel"
    with pytest.raises(Finding):
        tree.erase(one)
    insert(tree, two)
    assert shape(tree.root) == (2, False, None, None)


@same_in_ci
@given(st.lists(st.integers(0, 99), unique=True))
def test_successors(keys: list[int]) -> None:
    """From the first entry, successor by successor, one comes to all in their order, and then to none."""
    tree: RbTree[Entry] = RbTree("tree")
    for key in keys:
        insert(tree, Entry(key))

    walked, entry = [], tree.first()
    while entry is not None:
        walked.append(entry.key)
        entry = tree.next(entry)

    assert walked == sorted(keys)
