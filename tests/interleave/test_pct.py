"""PCT: priorities that last, changed at a few steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.profile import Profile
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.tape import strategy_rng
from tests.helpers.strategies import preemptions, turns_without_yields

Perform = Callable[..., Conductor]


def test_depth_one_never_preempts(perform: Perform) -> None:
    """With depth 1 and nobody who yields or wakes, the turn is passed only when its holder cannot go on."""
    order = [chosen for _, chosen in turns_without_yields(perform, "pct:depth=1", 4, steps=5)]

    assert sum(a != b for a, b in pairwise(order)) == 1


def test_change_points(perform: Perform) -> None:
    """With depth d the turn is taken from its holder at most d-1 times, at steps up to `steps`."""
    taken = [preemptions(turns_without_yields(perform, "pct:depth=3,steps=15", seed)) for seed in range(30)]
    assert max(map(len, taken)) == 2
    assert all(place < 15 for preempted in taken for place in preempted)


def drawn(profile: Profile | None) -> list[list[int]]:
    """The change points of 300 schedules."""
    strategy = Pct()
    if profile is not None:
        strategy.profile = profile
    changes = []
    for seed in range(300):
        strategy.begin(strategy_rng(seed))
        changes.append(list(strategy._changes))
    return changes


def test_depth_is_drawn() -> None:
    """Depths of 1 to 3 are drawn about equally often."""
    depths = [len(changes) for changes in drawn(None)]

    assert min(depths.count(changes) for changes in range(3)) > 70


def test_the_length_is_what_the_profile_says() -> None:
    """Change points lie everywhere in a schedule as long as the calibration, and not behind its end."""
    profile = Profile(events={"a": 30, "b": 70})
    steps = [step for changes in drawn(profile) for step in changes]

    assert min(steps) < 10
    assert 90 < max(steps) <= 100


def test_without_a_profile_the_length_is_drawn() -> None:
    """On a bare conductor change points are of all sizes."""
    assert len({step.bit_length() for changes in drawn(None) for step in changes}) > 12
