"""Pagevecs: new pages have an extra reference until their CPU's batch is drained."""

from __future__ import annotations

from ksmactors.mm.const import EBUSY, MADV_MERGEABLE, PAGE_SIZE
from ksmactors.mm.pagevec import PAGEVEC_SIZE
from tests.helpers.directed import Proc, Stage, perform


async def fresh(s: Stage, name: str, pages: int, *, token: int = 7) -> Proc:
    """A process whose pages have just been touched for the first time."""
    mm = s.kernel.mm_alloc(name)
    proc = Proc(mm, await s.kernel.mmap(mm, pages, 0))
    content = s.kernel.contents.token(token)
    for index in range(pages):
        while not await s.kernel.user_write(mm, proc.at(index), content):
            assert await s.kernel.fault(mm, proc.at(index), True) == 0
    return proc


def test_a_new_page_waits_in_a_batch() -> None:
    """It has a reference for that and cannot be isolated; draining puts it on the LRU."""

    async def play(s: Stage) -> None:
        a = await fresh(s, "A", 1)
        page = s.frame(a, 0)
        assert (page.refcount, page.lru) == (2, False)
        assert await s.kernel.migrate_frame(page, 1) == -EBUSY
        await s.kernel.lru_add_drain_all()
        assert (page.refcount, page.lru) == (1, True)
        assert await s.kernel.migrate_frame(page, 1) == 0
        await s.farewell()

    perform(play)


def test_the_fourteenth_empties_the_batch() -> None:
    """A full batch is drained by whoever fills it."""

    async def play(s: Stage) -> None:
        a = await fresh(s, "A", PAGEVEC_SIZE + 1)
        assert [s.frame(a, index).refcount for index in range(PAGEVEC_SIZE + 1)] == [1] * PAGEVEC_SIZE + [2]
        await s.farewell()

    perform(play)


def test_move_pages_drains_first() -> None:
    """migrate_prep: a page that was just touched can be moved."""

    async def play(s: Stage) -> None:
        a = await fresh(s, "A", 1)
        assert await s.migrate(a, 0, 1) == 1
        await s.farewell()

    perform(play)


def test_the_scan_starts_by_draining() -> None:
    """So pages touched before a full scan can be merged in it; those touched during one wait for the next."""

    async def play(s: Stage) -> None:
        a = await fresh(s, "A", 2)
        assert await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_MERGEABLE) == 0
        await s.scan(2)
        assert s.counters == (1, 1, 0, 0)
        await s.batch(1)
        b = await fresh(s, "B", 1)
        assert await s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_MERGEABLE) == 0
        await s.scan()
        assert s.counters[:2] == (1, 1)
        await s.scan()
        assert s.counters[:2] == (1, 2)
        await s.farewell()

    perform(play)


def test_a_page_outlives_its_last_mapping_in_a_batch() -> None:
    """Unmapped by another CPU than the one whose batch it is in, it is freed when that one drains."""

    async def play(s: Stage) -> None:
        a = await fresh(s, "A", 1)
        page = s.frame(a, 0)
        s.conductor.turn.cpu = 1
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        assert (page.refcount, page.mapcount) == (1, 0)
        await s.kernel.lru_add_drain_all()
        assert page.refcount == 0
        await s.farewell()

    perform(play)
