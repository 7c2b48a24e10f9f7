"""mmap, munmap, mremap, madvise: errors, and the splitting and merging of vmas."""

from __future__ import annotations

import pytest

from ksmactors.mm.const import (
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOMEM,
    MADV_DONTNEED,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    PAGE_SIZE,
)
from ksmactors.mm.fork import FIRST_ADDRESS
from ksmactors.mm.mmap import Mappings
from tests.helpers.directed import Proc, Stage, perform


def regions(proc: Proc) -> list[tuple[int, int, bool]]:
    """The vmas as (first page, page after the last, mergeable), counted from the process's region."""
    mm = proc.mm
    return [
        ((vma.start - proc.start) // PAGE_SIZE, (vma.end - proc.start) // PAGE_SIZE, vma.mergeable)
        for vma in mm.vmas.values()
    ]


def test_mmap_places() -> None:
    """A mapping goes above all others with a page between, or where it is asked for if nothing is there."""

    async def play(s: Stage) -> None:
        mm = s.kernel.mm_alloc("A")
        one = await s.kernel.mmap(mm, 2, 0)
        two = await s.kernel.mmap(mm, 1, 1)
        assert (one, two) == (FIRST_ADDRESS, FIRST_ADDRESS + 3 * PAGE_SIZE)
        assert await s.kernel.mmap(mm, 1, 0, one + 2 * PAGE_SIZE) == one + 2 * PAGE_SIZE
        assert await s.kernel.mmap(mm, 2, 0, one + PAGE_SIZE) == -ENOMEM
        assert await s.kernel.mmap(mm, 1, 0) == two + 2 * PAGE_SIZE

    perform(play)


@pytest.mark.parametrize(("pages", "nid"), [(0, 0), (-1, 0), (1, 2), (1, -1)])
def test_mmap_refuses(pages: int, nid: int) -> None:
    """A mapping of no pages, or from a node that does not exist, is -EINVAL."""

    async def play(s: Stage) -> None:
        assert await s.kernel.mmap(s.kernel.mm_alloc("A"), pages, nid) == -EINVAL

    perform(play)


def test_munmap_splits() -> None:
    """Unmapping the middle of a vma leaves its ends, whose pages stay where they are; what was there is gone."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, 4, mergeable=False)
        doomed = s.frame(a, 1)
        assert await s.kernel.munmap(a.mm, a.at(1), 2 * PAGE_SIZE) == 0
        assert regions(a) == [(0, 1, False), (3, 4, False)]
        assert doomed.refcount == 0
        assert await s.read(a, 1) == -EFAULT
        assert await s.read(a, 3) is s.kernel.contents.token(4)
        assert await s.migrate(a, 3, 1) == 1, "the split half is found by reverse mapping"
        assert await s.kernel.munmap(a.mm, a.start, 4 * PAGE_SIZE) == 0
        assert not a.mm.vmas
        await s.farewell()

    perform(play)


def test_the_vma_found_last() -> None:
    """The vma that was found last is found again in its bounds as they are now, and not once it has gone."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, 4, mergeable=False)
        mm = a.mm
        whole = mm.find_vma(a.at(3))
        assert mm.find_vma(a.at(0)) is whole
        assert await s.kernel.munmap(mm, a.at(1), PAGE_SIZE) == 0
        upper = mm.find_vma(a.at(3))
        assert mm.find_vma(a.at(0)) is whole is not upper
        assert mm.find_vma(a.at(1)) is upper, "the first that ends above it"
        assert await s.kernel.munmap(mm, a.at(2), 2 * PAGE_SIZE) == 0
        assert mm.find_vma(a.at(3)) is None
        assert mm.find_vma(a.at(0)) is whole
        await s.farewell()
        assert mm.find_vma(a.at(0)) is None

    perform(play)


def test_munmap_over_several() -> None:
    """One call unmaps parts of several vmas and the gaps between; where nothing is, it does nothing."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, mergeable=False)
        await s.kernel.mmap(a.mm, 2, 0)
        assert await s.kernel.munmap(a.mm, a.at(1), 3 * PAGE_SIZE) == 0
        assert regions(a) == [(0, 1, False), (4, 5, False)]
        assert await s.kernel.munmap(a.mm, a.at(1), 3 * PAGE_SIZE) == 0
        assert await s.kernel.munmap(a.mm, a.start, 1) == 0, "a length is rounded up to pages"
        assert regions(a) == [(4, 5, False)]

    perform(play)


@pytest.mark.parametrize(("start", "length"), [(1, PAGE_SIZE), (FIRST_ADDRESS, 0), (FIRST_ADDRESS, -1)])
def test_munmap_and_mremap_refuse(start: int, length: int) -> None:
    """An unaligned start or an empty range is -EINVAL for both."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        assert await s.kernel.munmap(a.mm, start, length) == -EINVAL
        assert await s.kernel.mremap(a.mm, start, length) == -EINVAL
        assert regions(a) == [(0, 1, True)]

    perform(play)


def test_mremap_moves() -> None:
    """A part of a vma moves above everything with its pages and advice; reverse mapping finds them there."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3)
        page = s.frame(a, 1)
        new = await s.kernel.mremap(a.mm, a.at(1), PAGE_SIZE)
        assert new == a.at(4)
        assert regions(a) == [(0, 1, True), (2, 3, True), (4, 5, True)]
        assert s.frame(a, 4) is page
        assert await s.read(a, 1) == -EFAULT
        assert await s.read(a, 4) is s.kernel.contents.token(2)
        assert await s.migrate(a, 4, 1) == 1
        assert await s.kernel.mremap(a.mm, a.at(1), PAGE_SIZE) == -EFAULT, "nothing is there any more"
        assert await s.kernel.mremap(a.mm, a.at(2), 3 * PAGE_SIZE) == -EFAULT, "nor is it one vma"
        await s.farewell()

    perform(play)


def test_mremap_unmerges() -> None:
    """KSM pages are copied before they move; the region keeps its advice and merges again."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        b = await s.process("B", 1)
        await s.scan(2)
        kpage = s.frame(b, 0)
        new = await s.kernel.mremap(a.mm, a.start, 2 * PAGE_SIZE)
        moved = Proc(a.mm, new)
        assert [s.frame(moved, i).is_ksm for i in range(2)] == [False, False]
        assert kpage.mapcount == 1
        assert regions(moved) == [(0, 2, True)]
        await s.quiesce()
        assert s.frame(moved, 1) is kpage
        await s.farewell()

    perform(play)


def test_mremap_without_memory() -> None:
    """If there is no memory to unmerge, mremap fails and nothing moves."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        await s.process("H", 2, mergeable=False)
        assert await s.kernel.mremap(a.mm, a.start, 2 * PAGE_SIZE) == -ENOMEM
        assert regions(a) == [(0, 2, True)]
        assert s.frame(a, 0).mapcount == 2

    perform(play, nodes=1, frames_per_node=3)


def test_advice_splits_and_joins() -> None:
    """Advice on the middle of a vma makes three of it; when all have the same advice again they are one."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, 4, mergeable=False)
        kernel = s.kernel
        assert await kernel.madvise(a.mm, a.at(1), 2 * PAGE_SIZE, MADV_MERGEABLE) == 0
        assert regions(a) == [(0, 1, False), (1, 3, True), (3, 4, False)]
        assert await kernel.madvise(a.mm, a.at(2), PAGE_SIZE, MADV_UNMERGEABLE) == 0
        assert regions(a) == [(0, 1, False), (1, 2, True), (2, 4, False)]
        assert await kernel.madvise(a.mm, a.at(1), PAGE_SIZE, MADV_UNMERGEABLE) == 0
        assert regions(a) == [(0, 4, False)]
        assert await kernel.madvise(a.mm, a.start, 1, MADV_MERGEABLE) == 0, "a length is rounded up to pages"
        assert regions(a) == [(0, 1, True), (1, 4, False)]
        await s.farewell()

    perform(play)


def test_neighbours_that_differ_stay_apart() -> None:
    """Neighbours of other nodes, or whose pages have other anon_vmas, are not joined."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        b = await s.kernel.mmap(a.mm, 1, 1, a.at(1))
        await s.kernel.mmap(a.mm, 1, 0, a.at(2))
        await s.write(a, 2, 1)
        assert await s.kernel.madvise(a.mm, b, 2 * PAGE_SIZE, MADV_MERGEABLE) == 0
        assert regions(a) == [(0, 1, True), (1, 2, True), (2, 3, True)]

    async def untouched(s: Stage) -> None:
        a = await s.process("A", mergeable=False)
        for index, nid in ((1, 1), (2, 1)):
            await s.kernel.mmap(a.mm, 1, nid, a.at(index))
        assert await s.kernel.madvise(a.mm, a.start, 3 * PAGE_SIZE, MADV_MERGEABLE) == 0
        assert regions(a) == [(0, 1, True), (1, 3, True)]

    perform(play)
    perform(untouched)


@pytest.mark.parametrize("advice", [MADV_DONTNEED, MADV_MERGEABLE, MADV_UNMERGEABLE])
def test_madvise_errors(advice: int) -> None:
    """Unaligned or negative: -EINVAL; a gap in the range: -ENOMEM, and the rest is done; length 0: nothing."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, mergeable=advice == MADV_UNMERGEABLE)
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        before = regions(a)
        kernel = s.kernel
        assert await kernel.madvise(a.mm, a.start + 1, PAGE_SIZE, advice) == -EINVAL
        assert await kernel.madvise(a.mm, a.start, -1, advice) == -EINVAL
        assert await kernel.madvise(a.mm, a.start, 0, advice) == 0
        assert (regions(a), a.at(1) in a.mm.ptes) == (before, True)
        assert await kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, advice) == -ENOMEM
        if advice == MADV_DONTNEED:
            assert a.at(1) not in a.mm.ptes
        else:
            assert regions(a) == [(1, 2, advice == MADV_MERGEABLE)]
        assert await kernel.madvise(a.mm, a.at(1), 2 * PAGE_SIZE, advice) == -ENOMEM, "a gap at the end"

    perform(play)


