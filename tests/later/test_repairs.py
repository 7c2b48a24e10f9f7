"""Repairs of the series' own defects: what each one changes, and what it leaves."""

from __future__ import annotations

import pytest

from ksmactors.ksm.structs import RmapItem, StableNode
from tests.helpers.directed import Proc, Stage, perform


def items(s: Stage, proc: Proc) -> list[RmapItem]:
    """The rmap_items of a process, by address."""
    found = []
    item = s.kernel.mm_slots_hash[proc.mm.number].rmap_list
    while item is not None:
        found.append(item)
        item = item.rmap_list
    return found


@pytest.mark.parametrize(
    ("with_", "taken_off", "removed"),
    [((), True, True), (("head-cleared",), False, True), (("head-cleared", "freed-head"), False, False)],
)
def test_who_goes_on_naming_a_node(with_: tuple[str, ...], taken_off: bool, removed: bool) -> None:
    """An item that is taken off its node, and the items of a node that is removed: whether `head` is still set."""

    async def play(s: Stage) -> None:
        proc = await s.process("A", 7, 7, 7)
        await s.scan(3)
        first, second, third = items(s, proc)
        await s.kernel.remove_rmap_item_from_tree(first)
        assert (first.head is not None) == taken_off
        node = second.head
        assert isinstance(node, StableNode)
        for index in range(3):
            await s.write(proc, index, 20 + index)
        await s.kernel.remove_rmap_item_from_tree(second)
        assert not node.alive
        assert [item.head is not None for item in (second, third)] == [removed] * 2

    perform(play, kernel="v3.9", with_=with_)


def test_an_upgraded_page_is_dirty() -> None:
    """From v4.5 on; before, only if it was."""
    for with_, dirty in (((), False), (("page-dirtied",), True)):

        async def play(s: Stage, dirty: bool = dirty) -> None:
            proc = await s.process("A", 7, 7)
            for index in range(2):
                pte = s.kernel.page_at(proc.mm, proc.at(index))
                assert pte is not None
                proc.mm.ptes[proc.at(index)] = pte._replace(dirty=False)  # something has cleaned it
            await s.scan(3)
            assert s.frame(proc, 0).is_ksm
            assert s.frame(proc, 0).dirty == dirty

        perform(play, kernel="v3.9", with_=with_)
