"""Two runs beside each other: the first event that differs, and what is counted more often in one than in the other.

Counts are taken for each schedule. If both sides have the same seeds, each schedule is compared with the one of its
seed (sign test, exact); else all of one side with all of the other (Mann-Whitney, normal approximation with ties, from
two schedules on). The probabilities are corrected for how many counters there are (Holm).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import comb
from statistics import NormalDist
from typing import Final, TypeAlias

from ksmactors.analysis.store import Line, Logs

SIGNIFICANT: Final = 0.05
"""A corrected probability below this is called a difference."""

DECIMALS: Final = 6
"""Of a probability: what is printed must not depend on the last bits of a float."""

CONTEXT: Final = 3
"""Equal events that are shown before the first one that differs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that differs. `index` counts events from 0; a side that has ended there has None."""

    index: int
    before: list[Line]
    one: Line | None
    other: Line | None


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened in a schedule on either side, on average; `p` is None where nothing can be said."""

    what: str
    one: float
    other: float
    p: float | None
    differs: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two logs have in common. `paired`: the schedules have the same seeds."""

    schedules: tuple[int, int]
    paired: bool
    difference: Difference | None
    counts: list[Count]


def compare(one: Logs, other: Logs) -> Comparison:
    """Compare two logs, event by event and count by count."""
    left, right = _counts(one), _counts(other)
    paired = sorted(left) == sorted(right)
    return Comparison((len(left), len(right)), paired, first_difference(one, other), _counted(left, right, paired))


# -- event by event -----------------------------------------------------------------------------------------------


def first_difference(one: Logs, other: Logs) -> Difference | None:
    """The first event that differs, in the order of the logs; None if the logs have the same events.

    Where an event stands does not count, nor which run and seed it is of: two seeds may begin alike.
    """
    before: list[Line] = []
    for index, (left, right) in enumerate(zip_longest(_events(one), _events(other))):
        if _without_seed(left) != _without_seed(right):
            return Difference(index, before, left, right)
        if left is not None:
            before = [*before, left][-CONTEXT:]
    return None


def _without_seed(line: Line | None) -> Line | None:
    return line and {key: value for key, value in line.items() if key not in ("run", "seed")}


def _events(logs: Logs) -> Iterator[Line]:
    for line in logs.lines():
        del line["file"], line["line"]
        yield line


# -- count by count -----------------------------------------------------------------------------------------------


def _counts(logs: Logs) -> dict[tuple[str, int, int], Counter[str]]:
    """How often each event happened, and how many steps there were, for each schedule: (run, seed, schedule)."""
    found: dict[tuple[str, int, int], Counter[str]] = {}
    rows = logs.rows("""
        SELECT run, seed, schedule, event, count(*) FROM events GROUP BY ALL UNION ALL
        SELECT run, seed, schedule, 'steps', steps FROM schedules ORDER BY ALL""")
    for run, seed, schedule, event, count in rows:
        found.setdefault((run, seed, schedule), Counter())[event] += count
    return found


Counts: TypeAlias = Mapping[tuple[str, int, int], Counter[str]]


def _counted(left: Counts, right: Counts, paired: bool) -> list[Count]:
    whats = sorted({what for side in (left, right) for counts in side.values() for what in counts})
    samples = {
        what: ([left[key][what] for key in sorted(left)], [right[key][what] for key in sorted(right)]) for what in whats
    }
    test = sign_test if paired else mann_whitney
    probabilities = holm({what: test(*sample) for what, sample in samples.items()})
    return [
        Count(what, _mean(one), _mean(other), p, p is not None and p < SIGNIFICANT)
        for what, (one, other) in samples.items()
        for p in [probabilities[what]]
    ]


def _mean(values: Sequence[int]) -> float:
    return round(sum(values) / len(values), 3) if values else 0.0


def sign_test(one: Sequence[int], other: Sequence[int]) -> float | None:
    """How probable so uneven a split of the pairs that differ is if neither side has more; None: no pair differs."""
    more = sum(left > right for left, right in zip(one, other, strict=True))
    less = sum(left < right for left, right in zip(one, other, strict=True))
    n = more + less
    if n == 0:
        return None
    tail = sum(comb(n, k) for k in range(min(more, less) + 1))
    return min(1.0, 2 * tail / (1 << n))


def mann_whitney(one: Sequence[int], other: Sequence[int]) -> float | None:
    """How probable so uneven a ranking of all values is if both sides are alike; None if all values are equal."""
    n, m = len(one), len(other)
    ties = Counter([*one, *other])
    if len(ties) < 2 or n < 2 or m < 2:
        return None
    rank, below = {}, 0
    for value in sorted(ties):
        rank[value] = below + (ties[value] + 1) / 2
        below += ties[value]
    u = sum(rank[value] for value in one) - n * (n + 1) / 2
    total = n + m
    tied = sum(count**3 - count for count in ties.values())
    variance = n * m / 12 * (total + 1 - tied / (total * (total - 1)))
    if variance <= 0:
        return None
    z = max(0.0, abs(u - n * m / 2) - 0.5) / variance**0.5
    return min(1.0, 2 * (1 - NormalDist().cdf(z)))


def holm(probabilities: Mapping[str, float | None]) -> dict[str, float | None]:
    """Correct probabilities for their number: what is left below 0.05 is so with all of them taken together."""
    known = sorted((p, what) for what, p in probabilities.items() if p is not None)
    corrected: dict[str, float | None] = dict.fromkeys(probabilities)
    highest = 0.0
    for place, (p, what) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        corrected[what] = round(highest, DECIMALS)
    return corrected
