"""When the end is not the time to ask whether everything has been merged."""

from __future__ import annotations

from ksmactors.mm.const import PAGE_SIZE
from tests.helpers.broken import FindsNoTwins, InsertsNothing
from tests.helpers.directed import Stage, perform


def test_scans_of_long_ago_prove_nothing() -> None:
    """What was merged and broken in each scan while processes lived is no livelock when none is left to be scanned."""

    async def play(s: Stage) -> None:
        procs = [await s.process(name, 1) for name in "AB"]
        await s.scan(4)
        for proc in procs:
            await s.kernel.mmput(proc.mm)
        await s.quiesce()

    perform(play, layer=InsertsNothing, watchers=("eventual",))


def test_a_scan_that_changed_something_leaves_it_open() -> None:
    """Equal pages that ksmd sees for the first time in the last scan are none of its failures."""

    async def play(s: Stage) -> None:
        await s.process("A", 1)
        await s.scan(2)
        await s.process("B", 1)
        await s.scan()
        for watcher in s.machine.watchers:
            watcher.at_quiescence()

    perform(play, layer=FindsNoTwins, watchers=("eventual",))


def test_pinned_pages_are_excepted() -> None:
    """A page that somebody holds a reference on cannot be merged, and need not be."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        await s.process("B", 1)
        await s.frame(a, 0).get()
        await s.quiesce()

    perform(play, watchers=("eventual",))


def test_what_is_not_mergeable_is_excepted() -> None:
    """A page outside of mergeable memory stays apart from equal ones."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2)
        await s.unmergeable(a, 1)
        await s.process("B", 2)
        await s.quiesce()
        assert s.kernel.page_at(a.mm, a.start + PAGE_SIZE) is not None

    perform(play, watchers=("eventual",))


def test_nodes_keep_their_pages_apart() -> None:
    """With merge_across_nodes=0 equal pages on different nodes stay apart; with 1 they must not."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await s.process("A", 1)
        await s.process("B", 1, nid=1)
        await s.quiesce()

    perform(play, layer=FindsNoTwins, watchers=("eventual",))
