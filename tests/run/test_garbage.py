"""What schedules leave behind: nothing that only the garbage collector could free."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio

from ksmactors.campaign.stress import Campaign, Plan
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
