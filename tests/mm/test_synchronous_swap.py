"""A swap device that has written when it returns, as a RAM disk has: a page goes in the round that has written it."""

from __future__ import annotations

import pytest

from ksmactors.events.trace import Trace
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.default_order import DefaultOrder
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.machine import Machine
from ksmactors.mm.const import MADV_PAGEOUT, PAGE_SIZE
from tests.helpers.directed import Stage, perform


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_round_of_reclaim(synchronous: bool) -> None:
    """One round writes and frees the page; on the other kind of device it is under writeback, and stays cached."""

    async def play(s: Stage) -> None:
        s.kernel.swap.synchronous = synchronous
        a = await s.process("A", 7, mergeable=False)
        page = s.frame(a, 0)
        freed = await s.kernel.shrink_list([page])
        freed = freed or await s.kernel.shrink_list([page])  # it was accessed lately
        slot = a.mm.swap_ptes[a.at(0)]
        assert freed == synchronous
        assert slot.writeback is not synchronous
        assert (page.refcount == 0) is synchronous
        assert (slot.page is None) is synchronous

    perform(play, watchers=())


def test_what_was_written_comes_back() -> None:
    """A read of such a device finds what was written, on the region's node, and every watcher is content."""

    async def play(s: Stage) -> None:
        s.kernel.swap.synchronous = True
        a = await s.process("A", 7)
        await s.process("B", 7)
        await s.scan(3)
        await s.swap_out()
        assert a.at(0) in a.mm.swap_ptes
        node = next(iter(s.kernel.nodes_of(s.kernel.root_stable_tree[0])))
        assert s.kernel.pfn_to_page(node.kpfn).mapping is not node.mapping, "the stable node is stale at once"
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        assert not s.frame(a, 0).is_ksm
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_pageout_frees_at_once() -> None:
    """MADV_PAGEOUT leaves nothing in the swap cache (diff2)."""

    async def play(s: Stage) -> None:
        s.kernel.swap.synchronous = True
        a = await s.process("A", 7)
        assert await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_PAGEOUT) == 0
        assert a.mm.swap_ptes[a.at(0)].page is None

    perform(play, kernel="v6.12")


def test_a_machine_has_the_device_it_is_given() -> None:
    """Without a word the device is the one that completes later."""

    def machine(**device: bool) -> Machine:
        strategy = DefaultOrder()
        strategy.begin(strategy_rng(0))
        conductor = Conductor(strategy, Tape(0))
        return Machine(conductor, Trace(conductor), **device)

    assert not machine().kernel.swap.synchronous
    assert machine(synchronous_swap=True).kernel.swap.synchronous
