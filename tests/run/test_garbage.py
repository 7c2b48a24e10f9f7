"""What schedules leave behind: nothing that only the garbage collector could free."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial

import pytest
import trio

import ksmactors
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.machine import Machine
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


@pytest.fixture(autouse=True)
def _not_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("model", ["classic.lost", "classic.abba"])
def test_known_findings_leave_no_circles(model: str) -> None:
    """Actors that wait or hold a lock when their schedule ends refer to the conductor; that is let go of."""
    left = []
    for schedules in (50, 50, 200):
        campaign = Campaign(Plan([make_subject(model)], range(schedules), "random"))
        trio.run(campaign.run)
        assert next(iter(campaign.tally.found.values())).count > schedules / 10
        left.append(gc.collect())

    assert left[2] < left[1] + 50


@pytest.mark.parametrize("watchers", ["all", "none"])
def test_machines_leave_little(watchers: str) -> None:
    """A machine goes with its schedule, but for rings of rmap_items and of stable nodes with their mappings."""
    left = []
    for schedules in (3, 9):
        campaign = Campaign(Plan([make_subject("oom_kill", watch=watchers)], range(schedules), "portfolio"))
        trio.run(campaign.run)
        assert not campaign.tally.found
        left.append(gc.collect())

    assert (left[1] - left[0]) / 6 < 400


def test_explored_machines_leave_little() -> None:
    """A search looks at a schedule once more before it goes on; then all goes, also what was cut short."""
    left = []
    for schedules in (10, 70):
        tally = ksmactors.explore("litmus.scan_meets_migration", max_schedules=schedules)
        assert tally.schedules > schedules / 2
        left.append(gc.collect())

    assert (left[1] - left[0]) / 60 < 100


def test_a_machine_that_is_looked_at_stays() -> None:
    """Whoever has asked for the machine can look at it after the schedule."""
    machines: list[Machine] = []
    trio.run(partial(run_schedule, make_subject("fork_storm"), 0, "random", on_machine=machines.append))
    kernel = machines[0].kernel
    assert machines[0].watchers
    assert all(mm.name for mm in kernel.address_spaces)
    assert kernel.conductor.actors
