"""MADV_FREE: reclaim drops the pages instead of writing them, unless they are written again."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.mm.const import EINVAL, MADV_FREE, MADV_PAGEOUT, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, perform

KERNEL = "v6.12"


async def freed(s: Stage, proc: Proc, pages: int = 1) -> None:
    """MADV_FREE of the first pages."""
    assert await s.kernel.madvise(proc.mm, proc.start, pages * PAGE_SIZE, MADV_FREE) == 0


async def reclaim(s: Stage) -> None:
    """Reclaim everything; an access since the last look takes another round."""
    await s.kernel.lru_add_drain_all()
    for _ in range(2):
        await s.kernel.try_to_free_pages(range(2), 1 << 20)


def test_v3_9_does_not_know_it() -> None:
    """-EINVAL, and nothing happens."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        assert await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_FREE) == -EINVAL

    perform(play, kernel="v3.9")


def test_reclaim_drops_the_page() -> None:
    """Until reclaim comes the old content is there; afterwards the page is zero, and no slot was used for it."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, 8, mergeable=False)
        await freed(s, a)
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        await reclaim(s)
        assert a.at(0) not in a.mm.ptes
        assert a.at(0) not in a.mm.swap_ptes
        assert a.at(1) in a.mm.swap_ptes, "the other page was not given up"
        assert await s.read(a, 0) is s.kernel.contents.zero
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=KERNEL)


def test_a_frame_that_has_failed_is_given_up_at_once() -> None:
    """Its entry is cleared, with nothing to put: the process reads zeros there, and the other one is not touched."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        child = await s.fork(a, "C")
        page = s.frame(a, 0)
        assert await s.memory_failure(page) == 0
        await freed(s, a)
        assert a.mm.hwpoison_ptes == {}
        assert child.mm.hwpoison_ptes == {child.at(0): page}
        assert page.refcount == page.kept == 1
        assert await s.read(a, 0) is s.kernel.contents.zero
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=KERNEL)


@pytest.mark.parametrize("moved", [False, True])
def test_a_page_that_was_written_again_is_kept(moved: bool) -> None:
    """The write sets the dirty bit of the entry, with the page moved in between or not: reclaim swaps the page out."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await freed(s, a)
        if moved:
            await s.migrate(a, 0, 1)
        await s.write(a, 0, 9)
        await reclaim(s)
        assert await s.read(a, 0) is s.kernel.contents.token(9)
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=KERNEL)


def test_the_mark_moves_with_the_page() -> None:
    """A page that was given up and has been migrated is dropped all the same."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await freed(s, a)
        await s.migrate(a, 0, 1)
        await reclaim(s)
        assert await s.read(a, 0) is s.kernel.contents.zero

    perform(play, kernel=KERNEL)


def test_what_is_swapped_out_goes_at_once() -> None:
    """The swap entry is emptied, and its slot is free."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await reclaim(s)
        assert a.at(0) in a.mm.swap_ptes
        await freed(s, a)
        assert a.at(0) not in a.mm.swap_ptes
        assert not s.kernel.swap.used

    perform(play, kernel=KERNEL)


def test_locked_memory_is_refused() -> None:
    """Neither MADV_FREE nor MADV_PAGEOUT does anything from a VM_LOCKED vma on (a live 6.18 does the same)."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, 8, mergeable=False)
        assert await s.kernel.mlock(a.mm, a.at(1), PAGE_SIZE, on=True) == 0
        for advice in (MADV_FREE, MADV_PAGEOUT):
            assert await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, advice) == -EINVAL
        assert a.at(0) not in a.mm.ptes, "it comes before the locked one, and was dropped"

    perform(play, kernel=KERNEL)


def test_a_shared_page_stays() -> None:
    """What another process maps is not given up: neither reads zeros."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        b = await s.process("B", 7)
        await s.scan(3)
        assert s.frame(a, 0) is s.frame(b, 0)
        await freed(s, a)
        await reclaim(s)
        for proc in (a, b):
            assert await s.read(proc, 0) is s.kernel.contents.token(7)

    perform(play, kernel=KERNEL)


def test_ksmd_takes_the_mark_off_what_it_makes_a_ksm_page() -> None:
    """A page that was given up becomes a KSM page, for another process, too: it is dirty then, and swapped out."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        b = await s.process("B", 7)
        await freed(s, a)
        await s.kernel.lru_add_drain_all()
        await s.scan(3)
        assert s.frame(a, 0) is s.frame(b, 0)
        await reclaim(s)
        for proc in (a, b):
            assert await s.read(proc, 0) is s.kernel.contents.token(7)
        await s.farewell()

    perform(play, kernel=KERNEL)


@pytest.mark.parametrize("repaired", [False, True])
def test_what_is_merged_into_a_page_given_up_is_lost(repaired: bool) -> None:
    """A gives up a KSM page that nobody else maps; C's page is merged into it, and is dropped by reclaim with it. With
    the repair neither is."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        b = await s.process("B", 7)
        await s.scan(3)
        await s.write(b, 0, 9)
        await s.scan()
        await freed(s, a)
        c = await s.process("C", 7)
        await s.scan(3)
        assert s.frame(c, 0) is s.frame(a, 0)
        await reclaim(s)
        token = s.kernel.contents.token(7)
        assert await s.read(a, 0) is (token if repaired else s.kernel.contents.zero), "A has given it up"
        assert await s.read(c, 0) is token

    if repaired:
        perform(play, kernel=KERNEL, with_=("no-ksm-given-up",))
        return
    with pytest.raises(Finding) as found:
        perform(play, kernel=KERNEL)
    assert found.value.signature == "shadow/lost_write@user_read"
    assert "C reads" in found.value.message
