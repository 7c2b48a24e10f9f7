"""The repair `unshare-on-advice`: pages shared by fork across a change of advice."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.mm.const import MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.helpers.directed import Proc, Stage, about_to, perform

WORKLOAD = """
from ksmactors.workload import Host, Process, Str, Workload

class Parted(Workload):
    who = Str("parent", "who changes its advice after the fork", choices=("parent", "child"))

    async def run(self, host: Host) -> None:
        parent = host.process("A")
        region = await parent.map(2)
        if self.who == "parent":
            await parent.mergeable(region)
        for page in range(2):
            await parent.write(region, page, 7)
        child = await parent.fork("B")
        assert isinstance(child, Process)
        if self.who == "parent":
            await parent.unmergeable(region)
        else:
            await child.mergeable(region)
"""


@pytest.mark.parametrize("who", ["parent", "child"])
class TestUnshareOnAdvice:
    def perform(self, tmp_path: Path, who: str, without: tuple[str, ...]) -> Outcome:
        path = tmp_path / "parted.py"
        path.write_text(WORKLOAD)
        subject = make_subject(f"{path}:Parted", params={"who": who, "balance_us": "0"}, without=without)
        return trio.run(run_schedule, subject, 1, "round_robin")

    def test_with_it(self, tmp_path: Path, who: str) -> None:
        """Merging the pages of the one leaves the other with pages that reverse mapping finds."""
        outcome = self.perform(tmp_path, who, ())

        assert outcome.verdict is Verdict.OK
        assert outcome.counts[ev.STABLE_TREE_APPEND] == 2

    def test_without_it(self, tmp_path: Path, who: str) -> None:
        """The other maps a KSM page that reverse mapping does not find, for good."""
        outcome = self.perform(tmp_path, who, ("unshare-on-advice",))

        assert outcome.defect is not None
        assert outcome.defect.signature == "rmap/lost_mapping@rmap_walk_ksm"


def test_a_migration_half_done_hides_nobody() -> None:
    """The mapping of the one is restored, that of the other is not yet: the page is still theirs in common."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        b = await s.fork(a, "B")
        await s.kernel.lru_add_drain_all()
        migration = s.start("migration", s.migrate(a, 0, 1))
        await s.until(migration, about_to(ACQUIRE, b.mm.page_table_lock, inside="remove_migration_pte"))
        assert s.frame(a, 0).mapcount == 1
        advice = s.start("advice", s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_UNMERGEABLE))
        await s.blocks(advice)
        await s.finish(migration)
        assert await s.finish(advice) == 0
        assert s.frame(a, 0) is not s.frame(b, 0)
        await s.quiesce()
        await s.farewell()

    perform(play)


@pytest.mark.parametrize("index", [0, 1])
def test_advice_during_a_migration(index: int) -> None:
    """A page of which a migration has unmapped some mappings is no page of one's own: the advice waits for it, and then
    every page is copied."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        b = await s.fork(a, "B")
        await s.kernel.lru_add_drain_all()
        page = s.frame(a, index)
        migration = s.start("migration", s.kernel.migrate_frame(page, 1))
        await s.until(migration, about_to(ACQUIRE, b.mm.page_table_lock, inside="try_to_unmap_one"))
        assert page.mapcount == 1
        advice = s.start("advice", s.kernel.madvise(b.mm, b.start, 2 * PAGE_SIZE, MADV_UNMERGEABLE))
        await s.blocks(advice)
        await s.finish(migration)
        assert await s.finish(advice) == 0
        assert all(s.frame(a, page) is not s.frame(b, page) for page in range(2))
        await s.scan(3)
        await s.kernel.munmap(a.mm, a.start, 2 * PAGE_SIZE)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_page_is_shared_by_a_swap_entry_too() -> None:
    """A page that one maps and the other has a swap entry for is copied before the advice changes."""

    async def play(s: Stage) -> None:
        s.conductor.spawn("writeback", s.kernel.end_swap_writes(), daemon=True)
        a = await s.process("A", 7)
        await s.kernel.lru_add_drain_all()
        await s.kernel.try_to_free_pages([0], 1)
        b = await s.fork(a, "B")
        await s.read(a, 0)
        assert await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_UNMERGEABLE) == 0
        await s.read(b, 0)
        assert s.frame(a, 0) is not s.frame(b, 0)
        await s.process("C", 7)
        await s.quiesce()

    perform(play)


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
def test_mremap_leaves_pages_shared(kernel: str) -> None:
    """mremap unmerges what it moves, but the advice stays as it is: the pages that a fork shares stay shared."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2)
        b = await s.fork(a, "B")
        shared = [s.frame(b, index) for index in range(2)]
        moved = Proc(a.mm, await s.kernel.mremap(a.mm, a.start, 2 * PAGE_SIZE))
        vma = a.mm.vma_at(moved.start)
        assert vma is not None
        assert vma.mergeable
        assert [s.frame(moved, index) for index in range(2)] == [s.frame(b, index) for index in range(2)] == shared
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)
