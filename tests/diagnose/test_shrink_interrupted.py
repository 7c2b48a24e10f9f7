"""Shrinking that Ctrl-C ends: in the middle, while the result is verified, before anything."""

from __future__ import annotations

import pytest

from ksmactors.model import Table
from ksmactors.run.subject import make_subject
from tests.diagnose.test_shrink import Counts, first_found, shrunk
from workloads.classic import Lost


class Interrupted(Counts):
    """Ctrl-C in the sixth schedule"""

    schedules = 0

    async def run(self, table: Table) -> None:
        Interrupted.schedules += 1
        if Interrupted.schedules == 6:
            raise KeyboardInterrupt
        await super().run(table)


class InterruptedAtLast(Lost):
    """Ctrl-C in the schedules with these numbers"""

    schedules = 0
    at: tuple[int, ...] = ()

    async def run(self, table: Table) -> None:
        InterruptedAtLast.schedules += 1
        if InterruptedAtLast.schedules in InterruptedAtLast.at:
            raise KeyboardInterrupt
        await super().run(table)


def test_ctrl_c_keeps_the_smallest_so_far() -> None:
    """Ctrl-C in the middle ends it with the smallest schedule so far."""
    Interrupted.schedules = 100
    found = first_found(make_subject(Interrupted))
    Interrupted.schedules = 0
    small = shrunk(found)

    assert small.interrupted
    assert small.tried == 5
    assert small.outcome.defect is not None
    assert len(small.departures) <= small.of


@pytest.mark.parametrize("from_the_end", [1, 2])
def test_ctrl_c_in_the_last_replays(from_the_end: int) -> None:
    """Ctrl-C while the result is verified or told loses nothing: the same result, said to be interrupted."""
    InterruptedAtLast.at = ()
    found = first_found(make_subject(InterruptedAtLast))
    InterruptedAtLast.schedules = 0
    undisturbed = shrunk(found)
    assert not undisturbed.interrupted

    InterruptedAtLast.at = (InterruptedAtLast.schedules - from_the_end + 1,)
    InterruptedAtLast.schedules = 0
    small = shrunk(found)
    assert small.interrupted
    assert (small.outcome.schedule, small.story) == (undisturbed.outcome.schedule, undisturbed.story)


@pytest.mark.parametrize("from_the_end", [1, 2])
def test_ctrl_c_twice_in_the_last_replays(from_the_end: int) -> None:
    """The second Ctrl-C ends it at once with the confirmed result, and says whether that was verified."""
    InterruptedAtLast.at = ()
    found = first_found(make_subject(InterruptedAtLast))
    InterruptedAtLast.schedules = 0
    undisturbed = shrunk(found)
    assert undisturbed.verified
    first = InterruptedAtLast.schedules - from_the_end + 1
    InterruptedAtLast.at, InterruptedAtLast.schedules = (first, first + 1), 0
    small = shrunk(found)
    assert InterruptedAtLast.schedules == first + 1
    assert small.interrupted
    assert small.verified == (from_the_end == 1)
    assert (small.outcome.schedule, small.story) == (undisturbed.outcome.schedule, ())


def test_ctrl_c_before_anything() -> None:
    """Ctrl-C in the first replay is Ctrl-C."""
    Interrupted.schedules = 100
    found = first_found(make_subject(Interrupted))
    Interrupted.schedules = 5
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # alone, or in a group as trio makes it
        shrunk(found)
    assert "KeyboardInterrupt" in repr(caught.value)
