"""Memory that is taken out of use before it fails: its page moves to another frame, and no process is killed."""

from __future__ import annotations

import pytest

from ksmactors.mm.const import EBUSY, EIO, MADV_DONTNEED, MADV_SOFT_OFFLINE, PAGE_SIZE
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Proc, Stage, perform

KERNELS = ("series", "v3.9", "v6.1", "v6.12")


async def softoffline(s: Stage, proc: Proc, index: int) -> int:
    """madvise(MADV_SOFT_OFFLINE) of a page."""
    return await s.kernel.madvise(proc.mm, proc.at(index), PAGE_SIZE, MADV_SOFT_OFFLINE)


def keeps_its_frame(kernel: str) -> bool:
    """Whether a kernel never frees the frame that a page has left."""
    return kernel.startswith("v6")


def frames_of(s: Stage) -> list[Frame]:
    """All frames that a process maps."""
    return [pte.frame for mm in s.kernel.address_spaces for pte in mm.ptes.values()]


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_ordinary_page(kernel: str) -> None:
    """It is on another frame of its node, with what was in it, in all processes; its old frame is never given out."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, mergeable=False)
        child = await s.fork(a, "C")
        page = s.frame(a, 0)
        assert await softoffline(s, a, 0) == 0
        assert s.frame(a, 0) is s.frame(child, 0) is not page
        assert (s.frame(a, 0).nid, s.frame(a, 0).mapcount) == (page.nid, 2)
        assert await s.read(child, 0) is s.kernel.contents.token(1)
        assert page.hwpoison
        await s.kernel.lru_add_drain_all()
        assert (page.mapcount, page.refcount, page.kept) == (0, *[keeps_its_frame(kernel)] * 2)
        await s.process("E", *range(10, 40))
        assert page not in frames_of(s)
        assert s.kernel.sigbus == []
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_ksm_page(kernel: str) -> None:
    """Its node names the new frame: ksmd goes on merging equal pages into it."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 7), await s.process("B", 7)
        await s.scan(2)
        page = s.frame(a, 0)
        assert await softoffline(s, b, 0) == 0
        c = await s.process("C", 7)
        await s.scan(2)
        assert s.frame(a, 0) is s.frame(b, 0) is s.frame(c, 0) is not page
        assert s.frame(c, 0).mapcount == 3
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize(("kernel", "busy"), [("series", -EIO), ("v3.9", -EIO), ("v6.1", -EBUSY), ("v6.12", -EBUSY)])
def test_a_page_that_does_not_move(kernel: str, busy: int) -> None:
    """Another reference keeps it where it is, and nothing has changed; the zero page is not on the LRU."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 7, 8), await s.process("B", 7)
        await s.scan(2)
        page = await s.kernel.get_user_pages(a.mm, a.at(0), False)
        assert isinstance(page, Frame)
        assert await softoffline(s, b, 0) == busy
        assert s.frame(a, 0) is s.frame(b, 0) is page
        assert not page.hwpoison
        await page.put()
        assert await softoffline(s, b, 0) == 0
        await s.kernel.madvise(a.mm, a.at(1), PAGE_SIZE, MADV_DONTNEED)
        assert await s.read(a, 1) is s.kernel.contents.zero
        assert await softoffline(s, a, 1) == -EIO
        assert not s.kernel.zero_page.hwpoison
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize(("kernel", "known"), [("v3.9", -EBUSY), ("v6.1", 0)])
def test_a_frame_that_has_failed(kernel: str, known: int) -> None:
    """Up to v6.3 a KSM page stays mapped when its memory fails; later kernels are content with that."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 7), await s.process("B", 7)
        await s.scan(2)
        page = s.frame(a, 0)
        assert await s.memory_failure(page) == -EBUSY
        references = page.refcount
        assert await softoffline(s, b, 0) == known
        assert s.frame(b, 0) is page
        assert page.refcount == references
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_free_frame(kernel: str) -> None:
    """It is passed over from now on."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        await s.exit(a)
        await s.scan(1)
        assert page.refcount == 0
        assert await s.kernel.soft_offline_page(page.pfn) == 0
        await s.process("B", 5)
        assert page not in frames_of(s)
        await s.farewell()

    perform(play, kernel=kernel)
