"""mlock: what is locked stays in memory, and the lock goes over to the KSM page that takes a page's place."""

from __future__ import annotations

from ksmactors.mm.const import EINVAL, ENOMEM, MADV_DONTNEED, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, perform


async def lock(s: Stage, proc: Proc, pages: int, *, on: bool = True) -> None:
    """mlock or munlock of the first pages."""
    assert await s.kernel.mlock(proc.mm, proc.start, pages * PAGE_SIZE, on=on) == 0


def test_what_is_locked_is_not_swapped_out() -> None:
    """Reclaim passes it by until it is unlocked."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, 8, mergeable=False)
        await lock(s, a, 1)
        await s.swap_out()
        assert a.at(0) in a.mm.ptes
        assert a.at(1) in a.mm.swap_ptes
        await lock(s, a, 1, on=False)
        assert not s.frame(a, 0).mlocked
        await s.swap_out()
        assert a.at(0) in a.mm.swap_ptes
        await s.kernel.swapoff()
        await s.farewell()

    perform(play)


def test_locking_brings_pages_in() -> None:
    """A hole gets a page, and a KSM page is copied, since it is faulted in as for a write."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, 7)
        await s.scan(2)
        merged = s.frame(a, 0)
        assert merged.is_ksm
        await s.kernel.madvise(a.mm, a.at(1), PAGE_SIZE, MADV_DONTNEED)
        await lock(s, a, 2)
        assert [s.frame(a, index).mlocked for index in range(2)] == [True, True]
        assert not s.frame(a, 0).is_ksm
        await s.farewell()

    perform(play)


def test_the_lock_is_handed_over_to_the_ksm_page() -> None:
    """3.16 step 5: the merged page is unlocked, the KSM page locked; a copy on write takes it back."""

    async def play(s: Stage) -> None:
        b = await s.process("B", 7, 7)
        await s.scan(2)
        kpage = s.frame(b, 0)
        a = await s.process("A", 7)
        await lock(s, a, 1)
        assert not kpage.mlocked
        page = s.frame(a, 0)
        await s.scan(2)
        assert s.frame(a, 0) is kpage
        assert kpage.mlocked
        assert not page.mlocked
        await s.write(a, 0, 9)
        assert not kpage.mlocked
        assert s.frame(a, 0).mlocked
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_somebody_elses_lock_stays() -> None:
    """try_to_munlock: a KSM page that two have locked stays locked when one of them leaves."""

    async def play(s: Stage) -> None:
        a, b = [await s.process(name, 7) for name in "AB"]
        for each in (a, b):
            await lock(s, each, 1)
        await s.scan(3)
        kpage = s.frame(a, 0)
        assert s.frame(b, 0) is kpage
        assert kpage.mlocked
        await lock(s, a, 1, on=False)
        assert kpage.mlocked
        await s.kernel.mmput(b.mm)
        assert not kpage.mlocked
        await s.farewell()

    perform(play)


def test_reclaim_notices_a_lock_that_a_migration_has_lost() -> None:
    """Unmapping for a migration clears the mark (v3.7 to v4.3); reclaim finds the vma locked, and marks the page."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await lock(s, a, 1)
        assert await s.migrate(a, 0, 1) == 1
        page = s.frame(a, 0)
        assert not page.mlocked
        await s.kernel.lru_add_drain_all()
        await s.swap_out()
        assert s.frame(a, 0) is page
        assert page.mlocked
        await s.farewell()

    perform(play)


def test_what_it_answers() -> None:
    """A hole is -ENOMEM, a start inside a page -EINVAL; MADV_DONTNEED of what is locked is -EINVAL."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        assert await s.kernel.mlock(a.mm, a.start + 1, PAGE_SIZE) == -EINVAL
        assert await s.kernel.mlock(a.mm, a.start, 2 * PAGE_SIZE) == -ENOMEM
        assert s.kernel.page_at(a.mm, a.start) is not None
        assert await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_DONTNEED) == -EINVAL
        child = await s.fork(a, "C")
        assert await s.kernel.madvise(child.mm, child.start, PAGE_SIZE, MADV_DONTNEED) == 0
        await s.farewell()

    perform(play)
