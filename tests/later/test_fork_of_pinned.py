"""fork of a process that has pinned pages (v5.9 and later)."""

from __future__ import annotations

import pytest

from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import ENOMEM
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from ksmactors.mm.node import Node
from tests.helpers.directed import Proc, Stage, about_to, perform
from tests.later.test_anon_exclusive import LATER, pinned, the_end


async def forked(s: Stage) -> tuple[Proc, Proc, IoPin]:
    """A process forks while a device stores to its page."""
    a = await s.process("A", 7)
    pin = await pinned(s, a)
    return a, await s.fork(a, "C"), pin


@pytest.mark.parametrize("kernel", LATER)
def test_fork_copies_a_pinned_page(kernel: str) -> None:
    """The child has a copy, writable at once; the parent keeps the page, with what the device stores."""

    async def play(s: Stage) -> None:
        a, child, pin = await forked(s)
        token = s.kernel.contents.token
        assert s.frame(a, 0) is pin.page is not s.frame(child, 0)
        assert a.mm.ptes[a.start].write
        assert child.mm.ptes[child.start].write
        await s.write(a, 0, 8)
        await s.kernel.device_write(pin, token(9))
        assert await s.read(a, 0) is token(9)
        assert await s.read(child, 0) is token(7)
        await the_end(s, pin)

    perform(play, kernel=kernel)


@pytest.mark.parametrize(("kernel", "without"), [("v3.9", ()), ("v6.1", ("fork-copies-pinned",))])
def test_before_v5_9_fork_shares_a_pinned_page(kernel: str, without: tuple[str, ...]) -> None:
    """The parent writes first, and gets the copy: what the device stores goes to the child."""

    async def play(s: Stage) -> None:
        a, child, pin = await forked(s)
        token = s.kernel.contents.token
        assert s.frame(a, 0) is pin.page is s.frame(child, 0)
        await s.write(a, 0, 8)
        await s.kernel.device_write(pin, token(9))
        assert await s.read(a, 0) is token(8)
        assert await s.read(child, 0) is token(9)
        await the_end(s, pin)

    perform(play, kernel=kernel, without=without)


def test_fork_that_finds_the_page_unpinned_shares_it() -> None:
    """The I/O ends while fork allocates the page for the copy."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        fork = s.start("fork", s.fork(a, "C"))
        await s.until(fork, about_to(WRITE, Node, "free_list", inside="copy_one_pte"))
        await s.kernel.end_io(pin)
        child = await s.finish(fork)
        assert s.frame(a, 0) is s.frame(child, 0)
        assert not a.mm.ptes[a.start].write
        await s.quiesce()
        await s.farewell()

    perform(play, kernel="v6.1")


def test_fork_without_memory_for_the_copy_fails() -> None:
    """-ENOMEM, and the parent has what it had."""

    class NoMemory(Ksm):
        async def alloc_page(self, nid: int, *, exactly: bool = False) -> Frame | None:
            return None if len(self.address_spaces) > 1 else await super().alloc_page(nid, exactly=exactly)

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        pin = await pinned(s, a)
        assert await s.kernel.fork(a.mm, "C") == -ENOMEM
        assert s.frame(a, 0) is pin.page
        await s.write(a, 0, 8)
        await the_end(s, pin)

    perform(play, kernel="v6.1", layer=NoMemory)
