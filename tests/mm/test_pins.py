"""get_user_pages: who holds a reference for I/O keeps a page from being merged and migrated."""

from __future__ import annotations

from ksmactors.mm.const import EAGAIN, EFAULT
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Proc, Stage, perform


async def pin(s: Stage, proc: Proc, index: int, *, write: bool = False) -> Frame:
    """The page, with a reference."""
    page = await s.kernel.get_user_pages(proc.mm, proc.at(index), write)
    assert isinstance(page, Frame)
    return page


def test_a_pinned_page_is_not_merged() -> None:
    """As long as the reference is there (C5); afterwards it is."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, 7)
        page = await pin(s, a, 0, write=True)
        await s.scan(3)
        assert s.counters[:2] == (0, 0)
        assert s.frame(a, 0) is page
        await page.put()
        await s.scan(2)
        assert s.counters[:2] == (1, 1)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_pinned_page_is_not_migrated() -> None:
    """The migration finds a reference too many, backs off, and everything is as before (C1)."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        page = await pin(s, a, 0)
        assert await s.migrate(a, 0, 1) == -EAGAIN
        assert s.frame(a, 0) is page
        await page.put()
        assert await s.migrate(a, 0, 1) == 1
        await s.farewell()

    perform(play)


def test_a_pin_for_a_write_copies_a_ksm_page() -> None:
    """A device may not write what others share; one that only reads gets the KSM page itself."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, 7)
        await s.scan(2)
        kpage = s.frame(a, 0)
        read, written = await pin(s, a, 1), await pin(s, a, 0, write=True)
        assert read is kpage
        assert not written.is_ksm
        assert s.frame(a, 0) is written
        await read.put()
        await written.put()
        await s.farewell()

    perform(play)


def test_a_pin_brings_pages_in() -> None:
    """What was never touched is the zero page to be read, and a page of its own to be written; outside of all mappings
    it is -EFAULT. A live 6.18 does the same."""

    async def play(s: Stage) -> None:
        a = await s.process("A", mergeable=False)
        page = await pin(s, a, 0)
        assert page is s.frame(a, 0)
        assert page is s.kernel.zero_page
        await page.put()
        page = await pin(s, a, 0, write=True)
        assert page is s.frame(a, 0)
        assert page is not s.kernel.zero_page
        await page.put()
        assert await s.kernel.get_user_pages(a.mm, a.at(1), False) == -EFAULT
        await s.farewell()

    perform(play)
