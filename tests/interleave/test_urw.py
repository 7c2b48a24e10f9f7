"""URW: all interleavings alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.profile import Profile
from ksmactors.interleave.strategies.registry import parse
from tests.helpers.strategies import turns_without_yields

Perform = Callable[..., Conductor]


def places_of_the_short_one(perform: Perform, strategy: str, seeds: int = 400) -> Counter[int]:
    """Where, among its own step and nine of the other actor, an actor of one step takes it."""
    profile = Profile(events={"main": 0, "a": 9, "b": 1}, parents={"a": "main", "b": "main"})
    places: Counter[int] = Counter()

    async def play(conductor: Conductor) -> None:
        for name, steps in (("a", 9), ("b", 1)):
            conductor.opening.append(conductor.spawn(name, walk(conductor, steps)))

    async def walk(conductor: Conductor, steps: int) -> None:
        for _ in range(steps):
            await conductor.point(0, None)

    for seed in range(seeds):
        chooser = parse(strategy)
        chooser.profile = profile
        recorded = [chosen for _, chosen in perform(play, seed=seed, strategy=chooser).tape.turns]
        places[recorded.index(2) if 2 in recorded else 9] += 1
    return places


@pytest.mark.slow
def test_every_place_is_alike(perform: Perform) -> None:
    """The only step of one actor comes about equally often at each place among the nine of another."""
    places = places_of_the_short_one(perform, "urw")

    assert set(places) == set(range(10))
    assert max(places.values()) < 2.2 * min(places.values())


@pytest.mark.slow
def test_a_random_walk_prefers_the_first(perform: Perform) -> None:
    """The test above can fail: under a random walk half of the schedules have it first."""
    places = places_of_the_short_one(perform, "random")

    assert places[0] > 150
    assert places[9] < 10


def test_without_a_profile_it_is_a_random_walk(perform: Perform) -> None:
    """On a bare conductor nothing is known of anybody: all are alike."""
    first = Counter(turns_without_yields(perform, "urw", seed)[0][1] for seed in range(100))

    assert min(first.values()) > 15
