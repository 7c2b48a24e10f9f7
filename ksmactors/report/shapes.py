"""The shapes of the trees, and the way of each search through them, recorded while a schedule is replayed."""

from __future__ import annotations

from typing import Any, Final

from typing_extensions import override

from ksmactors.interleave.actor import READ, WRITE, Actor, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.rbtree import RbNode
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.machine import Machine
from ksmactors.mm.frame import Frame

ENTRIES_MAX: Final = 500
"""Entries of a tree up to which its shape is recorded. A larger one is a list."""

SHAPES_MAX: Final = 20_000
"""Shapes that are recorded of one schedule."""


class ShapeObserver(Observer):
    """Records the shape of each tree when it changes, and each look at a content.

    Attributes:
        shapes: (step, "stable" or "unstable", index of the tree, shape). A shape is in prefix order: an entry, and in
            brackets what is left and right of it, as in `n3(r1,n2)`; `n` is a stable node, `r` an rmap_item, with its
            number.
        looks: (step, name of the actor, function, page frame number): whose content was read.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, str, int, str]] = []
        self.looks: list[tuple[int, str, str, int]] = []
        self._trees: list[tuple[str, Any, str]] = []
        self._changed = True

    def attach(self, machine: Machine) -> None:
        """Look at the trees of this machine."""
        kernel = machine.kernel
        for name, roots in (("stable", kernel.root_stable_tree), ("unstable", kernel.root_unstable_tree)):
            self._trees += [(name, root, "") for root in roots]

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        kind, obj, field = op
        if self._changed:
            self._record(actor.step)
        if kind == WRITE:  # the write itself comes after this point
            self._changed = isinstance(obj, (ContentTree, StableNode, RmapItem))
        elif kind == READ and field == "content" and isinstance(obj, Frame):
            self.looks.append((actor.step, actor.name, actor.place, obj.pfn))

    def finish(self, step: int) -> None:
        """The schedule has ended."""
        self._record(step)

    def _record(self, step: int) -> None:
        self._changed = False
        for place, (name, tree, before) in enumerate(self._trees):
            shape = _shape(tree.root)
            if shape != before and len(self.shapes) < SHAPES_MAX:
                self._trees[place] = name, tree, shape
                self.shapes.append((step, name, tree.nid, shape))


def _shape(root: RbNode | None) -> str:
    """A tree in prefix order; empty if it is, or if it is larger than `ENTRIES_MAX`."""
    parts: list[str] = []
    left: list[RbNode | str | None] = [root]
    entries = 0
    while left:
        one = left.pop()
        if isinstance(one, str):
            parts.append(one)
        elif one is not None:
            entries += 1
            if entries > ENTRIES_MAX:
                return ""
            parts.append(_name(one))
            if one.rb_left is not None or one.rb_right is not None:
                parts.append("(")
                left += [")", one.rb_right, ",", one.rb_left]
    return "".join(parts)


def _name(entry: Any) -> str:
    if isinstance(entry, StableNode):
        return f"n{entry.number}"
    return f"r{entry.number}" if isinstance(entry, RmapItem) else "?"
