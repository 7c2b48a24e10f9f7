"""Corners of the layers that the recordings do not reach: holes, signals, chains and nodes of one slab."""

from __future__ import annotations

import pytest

from ksmactors.ksm.kernel import Ksm
from ksmactors.later.chain_nodes import ChainNodes
from ksmactors.mm.const import EFAULT, EINTR, MADV_MERGEABLE, PAGE_SIZE
from tests.helpers.directed import Stage, perform


async def with_a_hole(s: Stage) -> tuple[int, int, list[int | None]]:
    """A region of three vmas loses its second page: what mremap answers, where the hole's region began, and what is
    found at its new place."""
    a = await s.process("A", 1, 2, 3, mergeable=False)
    assert await s.kernel.madvise(a.mm, a.at(1), PAGE_SIZE, MADV_MERGEABLE) == 0
    await s.kernel.munmap(a.mm, a.at(1), PAGE_SIZE)
    moved = await s.kernel.mremap(a.mm, a.start, 3 * PAGE_SIZE)
    base = moved if moved > 0 else a.start
    tokens = []
    for index in range(3):
        pte = a.mm.ptes.get(base + index * PAGE_SIZE)
        tokens.append(
            None if pte is None else next(t for t in (1, 2, 3) if pte.frame.content is s.kernel.contents.token(t))
        )
    return moved, a.start, tokens


def test_mremap_keeps_holes() -> None:
    """From v6.17 on what is mapped moves, each vma to the same distance from the start; before, nothing moves."""

    async def later(s: Stage) -> None:
        moved, start, tokens = await with_a_hole(s)
        assert moved > start
        assert tokens == [1, None, 3]

    async def earlier(s: Stage) -> None:
        moved, _, tokens = await with_a_hole(s)
        assert moved == -EFAULT
        assert tokens == [1, None, 3]

    perform(later, kernel="v6.18")
    perform(earlier, kernel="v6.12")


def test_mremap_from_a_hole() -> None:
    """A range that begins with nothing is refused."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, mergeable=False)
        assert await s.kernel.madvise(a.mm, a.at(2), PAGE_SIZE, MADV_MERGEABLE) == 0
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        assert await s.kernel.mremap(a.mm, a.start, 3 * PAGE_SIZE) == -EFAULT

    perform(play, kernel="v7.3")


@pytest.mark.parametrize("signalled", [False, True])
def test_offline_retries_until_it_is_interrupted(signalled: bool) -> None:
    """A page that cannot be moved is tried for five seconds; a signal that waits ends that at once."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, nid=1)
        page = await s.kernel.get_user_pages(a.mm, a.at(0), False)
        assert not isinstance(page, int)
        began = s.conductor.now
        s.conductor.turn.signal_pending = signalled
        assert await s.kernel.offline_pages(s.kernel.memory_block(page.pfn)) == -EINTR
        s.conductor.turn.signal_pending = False
        seconds = (s.conductor.now - began) / 1e9
        assert seconds < 1 if signalled else 5 <= seconds < 10
        await page.put()
        await s.farewell()

    perform(play, kernel="v6.12")


@pytest.mark.parametrize("kernel", ["v3.9", "v6.12"])
def test_the_node_freed_last_is_the_next(kernel: str) -> None:
    """The freelist is a stack; a number of its own tells a node from the one before it at its place."""

    async def play(s: Stage) -> None:
        kernel = s.kernel
        first, second = kernel.alloc_stable_node(), kernel.alloc_stable_node()
        assert first is not None
        assert second is not None
        numbers = first.number, second.number
        kernel.free_stable_node(first)
        kernel.free_stable_node(second)
        again = [kernel.alloc_stable_node() for _ in range(3)]
        assert again[:2] == [second, first]
        assert again[2] not in (first, second)
        assert not {node.number for node in again if node is not None} & set(numbers)
        assert all(node is not None and node.alive and node.first is None for node in again)

    perform(play, kernel=kernel, watchers=())


def test_chains_come_from_the_same_slab() -> None:
    """A chain takes the place of the node that was freed last; when it goes, that place is the next node's."""

    async def play(s: Stage) -> None:
        kernel: Ksm = s.kernel
        assert isinstance(kernel, ChainNodes)
        node, other = kernel.alloc_stable_node(), kernel.alloc_stable_node()
        assert node is not None
        assert other is not None
        kernel.free_stable_node(node)
        chain = kernel.new_stable_node_chain()
        assert chain is not None
        assert kernel.alloc_stable_node() is not node, "a chain is there"
        kernel.free_stable_node(chain)
        assert kernel.alloc_stable_node() is node

    perform(play, kernel="v7.3", watchers=())


def test_series_reuses_nothing() -> None:
    """On series a freed node stays freed, so that whoever still uses it is found."""

    async def play(s: Stage) -> None:
        node = s.kernel.alloc_stable_node()
        assert node is not None
        s.kernel.free_stable_node(node)
        assert s.kernel.alloc_stable_node() is not node

    perform(play, watchers=())
