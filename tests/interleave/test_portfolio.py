"""The portfolio: shares, and the suffix in which chance rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.interleave.tape import strategy_rng
from tests.helpers.strategies import turns_without_yields

Perform = Callable[..., Conductor]


def test_all_get_their_share() -> None:
    """Each strategy of the portfolio gets about its share of the schedules."""
    counts: dict[str, int] = {}
    portfolio = Portfolio()
    for seed in range(2_000):
        portfolio.begin(strategy_rng(seed))
        counts[portfolio.inner.name] = counts.get(portfolio.inner.name, 0) + 1

    assert {name: round(count / 100) for name, count in counts.items()} == {
        "pos": 8, "surw": 6, "pct": 3, "random": 2, "starvation": 1,
    }  # fmt: skip


def test_a_long_schedule_becomes_a_random_walk(perform: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many steps nobody asks the strategy that was drawn: the portfolio walks at random, as `random` does."""
    monkeypatch.setattr(Portfolio, "fair_after", 10)
    for seed in range(30):
        portfolio = Portfolio()
        recorded = turns_without_yields(perform, portfolio, seed)
        walked = [chosen for _, chosen in recorded[14:24]]
        if portfolio.inner.name == "pct":
            assert len(set(walked)) > 1
            return
    raise AssertionError("no seed drew pct")
