"""A page comes back from a RAM disk without the swap cache, on kernels from v4.15 to v6.18."""

from __future__ import annotations

import pytest

from ksmactors.interleave.actor import WRITE
from ksmactors.mm.const import EIO
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Stage, about_to, perform
from tests.helpers.swapping import slot_of

KERNELS = ("v6.1", "v6.12", "v6.18")


async def swapped(s: Stage) -> None:
    """Everything is out, on a device that reads and writes synchronously."""
    s.start_swap()
    s.kernel.swap.synchronous = True
    await s.swap_out()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("write", [False, True])
def test_the_page_is_in_no_cache(kernel: str, write: bool) -> None:
    """It is exclusive, with one reference, and its slot is free; a later write keeps the frame."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        await swapped(s)
        await (s.write(a, 0, 8) if write else s.read(a, 0))
        page = s.frame(a, 0)
        await s.kernel.lru_add_drain_all()
        assert (page.swap, page.refcount, page.lru) == (None, 1, True)
        assert s.kernel.page_anon_exclusive(page)
        assert s.kernel.swap.used == {}
        await s.write(a, 0, 9)
        assert s.frame(a, 0) is page
        await s.farewell()

    perform(play, kernel=kernel)


def test_a_page_that_two_entries_name_goes_through_the_cache() -> None:
    """Both read it there; the one that comes last finds nothing else on the device, either."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        child = await s.fork(a, "C")
        await swapped(s)
        await s.read(a, 0)
        page = s.frame(a, 0)
        assert page.swap is slot_of(s, child, 0)
        assert await s.read(child, 0) is s.kernel.contents.token(7)
        assert s.frame(child, 0) is page
        await s.farewell()

    perform(play, kernel="v6.12")


@pytest.mark.parametrize("kernel", ["v3.9", "v7.3"])
def test_other_kernels_take_the_cache(kernel: str) -> None:
    """Before v4.15, and after v6.18."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        await swapped(s)
        await s.read(a, 0)
        assert s.frame(a, 0).swap is not None
        await s.farewell()

    perform(play, kernel=kernel)


def test_a_second_fault_waits_for_the_first() -> None:
    """Two threads fault on one entry: while the page is read the second tries again, and finds it mapped."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        await swapped(s)
        slot = slot_of(s, a, 0)
        first, second = (s.start(name, s.read(a, 0)) for name in ("first", "second"))
        await s.until(first, about_to(WRITE, Frame, "content", inside="swap_readpage"))
        assert slot.cached
        await s.until(second, about_to(WRITE, slot, "count", inside="swapcache_prepare"))
        await s.until(second, about_to(WRITE, Frame, "refcount", inside="put"))
        assert await s.finish(first) is s.kernel.contents.token(7)
        page = s.frame(a, 0)
        assert await s.finish(second) is s.kernel.contents.token(7)
        assert s.frame(a, 0) is page
        assert s.kernel.swap.used == {}
        await s.farewell()

    perform(play, kernel="v6.12")


def test_an_entry_that_has_changed_is_left_alone() -> None:
    """The page that was read is freed, and the entry of the one that was quicker stays."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        await swapped(s)
        slot = slot_of(s, a, 0)
        slow = s.start("slow", s.read(a, 0))
        await s.until(slow, about_to(inside="alloc_page"))
        await s.read(a, 0)
        assert await s.finish(slow) is s.kernel.contents.token(7)
        assert not slot.cached
        await s.farewell()

    perform(play, kernel="v6.12")


def test_a_page_that_cannot_be_read_is_an_error() -> None:
    """The entry stays, and the page that was to have the content is freed."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        await swapped(s)
        slot_of(s, a, 0).bad = True
        assert await s.read(a, 0) == -EIO
        assert slot_of(s, a, 0).count == 1
        await s.farewell()

    perform(play, kernel="v6.12")
