"""PageAnonExclusive: who takes the mark off, who sets it, and what it decides."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.ksm.kernel import Ksm
from ksmactors.later.anon_exclusive import AnonExclusive
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Proc, Stage, perform
from tests.later.test_layers_of_processes import merged_while_pinned

KERNEL = "v6.12"
UNMARKED = ("unshare-on-pin", "fork-copies-pinned", "anon-exclusive")
"""What to leave out for references to decide."""


async def pinned(s: Stage, proc: Proc, *, dma: bool) -> Frame:
    """A reading pin, or a plain reference as vmsplice takes it."""
    take = s.kernel.pin_user_pages if dma else s.kernel.get_user_pages
    page = await take(proc.mm, proc.at(0), False)
    assert isinstance(page, Frame)
    return page


def test_ksmd_counts_the_references_of_a_marked_page() -> None:
    """A pinned page comes back from swap with a read-only, clean entry: it is not merged while it is pinned."""
    perform(merged_while_pinned, kernel=KERNEL)
    with pytest.raises(Finding) as found:
        perform(merged_while_pinned, kernel=KERNEL, without=UNMARKED)
    assert found.value.signature == "shadow/lost_write@device_write"


@pytest.mark.parametrize("forked", [False, True])
def test_a_pin_for_reading_copies_what_is_shared(forked: bool) -> None:
    """While a child maps the page, the pin copies it; when the child has gone, it marks it and leaves it there."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        before = s.frame(a, 0)
        child = await s.fork(a, "B")
        await s.kernel.lru_add_drain_all()
        if not forked:
            await s.exit(child)
        page = await pinned(s, a, dma=True)
        assert (page is before) == (not forked)
        await s.kernel.unpin_user_page(page)
        await s.farewell()

    perform(play, kernel=KERNEL)


@pytest.mark.parametrize(("without", "stays"), [((), True), (UNMARKED, False)])
def test_a_write_keeps_a_marked_page_whoever_refers_to_it(without: tuple[str, ...], stays: bool) -> None:
    """A page that has come back from swap is read-only. It is its process's alone, so a write leaves it where it is,
    although somebody has a reference; if references decide, the write copies it."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7, mergeable=False)
        await s.swap_out()
        assert a.at(0) in a.mm.swap_ptes
        await s.read(a, 0)
        page = await pinned(s, a, dma=False)
        await s.write(a, 0, 8)
        assert (s.frame(a, 0) is page) == stays
        await page.put()

    perform(play, kernel=KERNEL, without=without, watchers=())


@pytest.mark.parametrize("moved", [False, True])
def test_fork_takes_the_mark_off_and_migration_keeps_it(moved: bool) -> None:
    """By the numbers of marked frames: a new page is marked, wherever it goes; one that fork has shared is not."""

    def marked(kernel: Ksm, page: Frame) -> bool:
        assert isinstance(kernel, AnonExclusive)
        return kernel.page_anon_exclusive(page)

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        if moved:
            await s.migrate(a, 0, 1)
        assert marked(s.kernel, s.frame(a, 0))
        await s.fork(a, "B")
        assert not marked(s.kernel, s.frame(a, 0))
        await s.write(a, 0, 8)
        assert marked(s.kernel, s.frame(a, 0)), "it is a copy"
        await s.farewell()

    perform(play, kernel=KERNEL)