def test_unknown_advice() -> None:
    """Advice that is not emulated is -EINVAL."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        assert await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, 99) == -EINVAL

    perform(play)


def test_dontneed() -> None:
    """Pages that are not needed are dropped, KSM pages too: they are zero when next touched."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1, 2)
        await s.scan(2)
        assert await s.kernel.madvise(a.mm, a.at(1), 2 * PAGE_SIZE, MADV_DONTNEED) == 0
        assert [await s.read(a, i) for i in range(3)] == [s.kernel.contents.token(t) for t in (1, 0, 0)]
        assert s.frame(a, 0).mapcount == 1
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_unmergeable_without_memory() -> None:
    """Taking advice back needs memory for copies: else -EAGAIN, the advice stays, and what was copied stays copied."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1, 1)
        await s.scan(2)
        await s.process("H", 2, mergeable=False)
        assert await s.kernel.madvise(a.mm, a.start, 3 * PAGE_SIZE, MADV_UNMERGEABLE) == -EAGAIN
        assert regions(a) == [(0, 3, True)]
        assert [s.frame(a, i).is_ksm for i in range(3)] == [False, True, True]

    perform(play, nodes=1, frames_per_node=4)


def test_a_kernel_without_ksm() -> None:
    """Below KSM the kernel answers merge advice with -EINVAL, and registers nobody."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        vma = a.mm.vma_at(a.start)
        assert await Mappings.ksm_madvise(s.kernel, vma, a.start, a.at(1), MADV_MERGEABLE) == (-EINVAL, False)
        assert await Mappings.ksm_fork(s.kernel, a.mm, a.mm) == 0

    perform(play)
