"""Intervals and probabilities of paired samples, against answers that are known."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from random import Random
from statistics import mean, stdev

import pytest

from ksmactors.compare.resampling import (
    BOOTSTRAPS,
    EXACT_PAIRS,
    GROUPS_MAX,
    SWAPS,
    Sample,
    difference,
    interval,
    least_probability,
    probability,
    total,
)


def counts(*differences: int, of: int = 100) -> list[Sample]:
    """Pairs that differ by so much, of a count for each schedule."""
    return [Sample(of, 1, of + one, 1) for one in differences]


def drawn(random: Random, pairs: int, shift: float, spread: float = 10.0) -> list[Sample]:
    """Random pairs whose difference is normal, with this mean."""
    befores = [random.randrange(100) for _ in range(pairs)]
    return [Sample(before, 1, before + round(random.gauss(shift, spread)), 1) for before in befores]


def test_a_figure_is_a_ratio_of_sums() -> None:
    """Numerators and denominators are added up first: a schedule with many scans weighs more."""
    samples = [Sample(6, 2, 4, 2), Sample(0, 1, 12, 2)]
    assert total(samples) == Sample(6, 3, 16, 4)
    assert difference(total(samples)) == 2.0
    assert difference(Sample(3, 0, 4, 1)) is None


@pytest.mark.parametrize("pairs", range(1, EXACT_PAIRS + 1))
def test_all_pairs_on_one_side(pairs: int) -> None:
    """If all n pairs differ in one direction, two of the 2**n exchanges are as extreme."""
    assert probability(counts(*range(1, pairs + 1))) == 2 / 2**pairs == least_probability(pairs)


def test_the_exact_test_counts_exchanges() -> None:
    """Differences 1, 2, 3 and -1: 6 of 16 signs give a sum of at least 5, up or down."""
    signs = [abs(a + 2 * b + 3 * c - d) >= 5 for a, b, c, d in product((1, -1), repeat=4)]
    assert probability(counts(1, 2, 3, -1)) == sum(signs) / 16


def test_the_exact_test_of_ratios() -> None:
    """The exchanges of ratios are those that fractions give."""
    samples = [Sample(6, 2, 4, 2), Sample(3, 1, 12, 2), Sample(1, 1, 5, 3), Sample(9, 4, 2, 1)]
    seen = abs(Fraction(23, 8) - Fraction(19, 8))
    count = 0
    for chosen in product((False, True), repeat=4):
        sides = [(s[2:] + s[:2]) if swap else tuple(s) for s, swap in zip(samples, chosen, strict=True)]
        a, b, c, d = map(sum, zip(*sides, strict=True))
        count += abs(Fraction(c, d) - Fraction(a, b)) >= seen
    assert probability(samples) == count / 16


def test_pairs_that_are_equal_say_nothing() -> None:
    """Without a pair that differs there is no probability, and the interval is 0; equal pairs beside others are no
    matter."""
    assert probability(counts(0, 0, 0)) is None
    assert interval(counts(0, 0, 0)) == (0.0, 0.0)
    assert probability(counts(*[1] * 5, *[0] * 50)) == probability(counts(*[1] * 5))


def test_too_little_for_an_interval() -> None:
    """One pair has no interval, and neither has a figure that often has nothing to divide by."""
    assert interval(counts(5)) is None
    assert interval([]) is None
    assert interval([Sample(1, 1, 1, 1), *[Sample(0, 0, 0, 0)] * 9]) is None
    assert probability([Sample(0, 0, 1, 1)] * 9) is None


def test_the_interval_is_that_of_the_normal_distribution() -> None:
    """For many pairs, the bootstrap gives the mean less and plus 1.96 standard errors."""
    samples = drawn(Random(5), 150, shift=4.0)
    low, high = interval(samples) or (0.0, 0.0)
    differences = [one.idea - one.without for one in samples]
    error = stdev(differences) / len(samples) ** 0.5
    assert low == pytest.approx(mean(differences) - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(mean(differences) + 1.96 * error, abs=0.15 * error)


def test_the_interval_of_a_ratio() -> None:
    """For ratios, it is that of the deviations from the ratio, divided by the mean denominator."""
    random = Random(6)
    samples = [Sample(random.randrange(20), 10, random.randrange(40), random.randrange(5, 15)) for _ in range(180)]
    n, sums = len(samples), total(samples)
    one, other = sums.without / sums.without_of, sums.idea / sums.idea_of
    apart = [
        (s.idea - other * s.idea_of) / (sums.idea_of / n) - (s.without - one * s.without_of) / (sums.without_of / n)
        for s in samples
    ]
    error = stdev(apart) / n**0.5
    assert interval(samples) == pytest.approx((other - one - 1.96 * error, other - one + 1.96 * error), abs=0.2 * error)


@pytest.mark.nightly
def test_how_often_it_is_wrong() -> None:
    """Of 120 samples with a known difference, about 95 % of the intervals have it; of 120 without one, about 5 % are
    called different."""
    random = Random(7)
    covered = called = 0
    for _ in range(120):
        low, high = interval(drawn(random, 40, shift=3.0)) or (0.0, 0.0)
        covered += low <= 3.0 <= high
        called += (probability(drawn(random, 40, shift=0.0)) or 1.0) < 0.05
    assert 0.88 <= covered / 120 <= 0.99
    assert called / 120 <= 0.11


def test_a_large_difference_is_called() -> None:
    """The random exchanges give the least probability to a difference that none of them reaches."""
    assert probability(counts(*range(50, 100))) == 1 / (1 + SWAPS) == least_probability(50)


def test_many_pairs_are_added_up_in_groups() -> None:
    """More than GROUPS_MAX pairs give nearly the same as they would one by one, in the same time."""
    samples = drawn(Random(8), 20 * GROUPS_MAX, shift=1.0)
    low, high = interval(samples) or (0.0, 0.0)
    change = difference(total(samples)) or 0.0
    error = 10.0 / len(samples) ** 0.5
    assert low == pytest.approx(change - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(change + 1.96 * error, abs=0.2 * error)
    assert probability(samples) == 1 / (1 + SWAPS)


def test_equal_samples_give_equal_results() -> None:
    """The draws do not depend on what was asked before."""
    samples = drawn(Random(9), 30, shift=1.0)
    before = interval(samples), probability(samples)
    interval(drawn(Random(1), 17, shift=0.0))
    assert (interval(list(samples)), probability(list(samples))) == before
    assert BOOTSTRAPS >= 1000
