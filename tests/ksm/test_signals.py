"""Signals: unmerging looks for one before each page, and what was begun stays half done."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.mm.const import ERESTARTSYS, MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers.directed import Stage, perform


def test_unmerging_is_interrupted() -> None:
    """MADV_UNMERGEABLE and mremap answer -ERESTARTSYS; the advice stays, and nothing is moved."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, 7)
        await s.scan(2)
        s.conductor.turn.signal_pending = True
        assert await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_UNMERGEABLE) == -ERESTARTSYS
        assert await s.kernel.mremap(a.mm, a.start, 2 * PAGE_SIZE) == -ERESTARTSYS
        s.conductor.turn.signal_pending = False
        vma = a.mm.vma_at(a.start)
        assert vma is not None
        assert vma.mergeable
        assert s.frame(a, 0).is_ksm
        await s.farewell()

    perform(play, kernel="v3.9")


def test_a_killed_writer_of_run() -> None:
    """run=2 fails with the signal, run is 0 then, scans go on to be counted, and the next run=2 works."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, 7)
        await s.set("run", 1)
        await s.scan(2)
        s.conductor.turn.signal_pending = True
        assert await s.set("run", 2) == -ERESTARTSYS
        s.conductor.turn.signal_pending = False
        assert s.kernel.sysfs_show("run") == "0"
        assert s.kernel.ksm_scan.seqnr == 2
        assert s.frame(a, 0).is_ksm
        assert await s.set("run", 2) == 0
        assert not s.frame(a, 0).is_ksm
        assert s.kernel.ksm_scan.seqnr == 0
        await s.farewell()

    perform(play)


async def interrupted_in_mid_scan(s: Stage) -> None:
    """run=2 fails at the first page, after an item went into the unstable tree of the scan under way."""
    await s.process("A", 5, 6)
    await s.set("run", 1)
    await s.scan()
    await s.batch(1)
    s.conductor.turn.signal_pending = True
    assert await s.set("run", 2) == -ERESTARTSYS
    s.conductor.turn.signal_pending = False
    await s.set("run", 1)
    await s.scan(2)
    await s.farewell()


def test_an_aborted_unmerge_leaves_items_of_a_tree_that_is_gone() -> None:
    """H3: in v3.9 they are erased from the tree of the next scan, which has its number; by default not."""
    with pytest.raises(Finding, match="is erased from root_unstable_tree"):
        perform(interrupted_in_mid_scan, kernel="v3.9")
    perform(interrupted_in_mid_scan)
