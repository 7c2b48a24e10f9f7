"""pages_shared, pages_sharing, pages_unshared, pages_volatile, full_scans: what raises and lowers each."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ksmactors.mm.const import MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, perform

Change = Callable[[Stage, Proc], Coroutine[Any, Any, None]]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_equal_pages(count: int) -> None:
    """N equal pages: volatile after one scan, all but one sharing after two, and so it stays."""

    async def play(s: Stage) -> None:
        await s.process("A", *[1] * (count - 1))
        await s.process("B", 1)
        seen = []
        for _ in range(3):
            await s.scan()
            seen.append(s.counters)
        assert seen == [(0, 0, 0, count), (1, count - 1, 0, 0), (1, count - 1, 0, 0)]

    perform(play)


def test_distinct_pages() -> None:
    """N distinct pages: volatile after one scan, unshared after two; in the middle of a scan they still count."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 2, 3)
        await s.scan()
        assert s.counters == (0, 0, 0, 3)
        await s.scan()
        assert s.counters == (0, 0, 3, 0)
        await s.batch(2)
        assert s.counters == (0, 0, 3, 0), "each is taken out and put in again"
        await s.scan()
        assert s.counters == (0, 0, 3, 0)

    perform(play)


def test_equal_to_a_shared_page() -> None:
    """A page equal to a KSM page joins it at first sight."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 1)
        await s.scan(2)
        await s.process("B", 1)
        await s.scan()
        assert s.counters == (1, 2, 0, 0)

    perform(play)


def test_rewritten_between_scans() -> None:
    """A page that differs at every look stays volatile."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        for token in (2, 3, 4):
            await s.scan()
            assert s.counters == (0, 0, 0, 1)
            await s.write(a, 0, token)

    perform(play)


def test_unshared_by_writing() -> None:
    """Writes are not counted before ksmd comes; then the pages are volatile, then unshared."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        await s.write(a, 0, 2)
        await s.write(a, 1, 3)
        assert s.counters == (1, 1, 0, 0)
        await s.batch(1)
        assert s.counters == (0, 0, 0, 2), "the first look finds the node stale: all its items go"
        await s.scan()
        assert s.counters == (0, 0, 0, 2)
        await s.scan()
        assert s.counters == (0, 0, 2, 0)

    perform(play)


def test_written_back() -> None:
    """oldchecksum is kept while a page is shared: rewritten with its old content it is unshared at once."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 2)
        await s.scan(3)
        await s.write(a, 0, 2)
        await s.scan()
        assert s.counters == (1, 2, 0, 0)
        await s.write(a, 0, 1)
        await s.scan()
        assert s.counters == (1, 1, 1, 0)

    perform(play)


async def one_of_three_written(s: Stage, a: Proc) -> None:
    await s.write(a, 0, 9)


async def one_of_three_unmapped(s: Stage, a: Proc) -> None:
    await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)


async def all_written(s: Stage, a: Proc) -> None:
    for index, token in enumerate((7, 8, 9)):
        await s.write(a, index, token)


async def all_unmapped(s: Stage, a: Proc) -> None:
    await s.kernel.munmap(a.mm, a.start, 3 * PAGE_SIZE)


async def advice_taken_back(s: Stage, a: Proc) -> None:
    await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_UNMERGEABLE)


async def unregistered(s: Stage, a: Proc) -> None:
    await s.kernel.madvise(a.mm, a.start, 3 * PAGE_SIZE, MADV_UNMERGEABLE)


async def exited(s: Stage, a: Proc) -> None:
    await s.kernel.mmput(a.mm)


@pytest.mark.parametrize(
    ("change", "counters", "full_scans"),
    [
        (one_of_three_written, (1, 1, 0, 1), 3),
        (one_of_three_unmapped, (1, 1, 0, 0), 3),
        (all_written, (0, 0, 0, 3), 3),
        (all_unmapped, (0, 0, 0, 0), 3),
        (advice_taken_back, (1, 0, 0, 0), 3),
        (unregistered, (0, 0, 0, 0), 3),
        (exited, (0, 0, 0, 0), 3),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_lowers_them(change: Change, counters: tuple[int, ...], full_scans: int) -> None:
    """Nothing changes at once; after the next full scan the items are off their node, or gone with their pages."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1, 1)
        await s.scan(2)
        await change(s, a)
        assert s.counters == (1, 2, 0, 0)
        await s.scan()
        assert (s.counters, s.kernel.ksm_scan.seqnr) == (counters, full_scans)

    perform(play)


def test_full_scans() -> None:
    """full_scans counts passes over all address spaces; with nobody registered there are none."""

    async def play(s: Stage) -> None:
        await s.scan(3)
        assert s.kernel.ksm_scan.seqnr == 0
        await s.process("A", 1, 2)
        await s.process("B", 3)
        for done, pages in ((0, 2), (0, 1), (1, 1), (1, 3), (2, 1)):
            await s.batch(pages)
            assert s.kernel.ksm_scan.seqnr == done
        assert s.kernel.pages_scanned == 6

    perform(play)


def test_a_scan_ends_its_batch() -> None:
    """A batch ends with the full scan, even if pages_to_scan is not used up; a batch of 0 does nothing."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 2)
        await s.batch(0)
        assert s.kernel.pages_scanned == 0
        await s.batch(100)
        assert (s.kernel.pages_scanned, s.kernel.ksm_scan.seqnr) == (2, 1)

    perform(play)


def test_forks_are_counted_when_ksmd_comes() -> None:
    """A child's mapping of a KSM page counts as sharing from ksmd's visit on, not from the fork on."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        await s.fork(a, "B")
        assert s.counters == (1, 1, 0, 0)
        await s.scan()
        assert s.counters == (1, 3, 0, 0)

    perform(play)


def test_merging_within_nodes() -> None:
    """With merge_across_nodes=0 each node has a KSM page of its own, and one alone on its node stays unshared."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        a = await s.process("A", 1, 1, 2)
        b = await s.process("B", 1, 1, 1, 2, nid=1)
        await s.scan(3)
        assert s.counters == (2, 3, 2, 0)
        assert [s.frame(a, 0).nid, s.frame(b, 0).nid] == [0, 1]

    perform(play)
