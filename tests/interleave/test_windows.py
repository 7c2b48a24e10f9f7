"""Strategies that let somebody run for long: bursts, starvation windows, delays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from ksmactors.interleave.conductor import Conductor
from tests.helpers.strategies import preemptions, turns_without_yields

Perform = Callable[..., Conductor]


def stretches(perform: Perform, strategy: str, seed: int, steps: int = 100) -> list[int]:
    """How long the turn stays, while all of three actors are ready."""
    recorded = [chosen for mask, chosen in turns_without_yields(perform, strategy, seed, steps=steps) if mask == 0b1110]
    return [sum(1 for _ in stretch) for _, stretch in groupby(recorded)]


def test_bursts_have_all_lengths(perform: Perform) -> None:
    """Among the runs of many schedules, single steps are common and long runs not rare."""
    lengths = [length for seed in range(40) for length in stretches(perform, "burst:octaves=7", seed)]

    assert sum(length == 1 for length in lengths) > len(lengths) // 20
    assert sum(length > 30 for length in lengths) > len(lengths) // 10


def test_burst_lengths_are_bounded(perform: Perform) -> None:
    """With one octave every run has one step: then it is a random walk."""
    lengths = [length for seed in range(10) for length in stretches(perform, "burst:octaves=1", seed)]

    assert sum(lengths) / len(lengths) < 1.7  # a random walk among three stays for 1.5 on average


def test_windows_starve(perform: Perform) -> None:
    """In some schedule an actor that is ready waits while another one takes many steps; the random walk never does."""

    def longest(strategy: str) -> int:
        return max(max(stretches(perform, strategy, seed)) for seed in range(20))

    assert longest("starvation") > 24
    assert longest("random") < 12


def test_delays_are_few(perform: Perform) -> None:
    """Nobody is interrupted but at so many steps, and those are drawn from the whole schedule."""
    places = []
    for seed in range(40):
        recorded = turns_without_yields(perform, "delay:delays=2,steps=24", seed)
        assert len(preemptions(recorded)) <= 2
        places += preemptions(recorded)

    assert min(places) < 4
    assert max(places) > 12
