"""The meter: it changes nothing, and its figures are those that can be counted by hand."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pytest
import trio
from typing_extensions import override

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.events.logs import EventList
from ksmactors.interleave.strategies.registry import parse
from ksmactors.run.measured import Measured, TreeUse
from ksmactors.run.meter import STABLE, UNSTABLE, Meter
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from ksmactors.workload import Host, Int, Process, Workload


class Lonely(Workload):
    """One process writes so many pages, in ascending order, and leaves them alone."""

    summary: ClassVar[str] = "one process, and pages that nothing disturbs"
    pages = Int(3, "pages", low=1, high=100)
    equal = Int(0, "whether all pages are equal", low=0, high=1)

    @override
    async def run(self, host: Host) -> None:
        host.process("A").spawn(self.live)

    async def live(self, process: Process) -> None:
        region = await process.map(self.pages)
        for page in range(self.pages):
            await process.write(region, page, 1 if self.equal else 1 + page)
        await process.mergeable(region)


def measured(workload: type[Workload] | str, *, every_step: bool = False, **options: object) -> Measured:
    """The figures of the schedule in default order."""
    subject = make_subject(workload, params=options, watch="none")
    deciding = parse("default")
    deciding.thorough = every_step
    meter = Meter()
    trio.run(partial(run_schedule, subject, 0, "default", deciding=deciding, on_machine=meter.attach))
    found = meter.measured()
    assert found is not None
    return found


SMALL: dict[str, dict[str, int]] = {
    "vm_fleet": {"guests": 2, "pages": 2, "rounds": 2}, "knob_flip": {"rounds": 2, "flips": 3},
    "hot_remove": {"rounds": 2, "removals": 1}, "litmus.search_meets_migration": {},
}  # fmt: skip
"""Workloads with different actors, and parameters that make them small."""


@pytest.mark.parametrize("workload", SMALL)
@pytest.mark.parametrize("watch", [pytest.param("all", marks=pytest.mark.nightly), "none"])
def test_a_schedule_is_the_same(workload: str, watch: str) -> None:
    """With and without the meter, the campaign has the same digest, whether others observe or not."""
    subject = make_subject(workload, params=SMALL[workload], watch=watch)
    digests = set()
    for with_meter in (False, True):
        campaign = Campaign(Plan([subject], range(2), "portfolio", measured=with_meter))
        trio.run(campaign.run)
        digests.add(campaign.tally.digest)
        assert campaign.last is not None
        assert (campaign.last.measured is not None) == with_meter
    assert len(digests) == 1


def test_visits_by_hand() -> None:
    """Three pages that stay come to the unstable tree in each scan but the first: 0, 1 and 2 entries are visited, and
    a stable tree without entries costs nothing."""
    found = measured(Lonely)
    searches, visits, comparisons = found.trees[UNSTABLE]
    assert searches % 3 == 0
    assert searches > 0
    assert (visits, comparisons) == (searches, searches)
    assert found.trees[STABLE] == TreeUse(found.trees[STABLE].searches, 0, 0)
    assert found.trees[STABLE].searches > searches
    assert (found.saved, found.merged_after) == (0, ())


def test_merges_by_hand() -> None:
    """Of three equal pages, two merge when the second comes to the tree, which is the fifth page scanned; the third
    merges next."""
    found = measured(Lonely, equal=1)
    assert found.merged_after == (5, 5, 6)
    assert found.saved == 2


@pytest.mark.parametrize("pages", [1, 7, 20])
@pytest.mark.parametrize("equal", [0, 1])
def test_the_index_counts_as_the_walk_does(pages: int, equal: int) -> None:
    """A search by index has the visits and comparisons of one that goes from entry to entry."""
    by_index, walked = (measured(Lonely, every_step=one, pages=pages, equal=equal) for one in (False, True))
    assert by_index.trees == walked.trees
    assert by_index.merged_after == walked.merged_after
    if pages > 1 and not equal:
        assert by_index.virtual < walked.virtual


def _measured_and_logged(workload: str, seed: int) -> tuple[Outcome, EventList]:
    log = EventList()
    campaign = Campaign(
        Plan([make_subject(workload)], range(seed, seed + 1), "pos", log=log, detail=True, measured=True)
    )
    trio.run(campaign.run)
    assert campaign.last is not None
    return campaign.last, log


@pytest.mark.parametrize("workload", ["vm_fleet", "swap_pressure"])
def test_locks_as_in_a_log(workload: str) -> None:
    """Holds and waits are those that a log with detail has, by kind of lock."""
    outcome, log = _measured_and_logged(workload, 3)
    assert outcome.measured is not None
    events = [event for event in log.events if event["event"] in ("lock.acquired", "lock.released")]
    for kind, use in outcome.measured.locks.items():
        own = [event for event in events if str(event["lock"]).startswith(kind)]
        held = [event["held"] for event in own if event["event"] == "lock.released"]
        assert (use.held, use.longest) == (sum(held), max(held))
        assert use.waited == sum(event["waited"] for event in own if event["event"] == "lock.acquired")
    assert sum(use.waited for use in outcome.measured.locks.values()) > 0
    assert outcome.measured.virtual >= max(event["now"] for event in log.events)


def test_a_program_without_a_machine() -> None:
    """There is nothing to measure."""
    meter = Meter()
    trio.run(partial(run_schedule, make_subject("classic.lost"), 0, "random", on_machine=meter.attach))
    assert meter.measured() is None
