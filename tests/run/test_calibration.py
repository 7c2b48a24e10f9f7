"""What strategies get before they play: profiles once, rehearsals only where they are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.interleave.schedule_string import decode
from ksmactors.run.calibration import Calibration
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.helpers.strategies import outcome


@dataclass
class Plays:
    """`run_schedule`, which notes the seed and strategy of each schedule that is played."""

    played: list[tuple[int, str]] = field(default_factory=list)

    async def __call__(self, subject: Any, seed: int, strategy: str, **options: Any) -> object:
        self.played.append((seed, strategy))
        return await run_schedule(subject, seed, strategy, **options)


def prepared(strategy: str, *seeds: int) -> list[tuple[int, str]]:
    """What is played before the schedules of some seeds, in a campaign that plays those one after the other."""
    plays = Plays()

    async def campaign() -> None:
        subject, calibration = make_subject("classic.lost"), Calibration(plays)
        for seed in seeds:
            deciding = await calibration.strategy(subject, seed, strategy)
            await run_schedule(subject, seed, strategy, deciding=deciding)

    trio.run(campaign)
    return plays.played


def test_a_profile_is_made_once() -> None:
    """A campaign plays one calibration if its strategy wants a profile, and none if it does not."""
    assert prepared("surw", 0, 1, 2) == [(0, "round_robin")]
    assert prepared("metrics:of=portfolio", 5, 6) == [(0, "round_robin")]
    assert prepared("pos", 0, 1, 2) == []


def test_a_family_in_order_is_played_once() -> None:
    """What a learning strategy has just played it need not rehearse."""
    assert prepared("guided", 0, 1, 2, 3) == []


def test_what_is_missing_is_rehearsed() -> None:
    """Who begins in the middle of a family, or leaves seeds out, rehearses just those; going back starts anew."""
    assert [seed for seed, _ in prepared("guided:family=10", 12, 15)] == [10, 11, 13, 14]
    assert [seed for seed, _ in prepared("guided:family=10", 12, 11)] == [10, 11, 10]
    assert [seed for seed, _ in prepared("guided:family=10", 18, 20)] == list(range(10, 18))


def test_a_check_plays_twice() -> None:
    """A determinism check plays each schedule once before it counts."""
    assert [seed for seed, _ in prepared("determinism:of=pos", 3, 4)] == [3, 4]


def test_a_seed_has_one_schedule() -> None:
    """With or without what a campaign keeps, and whoever watches, a seed has the same schedule."""

    async def last() -> bytes:
        subject, calibration = make_subject("classic.reorder_10", watch="none"), Calibration(run_schedule)
        for seed in range(6):
            deciding = await calibration.strategy(subject, seed, "portfolio")
            came = await run_schedule(subject, seed, "portfolio", deciding=deciding)
        return came.shape

    assert outcome("reorder_10", "portfolio", 5).shape == trio.run(last)


def test_a_replay_needs_neither() -> None:
    """The schedule string of a strategy that has learned is followed without learning anything."""
    then = outcome("reorder_10", "guided", 7, keep=True)
    plays = Plays()
    plan = Plan([make_subject("classic.reorder_10")], range(7, 8), "guided", replayed=decode(then.schedule))
    campaign = Campaign(plan, calibration=Calibration(plays))
    trio.run(campaign.run)
    now = campaign.last

    assert now is not None
    assert (now.verdict, now.digest) == (then.verdict, then.digest)
    assert plays.played == []
