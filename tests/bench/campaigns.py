"""What processes, blocks and the store of a campaign cost; wall clock only for processes, else CPU time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import StringIO
from itertools import repeat, starmap
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import trio
from typing_extensions import override

from ksmactors import plugins
from ksmactors.campaign.blocks import SCHEDULES_MAX, Block, packed, pieces
from ksmactors.campaign.driving import Drive, NoStore
from ksmactors.campaign.overview import overview_of
from ksmactors.campaign.placing import store_of
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.store_files import FILE, open_to_read
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.worker_pool import workers_of
from ksmactors.campaign.worker_processes import WorkerProcesses
from ksmactors.cli.live import PAINT_SECONDS, LiveLines
from ksmactors.cli.progress import SNAPSHOT_SECONDS, Watched, table_lines
from ksmactors.cli.screen import console
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.subject import Subject, make_subject
from tests.bench.measure import cpu_seconds, medians

WORKLOADS: Final = ("exit_race", "fork_storm", "vm_fleet")
SEEDS: Final = 500
"""Schedules of a campaign that takes about half a minute with one process."""

SMALL: Final = 400
"""Small schedules, with which the costs of blocks are measured."""

STORED: Final = 1_000_000
"""Schedules in a store that is measured."""

PAINTED: Final = 500
"""Paintings that are measured."""


@dataclass(frozen=True)
class Cost:
    """What a command takes, from its start to its end: seconds by the clock, and of CPU time in all its processes."""

    wall: float
    cpu: float


def cost(jobs: int, seeds: int) -> Cost:
    """What a campaign of so many processes and schedules takes."""
    with TemporaryDirectory() as out:
        line = ["stress", *WORKLOADS, "--seeds", str(seeds), "--jobs", str(jobs), "--quiet", "--out", out]
        began, before = perf_counter(), _cpu()
        subprocess.run([sys.executable, "-m", "ksmactors", *line], check=True, capture_output=True)
        return Cost(perf_counter() - began, _cpu() - before)


def _cpu() -> float:
    """CPU time of this process and of those that have ended."""
    own, others = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _least(jobs: int, seeds: int) -> Cost:
    """The least of three, of each."""
    costs = [cost(jobs, seeds) for _ in range(3)]
    return Cost(min(one.wall for one in costs), min(one.cpu for one in costs))


def jobs() -> dict[str, Any]:
    """Two processes beside one, and what a small campaign pays; the CPU time does not depend on other load so much."""
    one, two, small_one, small_two = _least(1, SEEDS), _least(2, SEEDS), _least(1, 4), _least(2, 4)
    return {
        "seconds_one": round(one.wall, 2),
        "seconds_two": round(two.wall, 2),
        "two_beside_one": round(one.wall / two.wall, 2),
        "cpu_seconds_one": round(one.cpu, 2),
        "cpu_seconds_two": round(two.cpu, 2),
        "small_seconds_one": round(small_one.wall, 2),
        "small_seconds_two": round(small_two.wall, 2),
        "small_cpu_seconds_one": round(small_one.cpu, 2),
        "small_cpu_seconds_two": round(small_two.cpu, 2),
    }


def _in_blocks_of(size: int) -> float:
    """CPU time of a campaign of two workers in blocks of so many schedules, with a store."""
    subjects = [make_subject("classic.lost")]
    seeds = range(SMALL)
    before = _cpu()
    with (
        TemporaryDirectory() as out,
        closing(WorkerProcesses()) as processes,
        store_of(Path(out), subjects, "random", resume=False) as store,
    ):
        plan = Plan(subjects, seeds, "random")
        drive = Drive(plan, store, workers=workers_of(plan, 2, processes=processes))
        drive._pieces = pieces(seeds, lambda seed: seed + size, {})  # what a bench may do
        trio.run(drive.run)
    return _cpu() - before


def blocks() -> dict[str, Any]:
    """What a block costs beside its schedules: in its worker, in the parent, and in the store."""
    small, large = medians(lambda: _in_blocks_of(1), lambda: _in_blocks_of(SCHEDULES_MAX))
    more = SMALL - SMALL / SCHEDULES_MAX
    return {"blocks": SMALL, "ms_a_block": round(1000 * (small - large) / more, 3)}


def _campaign(*, stored: bool) -> float:
    """CPU time of a campaign in this process."""
    subjects = [make_subject(name) for name in WORKLOADS]
    plan = Plan(subjects, range(60), "random")
    if not stored:
        return cpu_seconds(lambda: trio.run(Drive(plan, NoStore()).run))
    with TemporaryDirectory() as out, store_of(Path(out), subjects, "random", resume=False) as store:
        return cpu_seconds(lambda: trio.run(Drive(plan, store).run))


class _Terminal(StringIO):
    """A stream that says that it is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def store() -> dict[str, Any]:
    """The share of a campaign that its store takes."""
    without, with_store = medians(lambda: _campaign(stored=False), lambda: _campaign(stored=True))
    ratio = round(with_store / without, 3)
    return {"without_seconds": round(without, 3), "with_seconds": round(with_store, 3), "ratio": ratio}


