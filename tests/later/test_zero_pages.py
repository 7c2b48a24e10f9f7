"""use_zero_pages: what the recordings do not show."""

from __future__ import annotations

import pytest

from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.mm.const import MADV_DONTNEED, MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, about_to, perform

KERNELS = ["v6.1", "v6.12", "v7.3"]
COUNTING = ["v6.12", "v7.3"]


async def zeros(s: Stage, name: str, pages: int = 2, *, nid: int = 0, scans: int = 3) -> Proc:
    """A process whose pages of zeros have been merged."""
    await s.set("use_zero_pages", 1)
    await s.set("smart_scan", 0)
    proc = await s.process(name, *[0] * pages, nid=nid)
    await s.scan(scans)
    return proc


def counted(s: Stage) -> tuple[int, list[int]]:
    """ksm_zero_pages of all, and of each process."""
    assert isinstance(s.kernel, ZeroCounted)
    return s.kernel.ksm_zero_pages, [s.kernel.mm_zero_pages[mm.number] for mm in s.kernel.address_spaces]


@pytest.mark.parametrize("kernel", KERNELS)
def test_pages_of_zeros_become_the_zero_page_on_every_node(kernel: str) -> None:
    """With merge_across_nodes 0, too, both nodes' pages are one frame; a write takes one from the region's node."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await zeros(s, "A")
        far = await zeros(s, "B", nid=1)
        assert s.frame(far, 0) is s.kernel.zero_page
        assert s.counters == (0, 0, 0, 0)
        await s.write(far, 0, 5)
        assert s.frame(far, 0).nid == 1
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_page_that_somebody_holds_is_not_replaced(kernel: str) -> None:
    """A failed merge with the zero page is no merge: the page goes on to be compared with others, as without it."""

    async def play(s: Stage) -> None:
        await s.set("use_zero_pages", 1)
        proc = await s.process("A", 0)
        page = s.frame(proc, 0)
        await page.get()
        await s.scan(2)
        assert s.frame(proc, 0) is page
        assert s.counters == (0, 0, 1, 0)
        await page.put()
        await s.scan(1)
        assert s.frame(proc, 0) is s.kernel.zero_page
        await s.quiesce()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_page_written_under_the_merge_is_kept(kernel: str) -> None:
    """The write comes between checksum and write protection: the contents differ, nothing is replaced."""

    async def play(s: Stage) -> None:
        await s.set("use_zero_pages", 1)
        proc = await s.process("A", 0)
        await s.batch(1)
        ksmd = s.start("ksmd", s.scan(2))
        await s.until(ksmd, about_to(obj=s.frame(proc, 0), inside="try_to_merge_one_page"))
        await s.write(proc, 0, 5)
        await s.finish(ksmd)
        assert await s.read(proc, 0) is s.kernel.contents.token(5)
        await s.quiesce()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", COUNTING)
def test_every_way_out_is_counted(kernel: str) -> None:
    """A write, MADV_DONTNEED, unmerging and exit each take from both counts what they end."""

    async def play(s: Stage) -> None:
        proc = await zeros(s, "A", 5)
        other = await zeros(s, "B", 1)
        assert counted(s) == (6, [5, 1])
        await s.write(proc, 0, 5)
        assert counted(s) == (5, [4, 1])
        await s.kernel.madvise(proc.mm, proc.at(1), PAGE_SIZE, MADV_DONTNEED)
        assert counted(s) == (4, [3, 1])
        await s.kernel.madvise(proc.mm, proc.at(2), PAGE_SIZE, MADV_UNMERGEABLE)
        assert counted(s) == (3, [2, 1])
        assert s.frame(proc, 2).is_anon
        await s.quiesce()
        await s.kernel.mmput(other.mm)
        assert counted(s)[0] == 2
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", COUNTING)
def test_run_2_gives_pages_of_zeros_back(kernel: str) -> None:
    """Unmerging everything unmerges KSM's zero pages, and leaves alone those that a read has made."""

    async def play(s: Stage) -> None:
        proc = await zeros(s, "A", 2)
        await s.kernel.madvise(proc.mm, proc.at(1), PAGE_SIZE, MADV_DONTNEED)
        await s.read(proc, 1)
        assert await s.set("run", 2) == 0
        assert s.frame(proc, 0).is_anon
        assert s.frame(proc, 1) is s.kernel.zero_page
        assert counted(s) == (0, [0])

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", COUNTING)
def test_a_registered_process_forks_its_count(kernel: str) -> None:
    """The child has as many, and the sum grows by them."""

    async def play(s: Stage) -> None:
        proc = await zeros(s, "A", 3)
        await s.fork(proc, "B")
        assert counted(s) == (6, [3, 3])
        await s.quiesce()
        await s.farewell()
        assert counted(s) == (0, [0, 0])

    perform(play, kernel=kernel)


def test_the_fork_of_one_that_is_not_registered_loses_count() -> None:
    """The child's number is the parent's, but the sum is as before: when both have exited, it is below zero."""

    async def play(s: Stage) -> None:
        proc = await zeros(s, "A", 2)
        proc.mm.registered = False  # it has left the list, and its unmerging found no memory
        await s.fork(proc, "B")
        proc.mm.registered = True
        assert counted(s) == (2, [2, 2])
        await s.farewell()
        assert counted(s)[0] == -2

    perform(play, kernel="v6.12", watchers=())


def test_unmerging_waits_for_no_write() -> None:
    """From v6.2 on the copy that unmerging makes is neither writable nor dirty: the next write takes a fault."""

    async def play(s: Stage) -> None:
        proc = await s.process("A", 7, 7)
        await s.scan(3)
        await s.kernel.madvise(proc.mm, proc.start, 2 * PAGE_SIZE, MADV_UNMERGEABLE)
        pte = s.kernel.page_at(proc.mm, proc.at(0))
        assert pte is not None
        assert not pte.frame.is_ksm
        assert (pte.write, pte.dirty) == (s.kernel.kernel_name == "v6.1",) * 2
        await s.write(proc, 0, 9)
        assert await s.read(proc, 0) is s.kernel.contents.token(9)
        await s.quiesce()

    for kernel in KERNELS:
        perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", COUNTING)
def test_unmerging_sees_through_a_migration(kernel: str) -> None:
    """A KSM page under migration is waited for, then broken, wherever it is by then."""

    async def play(s: Stage) -> None:
        proc = await s.process("A", 7, 7)
        await s.scan(3)
        daemon = s.start("migrationd", s.migrate(proc, 0, 1))
        await s.until(daemon, about_to(inside="move_to_new_page"))
        unmerge = s.start("unmerge", s.kernel.break_ksm(proc.mm.vmas.peekitem(0)[1], proc.at(0)))
        await s.go(unmerge)
        assert not unmerge.ended
        await s.finish(daemon)
        assert await s.finish(unmerge) == 0
        assert not s.frame(proc, 0).is_ksm
        await s.quiesce()

    perform(play, kernel=kernel)
