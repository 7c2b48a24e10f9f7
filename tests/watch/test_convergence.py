"""When the end is not the time to ask whether everything has been merged."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.history.mutants.beyond import ChecksumNotKept, EverySecondScan, SkipsNeverRunOut
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame
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

    perform(play, layer=InsertsNothing, watchers=("convergence",))


def test_a_scan_that_changed_something_leaves_it_open() -> None:
    """Equal pages that ksmd sees for the first time in the last scan are none of its failures."""

    async def play(s: Stage) -> None:
        await s.process("A", 1)
        await s.scan(2)
        await s.process("B", 1)
        await s.scan()
        for watcher in s.machine.watchers:
            watcher.at_quiescence()

    perform(play, layer=FindsNoTwins, watchers=("convergence",))


def test_pinned_pages_are_excepted() -> None:
    """A page that somebody holds a reference on cannot be merged, and need not be."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        await s.process("B", 1)
        await s.frame(a, 0).get()
        await s.quiesce()

    perform(play, watchers=("convergence",))


def test_what_is_not_mergeable_is_excepted() -> None:
    """A page outside of mergeable memory stays apart from equal ones."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2)
        await s.unmergeable(a, 1)
        await s.process("B", 2)
        await s.quiesce()
        assert s.kernel.page_at(a.mm, a.start + PAGE_SIZE) is not None

    perform(play, watchers=("convergence",))


def test_nodes_keep_their_pages_apart() -> None:
    """With merge_across_nodes=0 equal pages on different nodes stay apart; with 1 they must not."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await s.process("A", 1)
        await s.process("B", 1, nid=1)
        await s.quiesce()

    perform(play, layer=FindsNoTwins, watchers=("convergence",))


def test_a_checksum_that_is_never_right_is_no_change() -> None:
    """Pages that do not change, but for ksmd always do, stay apart: that is reported, although no scan is idle."""

    async def play(s: Stage) -> None:
        await s.process("A", 1)
        await s.process("B", 1)
        await s.quiesce()

    with pytest.raises(Finding, match="ksmd has passed them"):
        perform(play, layer=ChecksumNotKept, watchers=("convergence",))
    perform(play, watchers=("convergence",))


def test_one_checksum_that_is_never_right() -> None:
    """It is reported beside pages that do merge in the last scans but one."""

    class OfBOnly(ChecksumNotKept):
        async def checksum_changed(self, item: RmapItem, page: Frame) -> bool:
            here = super() if item.mm.name in "BD" else super(ChecksumNotKept, self)
            return await here.checksum_changed(item, page)

    async def play(s: Stage) -> None:
        for name, token in zip("ABCDE", (2, 1, 2, 1, 2), strict=True):
            await s.process(name, token)
        await s.quiesce()

    with pytest.raises(Finding, match="ksmd has passed them"):
        perform(play, layer=OfBOnly, watchers=("convergence",))


@pytest.mark.parametrize("kernel", ["series", "v3.9", "v6.12", "v7.3"])
def test_pages_that_do_change_are_excepted(kernel: str) -> None:
    """Equal pages that are written before each scan never merge, by right."""

    async def play(s: Stage) -> None:
        procs = [await s.process(name, 1) for name in "AB"]
        for token in range(2, 6):
            for proc in procs:
                await s.write(proc, 0, token)
            await s.scan()
        for watcher in s.machine.watchers:
            watcher.at_quiescence()

    perform(play, kernel=kernel, watchers=("convergence",))


@pytest.mark.parametrize("kernel", ["series", "v6.12", "v7.3"])
def test_items_that_are_made_anew_are_excepted(kernel: str) -> None:
    """A page that was away for a scan has a new rmap_item: its checksum is new, though nothing has changed."""

    async def play(s: Stage) -> None:
        procs = [await s.process(name, 1) for name in "AB"]
        await s.scan()
        ptes = [proc.mm.ptes.pop(proc.start) for proc in procs]  # as if they were swapped out, and came back
        await s.scan()
        for proc, pte in zip(procs, ptes, strict=True):
            proc.mm.ptes[proc.start] = pte
        await s.scan()
        for watcher in s.machine.watchers:
            watcher.at_quiescence()

    perform(play, kernel=kernel, watchers=("convergence",))


async def come_late(s: Stage) -> None:
    """B comes to a page that is equal to A's after so many scans that they are looked at in turns."""
    await s.process("A", 1)
    await s.scan(13)
    await s.process("B", 1)
    await s.quiesce()


@pytest.mark.parametrize("kernel", ["v6.12", "v6.18", "v7.3"])
def test_pages_that_smart_scan_keeps_apart(kernel: str) -> None:
    """They are reported; with a repair of ours, with smart_scan at 0 and on older kernels they merge."""
    with pytest.raises(Finding) as found:
        perform(come_late, kernel=kernel)
    assert found.value.signature == "convergence/skipped_in_turns@should_skip_rmap_item"
    perform(come_late, kernel=kernel, with_=("skips-in-step",))
    perform(come_late, kernel="v6.1")


def test_pages_that_will_be_looked_at_together() -> None:
    """Skipped pages are acquitted while a scan is to come that looks at both; not if it never comes."""

    async def play(s: Stage) -> None:
        await s.process("A", 1)
        await s.scan(14)
        await s.process("B", 1)
        await s.quiesce()

    perform(play, kernel="v6.12", watchers=("convergence",))
    perform(come_late, kernel="v6.12", layer=EverySecondScan, watchers=("convergence",))
    with pytest.raises(Finding, match="its remaining skips do not decrease"):
        perform(come_late, kernel="v6.12", layer=SkipsNeverRunOut, watchers=("convergence",))