def table() -> dict[str, Any]:
    """What the table on a terminal takes: CPU time of a painting, of a snapshot, and of counting a schedule. The share
    of a core is what these come to at 1,000 schedules a second."""
    names = [one.name for one in plugins.available("workloads")[0] if one.name.startswith("litmus.")][:12]
    campaign = Campaign(Plan([make_subject(name) for name in names], range(1 << 40), "random"))
    clock = iter(range(1 << 30))
    watched = Watched(campaign, 1 << 40, clock=lambda: float(next(clock)))
    outcomes = [
        Outcome(names[seed % len(names)], seed, "random", Verdict.OK, 5, 5, (), b"", seed.to_bytes(8, "little"))
        for seed in range(PAINTED)
    ]
    counting = cpu_seconds(lambda: deque(map(watched.take, outcomes), 0))
    snapshots = cpu_seconds(lambda: deque(map(watched.update, repeat(campaign.tally, PAINTED)), 0))
    with _environment("TERM", "xterm"):
        lines = LiveLines(console(_Terminal(), "always"), lambda width, height: table_lines(watched, width, height))
        lines.start()
        paintings = cpu_seconds(lambda: deque(starmap(lines.paint, repeat((), PAINTED)), 0))
        lines.stop()
    each = [seconds / PAINTED for seconds in (counting, snapshots, paintings)]
    share = 1000 * each[0] + each[1] / SNAPSHOT_SECONDS + each[2] / PAINT_SECONDS
    return {
        "counting_us": round(1e6 * each[0], 2),
        "snapshot_us": round(1e6 * each[1], 1),
        "painting_ms": round(1e3 * each[2], 2),
        "share_of_a_core": round(share, 4),
    }


def _block(first: int) -> tuple[Block, list[Outcome]]:
    """A block of real schedules."""
    outcomes: list[Outcome] = []
    campaign = Campaign(Plan([make_subject(name) for name in WORKLOADS], range(first, first + SCHEDULES_MAX), "random"))
    campaign.on_outcome = lambda outcome, _: outcomes.append(outcome)
    trio.run(campaign.run)
    return packed(outcomes, [123_456] * SCHEDULES_MAX), outcomes


def _fill(store: CampaignStore, block: Block, outcomes: list[Outcome]) -> None:
    for first in range(0, STORED, SCHEDULES_MAX):
        shapes = b"".join((first + place).to_bytes(8, "little") for place in range(SCHEDULES_MAX))  # all distinct
        store.write(block._replace(seeds=range(first, first + SCHEDULES_MAX), shapes=shapes), outcomes)


def large_store() -> dict[str, Any]:
    """The size of a large store, what writing a block takes, and how long it takes to open and to sum up."""
    subjects = [make_subject(name) for name in WORKLOADS]
    block, outcomes = _block(0)
    with TemporaryDirectory() as out:
        place = Path(out)
        with store_of(place, subjects, "random", resume=False) as kept:
            written = cpu_seconds(lambda: _fill(kept, block, outcomes))
        size = (place / FILE).stat().st_size
        opened = cpu_seconds(lambda: _open(place))
        resumed = cpu_seconds(lambda: _resume(place, subjects))
        with open_to_read(place) as kept:
            summed = cpu_seconds(lambda: overview_of(kept, place))
        added = cpu_seconds(lambda: _add_up(place, subjects))
    return {
        "schedules": STORED,
        "bytes_a_schedule": round(size / STORED, 1),
        "write_ms_a_block": round(1000 * written / (STORED / SCHEDULES_MAX), 3),
        "open_seconds": round(opened, 3),
        "open_to_resume_seconds": round(resumed, 3),
        "sum_up_seconds": round(summed, 3),
        "add_up_to_resume_seconds": round(added, 3),
    }


def _open(place: Path) -> None:
    """Open a store to read, and learn what is there."""
    with open_to_read(place) as kept:
        kept.stored()


def _resume(place: Path, subjects: list[Subject]) -> None:
    """Open a store to go on with it, and learn what is missing."""
    with store_of(place, subjects, "random", resume=True) as kept:
        kept.stored()


def _add_up(place: Path, subjects: list[Subject]) -> None:
    """Go on with a campaign of which nothing is missing."""
    with store_of(place, subjects, "random", resume=True) as kept:
        trio.run(Drive(Plan(subjects, range(STORED), "random"), kept, True).run)


CASES: Final = {"jobs": jobs, "blocks": blocks, "store": store, "large_store": large_store, "table": table}
