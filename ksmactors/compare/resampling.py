"""Intervals and probabilities for paired samples, by resampling. Equal samples give equal results, on any machine.

A figure is a ratio of sums: merges a scan are all merges over all scans. Its difference between the two sides has

- an interval: the percentile bootstrap, which draws as many pairs as there are, with replacement, BOOTSTRAPS times;
- a probability: the swap test, which exchanges the two sides of some pairs. If the idea changes nothing, each exchange
  is as likely as what was seen. Up to EXACT_PAIRS pairs that differ, all exchanges are tried; else SWAPS random ones.

All arithmetic before the last division is on integers. The random draws have a seed of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import compress, product
from math import floor
from operator import itemgetter
from random import Random
from typing import Any, Final, NamedTuple

BOOTSTRAPS: Final = 2_000
SWAPS: Final = 4_999

CONFIDENCE: Final = 0.95
"""How often an interval is to have the true difference in it."""

EXACT_PAIRS: Final = 12
"""Pairs that differ up to which all exchanges are tried: 4,096."""

GROUPS_MAX: Final = 200
"""Pairs that are drawn or exchanged one by one. More are added up in so many groups first: for sums of many pairs that
makes no difference, and time does not grow with their number."""

_SEED: Final = 0


class Sample(NamedTuple):
    """A pair of schedules: numerator and denominator without the idea, and with it."""

    without: int
    without_of: int
    idea: int
    idea_of: int


def total(samples: Iterable[Sample]) -> Sample:
    """Add samples up."""
    sums = [sum(column) for column in zip(*samples, strict=True)]
    return Sample(*sums) if sums else Sample(0, 0, 0, 0)


def difference(sums: Sample) -> float | None:
    """Return the figure with the idea less the one without; None if a denominator is 0."""
    if not sums.without_of or not sums.idea_of:
        return None
    return (sums.idea * sums.without_of - sums.without * sums.idea_of) / (sums.idea_of * sums.without_of)


def interval(samples: Sequence[Sample]) -> tuple[float, float] | None:
    """Return the bounds between which the difference is, with CONFIDENCE; None if that cannot be said.

    It cannot for less than two pairs, nor if one draw in ten has nothing to divide by.
    """
    if len(samples) < 2:
        return None
    grouped = _grouped(samples)
    picks = _draws(len(grouped))
    if all(one.without_of == one.idea_of == 1 for one in grouped):
        changes = [one.idea - one.without for one in grouped]
        drawn = [sum(pick(changes)) / len(changes) for pick in picks] if any(changes) else [0.0] * BOOTSTRAPS
    else:
        columns = list(zip(*grouped, strict=True))
        found = (difference(Sample(*(sum(pick(column)) for column in columns))) for pick in picks)
        drawn = [one for one in found if one is not None]
    if len(drawn) < 0.9 * BOOTSTRAPS:
        return None
    drawn.sort()
    left_out = floor(len(drawn) * (1 - CONFIDENCE) / 2)
    return drawn[left_out], drawn[-1 - left_out]


def probability(samples: Sequence[Sample]) -> float | None:
    """Return how probable so large a difference is if the idea changes nothing; None if no pair differs.

    The difference is taken without its sign. An exchange that leaves a side nothing to divide by counts as as large.
    """
    sums = total(samples)
    if difference(sums) is None:
        return None
    changes = [(one.idea - one.without, one.idea_of - one.without_of) for one in _grouped(samples)]
    changes = [change for change in changes if change != (0, 0)]
    if not changes:
        return None
    exceeds = _exceeds(sums, [change for change, _ in changes], [change for _, change in changes])
    if len(changes) <= EXACT_PAIRS:
        return sum(map(exceeds, product((0, 1), repeat=len(changes)))) / (1 << len(changes))
    return (1 + sum(map(exceeds, _choices(len(changes))))) / (1 + SWAPS)


def least_probability(pairs: int) -> float:
    """Return the smallest probability that so many pairs can have, if all of them differ."""
    return 2 / (1 << pairs) if pairs <= EXACT_PAIRS else 1 / (1 + SWAPS)


def _exceeds(seen: Sample, above: Sequence[int], below: Sequence[int]) -> Callable[[Sequence[int]], bool]:
    """Return the function that says, exactly, whether the sums differ at least as much as those that were seen, after
    the chosen pairs have exchanged their sides.

    Args:
        seen: the sums.
        above, below: by how much the numerators and the denominators of each pair differ.
    """
    without, without_of, idea, idea_of = seen
    apart = abs(idea * without_of - without * idea_of)
    of = without_of * idea_of
    same_denominators = not any(below)

    def exceeds(chosen: Sequence[int]) -> bool:
        up = sum(compress(above, chosen))
        if same_denominators:  # as of most figures, which are means over schedules
            return abs((idea - up) * without_of - (without + up) * idea_of) >= apart
        down = sum(compress(below, chosen))
        left, right = without_of + down, idea_of - down
        return abs((idea - up) * left - (without + up) * right) * of >= apart * left * right

    return exceeds


def _grouped(samples: Sequence[Sample]) -> Sequence[Sample]:
    if len(samples) <= GROUPS_MAX:
        return samples
    return [total(samples[start::GROUPS_MAX]) for start in range(GROUPS_MAX)]


@lru_cache(maxsize=8)
def _draws(pairs: int) -> list[Callable[[Sequence[int]], tuple[Any, ...]]]:
    """The draws of the bootstrap, as functions that pick the values drawn."""
    random = Random(_SEED)
    return [itemgetter(*random.choices(range(pairs), k=pairs)) for _ in range(BOOTSTRAPS)]


@lru_cache(maxsize=8)
def _choices(pairs: int) -> list[bytes]:
    """For each exchange, a byte for each pair: 1 if its sides are exchanged."""
    random = Random(_SEED)
    digits = bytes.maketrans(b"01", b"\0\1")
    return [f"{random.getrandbits(pairs):0{pairs}b}".encode().translate(digits) for _ in range(SWAPS)]
