"""What walks cost, in operations: reverse mapping over split vmas, unmerging over what is not there."""

from __future__ import annotations

import pytest

from ksmactors.interleave.actor import READ, Operation
from ksmactors.interleave.observer import Observer
from ksmactors.mm.const import MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, perform

VMAS = 40
SPARSE = 4_000


class Steps(Observer):
    """Counts the operations that pass over a vma."""

    def __init__(self) -> None:
        self.passed = 0

    def accessed(self, actor: object, op: Operation) -> None:
        self.passed += op[0] == READ and op[2] == "vmas"


async def split(s: Stage) -> Proc:
    """A process whose region is many vmas with one anon_vma; two of its pages are merged."""
    a = await s.process("A", *[100 + index for index in range(VMAS)], mergeable=False)
    for index in (0, 2):
        await s.write(a, index, 7)
    for index in range(0, VMAS, 2):
        assert await s.kernel.madvise(a.mm, a.at(index), PAGE_SIZE, MADV_MERGEABLE) == 0
    assert len(a.mm.vmas) == VMAS
    await s.kernel.lru_add_drain_all()
    await s.scan(3)
    assert s.frame(a, 0) is s.frame(a, 2)
    return a


@pytest.mark.parametrize(("kernel", "walks"), [("v3.9", True), ("v6.18", True), ("v7.3", False)])
def test_a_walk_pays_for_vmas_that_it_passes_over(kernel: str, walks: bool) -> None:
    """Up to v6.18 each walk looks at all vmas, once for an item's own process and once for forks; v7.3 asks for those
    at the item's index."""
    steps = Steps()

    async def play(s: Stage) -> None:
        a = await split(s)
        s.conductor.observe(steps)
        steps.passed = 0
        assert await s.migrate(a, 0, 1) == 1

    perform(play, kernel=kernel)
    if walks:
        assert steps.passed >= 2 * (VMAS - 1), "two walks at least: to unmap, and to restore"
    else:
        assert steps.passed == 0


@pytest.mark.parametrize(("kernel", "sparse"), [("v3.9", False), ("v6.18", False), ("v7.3", True)])
def test_unmerging_what_is_not_there(kernel: str, sparse: bool) -> None:
    """A region of 4,000 pages of which one is mapped: v7.3 takes a lock for each page table, older kernels for each
    page."""
    steps = 0

    async def play(s: Stage) -> None:
        nonlocal steps
        a = await s.process("A", 7)
        start = await s.kernel.mmap(a.mm, SPARSE, 0)
        wide = Proc(a.mm, start)
        await s.write(wide, 0, 7)
        assert await s.kernel.madvise(a.mm, start, SPARSE * PAGE_SIZE, MADV_MERGEABLE) == 0
        await s.scan(3)
        assert s.frame(wide, 0).is_ksm
        before = s.conductor.step
        assert await s.kernel.madvise(a.mm, start, SPARSE * PAGE_SIZE, MADV_UNMERGEABLE) == 0
        steps = s.conductor.step - before
        assert not s.frame(wide, 0).is_ksm

    perform(play, kernel=kernel, watchers=(), max_steps=200_000)
    assert steps < 100 if sparse else steps > 2 * SPARSE
