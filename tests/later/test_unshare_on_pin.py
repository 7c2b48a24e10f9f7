"""Pins for reading: since v5.19 a page that is shared is copied first."""

from __future__ import annotations

import pytest

from ksmactors.mm.frame import Frame
from tests.helpers.directed import Proc, Stage, perform


async def pinned(s: Stage, proc: Proc, *, dma: bool = True) -> Frame:
    """A page that is pinned for reading, or has a plain reference."""
    take = s.kernel.pin_user_pages if dma else s.kernel.get_user_pages
    page = await take(proc.mm, proc.at(0), False)
    assert isinstance(page, Frame)
    return page


async def merged(s: Stage) -> tuple[Proc, Proc]:
    """Two processes that share a KSM page."""
    a = await s.process("A", 7)
    b = await s.process("B", 7)
    await s.scan(3)
    assert s.frame(a, 0) is s.frame(b, 0)
    return a, b


@pytest.mark.parametrize("kernel", ["v6.1", "v7.3"])
def test_a_ksm_page_is_unshared(kernel: str) -> None:
    """The device has a page of the process's own, which is neither merged nor moved while it is pinned; the other
    process keeps the KSM page."""

    async def play(s: Stage) -> None:
        a, b = await merged(s)
        page = await pinned(s, a)
        assert page is s.frame(a, 0)
        assert not page.is_ksm
        assert s.frame(b, 0).is_ksm
        assert await s.read(a, 0) is s.kernel.contents.token(7)
        await s.kernel.lru_add_drain_all()
        await s.scan(3)
        assert s.frame(a, 0) is page, "a pinned page does not merge"
        await s.write(a, 0, 8)
        await s.kernel.unpin_user_page(page)
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


def test_a_page_shared_by_fork_is_unshared() -> None:
    """So is an ordinary page that a child maps, too."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        b = await s.fork(a, "B")
        page = await pinned(s, a)
        assert page is s.frame(a, 0)
        assert page is not s.frame(b, 0)
        await s.kernel.unpin_user_page(page)
        await s.farewell()

    perform(play, kernel="v6.12")


@pytest.mark.parametrize(("kernel", "dma"), [("v3.9", True), ("v6.12", False)])
def test_a_plain_reference_unshares_nothing(kernel: str, dma: bool) -> None:
    """Before v5.19, and for vmsplice still, the reference is on the KSM page: a write then leaves the reader behind."""

    async def play(s: Stage) -> None:
        a, b = await merged(s)
        page = await pinned(s, a, dma=dma)
        assert page.is_ksm
        await s.write(a, 0, 8)
        assert page is s.frame(b, 0)
        await page.put()
        await s.farewell()

    perform(play, kernel=kernel, watchers=())


def test_a_page_of_its_own_stays() -> None:
    """What nobody else maps is pinned as it is."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        before = s.frame(a, 0)
        page = await pinned(s, a)
        assert page is before
        await s.kernel.unpin_user_page(page)
        await s.farewell()

    perform(play, kernel="v6.12")
