"""What strategies find: schedules until the defect of a classic model shows, against the figures of the literature."""

from __future__ import annotations

from typing import Final

import pytest

from tests.helpers.strategies import mean_until_found

REFERENCE: Final = {
    "pos": {
        "lost": 4.0, "abba": 3.7, "starve_20": 19.9, "reorder_3": 10.8, "reorder_10": 39.6, "reorder_20": 5.8,
        "twostage": 10.5, "twostage_20": 6.8, "twostage_50": 6.0,
    },
    "surw": {
        "lost": 1.6, "abba": 2.4, "starve_20": 3.0, "reorder_3": 7.8, "reorder_10": 26.9, "reorder_20": 6.1,
        "twostage": 9.3, "twostage_20": 6.0, "twostage_50": 5.2,
    },
}  # fmt: skip
"""Means of a reference implementation, by strategy and model."""

WITHIN: Final = 1.25
"""How much worse a mean may be."""

PORTFOLIO_BUDGET: Final = 60

CAMPAIGNS: Final = {"reorder_10": 20, "reorder_20": 20, "twostage_20": 20, "twostage_50": 20}
"""How many campaigns a mean is over, if not 50: a mean of 20 is off by a fifth as often as not."""

MANY_CAMPAIGNS: Final = {"reorder_10": 40, "reorder_20": 40, "twostage_20": 40, "twostage_50": 60}
"""The same for the nightly tests, if not 200."""


@pytest.mark.slow
@pytest.mark.parametrize("model", REFERENCE["pos"])
@pytest.mark.parametrize("strategy", REFERENCE)
def test_as_good_as_the_reference(strategy: str, model: str) -> None:
    """POS and SURW take no more schedules than the reference, or little more."""
    assert mean_until_found(strategy, model, CAMPAIGNS.get(model, 50)) <= WITHIN * REFERENCE[strategy][model]


@pytest.mark.nightly
@pytest.mark.parametrize("model", REFERENCE["pos"])
@pytest.mark.parametrize("strategy", REFERENCE)
def test_as_good_as_the_reference_in_many_campaigns(strategy: str, model: str) -> None:
    """The same with means that are off by less."""
    assert mean_until_found(strategy, model, MANY_CAMPAIGNS.get(model, 200)) <= WITHIN * REFERENCE[strategy][model]


@pytest.mark.slow
@pytest.mark.parametrize("model", REFERENCE["pos"])
def test_the_portfolio_finds_everything(model: str) -> None:
    """The default finds each model's defect within 60 schedules, on average, whatever its shape."""
    assert mean_until_found("portfolio", model) <= PORTFOLIO_BUDGET


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "model", "limit"),
    [
        # about one and a half times the mean of very many campaigns
        ("random", "lost", 3), ("random", "abba", 3), ("random", "reorder_3", 30), ("random", "reorder_20", 20),
        ("urw", "lost", 2.2), ("urw", "abba", 2.2), ("urw", "reorder_3", 18), ("urw", "starve_20", 35),
        ("pct", "lost", 6), ("pct", "abba", 6), ("pct", "starve_20", 8), ("pct:depth=1", "starve_20", 4),
        ("burst", "starve_20", 9), ("starvation", "starve_20", 18), ("starvation", "lost", 5),
        ("delay", "lost", 4), ("guided", "reorder_3", 21), ("guided", "starve_20", 30),
    ],
)  # fmt: skip
def test_finds(strategy: str, model: str, limit: float) -> None:
    """A strategy shows a model's defect within a stated number of schedules, on average over 40 campaigns."""
    assert mean_until_found(strategy, model, 40) <= limit


@pytest.mark.slow
def test_the_random_walk_starves_nobody() -> None:
    """The tests above can fail: no random walk lets an actor take twenty steps before another one takes its first."""
    with pytest.raises(AssertionError, match="random does not find starve_20"):
        mean_until_found("random", "starve_20", 1)


@pytest.mark.slow
def test_pos_reorders_better_than_the_random_walk() -> None:
    """POS needs fewer schedules than the random walk for reorder_3."""
    assert mean_until_found("pos", "reorder_3", 60) < mean_until_found("random", "reorder_3", 60)
