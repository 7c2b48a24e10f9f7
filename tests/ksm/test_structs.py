"""Fields that lie over each other in C: the one that is not valid cannot be used."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.round_robin import RoundRobin
from ksmactors.interleave.tape import Tape
from ksmactors.ksm.structs import FREED, MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.watch.probe import _NAMES
from tests.helpers.directed import Stage, perform

CONDUCTOR = Conductor(RoundRobin(), Tape(0))


def an_item(number: int = 1) -> RmapItem:
    """A new item of nobody in particular."""
    return RmapItem(number, AddressSpace(CONDUCTOR, 1, "A", 0x1000), 0x1000 * number)


def test_anon_vma_over_nid() -> None:
    """anon_vma and nid are one field: each is readable only while it was the last one stored."""
    item = an_item()
    with pytest.raises(Finding, match="anon_vma is read while nid is stored there"):
        _ = item.anon_vma
    item.anon_vma = AnonVma(CONDUCTOR, 1, None)
    with pytest.raises(Finding, match="nid is read while anon_vma is stored there"):
        _ = item.nid
    item.nid = 1
    assert item.nid == 1
    with pytest.raises(Finding):
        _ = item.anon_vma


def test_links_over_head() -> None:
    """head survives leaving the node (v3.9), and is lost when the item is linked into an unstable tree."""
    item, node = an_item(), StableNode(1)
    item.head = node
    node.hlist_add_head(item)
    node.hlist_del(item)
    assert item.head is node
    item.links_overwrite_head()
    assert item.head is None


def test_tree_over_list() -> None:
    """A node goes on migrate_nodes only after it has left its tree, and is taken off only when it is there."""

    async def linked(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        await s.kernel.stable_node_to_migrate_nodes(s.frame(a, 0).stable_node)

    async def elsewhere(s: Stage) -> None:
        await s.kernel.stable_node_from_migrate_nodes(StableNode(1))

    with pytest.raises(Finding, match="while it is linked in a tree"):
        perform(linked)
    with pytest.raises(Finding, match="where it is not"):
        perform(elsewhere)


def test_hlist() -> None:
    """The latest item is the first; any one can be taken off."""
    node, items = StableNode(1), [an_item(n) for n in (1, 2, 3)]
    for item in items:
        node.hlist_add_head(item)
    assert list(node.hlist()) == items[::-1]
    node.hlist_del(items[1])
    assert list(node.hlist()) == [items[2], items[0]]
    node.hlist_del(items[2])
    node.hlist_del(items[0])
    assert (list(node.hlist()), node.first) == ([], None)


def test_slots() -> None:
    """The list of slots is a ring; a slot goes right before another one."""
    head, one, two = MmSlot(None), MmSlot(None), MmSlot(None)
    one.add_before(head)
    two.add_before(one)
    assert [head.next, two.next, one.next] == [two, one, head]
    assert [head.prev, one.prev, two.prev] == [one, two, head]
    two.unlink()
    assert (head.next, one.prev, two.next) == (one, head, two)


def test_freed_structures() -> None:
    """An item, a node or a slot that has been freed may not be used, and not be freed again."""

    async def play(s: Stage) -> None:
        kernel = s.kernel
        a = await s.process("A", 1)
        item, node = kernel.alloc_rmap_item(a.mm, 0), kernel.alloc_stable_node()
        slot = MmSlot(a.mm)
        kernel.free_rmap_item(item)
        kernel.free_stable_node(node)
        kernel.free_mm_slot(slot)
        for kind, again in (
            ("rmap_item", lambda: kernel.free_rmap_item(item)),
            ("stable_node", lambda: kernel.free_stable_node(node)),
            ("mm_slot", lambda: kernel.free_mm_slot(slot)),
            ("rmap_item", item.must_be_alive),
        ):
            with pytest.raises(Finding) as found:
                again()
            assert found.value.kind == f"use_after_free_{kind}"

    perform(play)


@pytest.mark.parametrize("kind", _NAMES, ids=lambda kind: kind.__name__)
def test_findings_call_an_object_the_same_in_every_replay(kind: type) -> None:
    """What a finding can be about has a name or a text: no address of memory, which differs from run to run."""
    assert hasattr(kind, "name") or kind.__repr__ is not object.__repr__


@pytest.mark.parametrize("walk", ["get_next_rmap_item", "remove_trailing_rmap_items"])
def test_a_link_of_a_freed_item(walk: str) -> None:
    """The cursor stands behind an rmap_item that has been freed: found where the link is used."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        item = RmapItem(1, a.mm, a.start)
        item.flag = FREED
        if walk == "get_next_rmap_item":
            await s.kernel.get_next_rmap_item(a.mm, item, a.start)
        else:
            await s.kernel.remove_trailing_rmap_items(item)

    with pytest.raises(Finding) as found:
        perform(play)
    assert found.value.signature == f"lifetime/use_after_free_rmap_item@{walk}"
