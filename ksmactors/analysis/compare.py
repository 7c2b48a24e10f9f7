"""Two runs beside each other: settings, the first event that differs, and what is counted more often in one of them.

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
from ksmactors.events.catalogue import CATALOGUE, DETAIL, RUN_START

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
class DifferentSetting:
    """Something that the two sides were run with, as `run.start` says it; a side without it has None."""

    what: str
    one: str | None
    other: str | None


RunKey: TypeAlias = tuple[str, int, int]
"""A schedule: run, seed, index."""

Counts: TypeAlias = Mapping[RunKey, Counter[str]]
"""How often each event happened in each schedule."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two logs have in common.

    Attributes:
        schedules: how many there are on either side.
        paired: the schedules have the same seeds.
        difference: the first event that differs.
        counts: what was counted.
        settings: what was set differently. The settings of a schedule are not compared as events.
        without_detail: only one side has events of detail, so they are left out.
        first: the schedules of the first difference, one of either side; the first ones if there is none.
    """

    schedules: tuple[int, int]
    paired: bool
    difference: Difference | None
    counts: list[Count]
    settings: list[DifferentSetting]
    without_detail: bool
    first: tuple[RunKey, RunKey]


def compare(one: Logs, other: Logs) -> Comparison:
    """Compare two logs, event by event and count by count."""
    without_detail = _has_detail(one) != _has_detail(other)
    condition = _WITHOUT_DETAIL if without_detail else "true"
    left, right = _counts(one, condition), _counts(other, condition)
    paired = _seeds(left) == _seeds(right)
    difference = first_difference(one, other, without_detail=without_detail)
    sides = (difference.one, difference.other) if difference is not None else (None, None)
    first = tuple(
        (line["run"], line["seed"], line["schedule"]) if line is not None else _end(logs, difference)
        for logs, line in zip((one, other), sides, strict=True)
    )
    counts = _counted(left, right, paired)
    return Comparison(
        (len(left), len(right)), paired, difference, counts, _settings(one, other), without_detail, (first[0], first[1])
    )


_DETAIL_NAMES: Final = ", ".join(f"'{CATALOGUE[code].name}'" for code in DETAIL)

_WITHOUT_DETAIL: Final = f"event NOT IN ({_DETAIL_NAMES})"

_SETTINGS: Final = tuple(field.name for field in CATALOGUE[RUN_START].fields)


def _has_detail(logs: Logs) -> bool:
    return bool(logs.rows(f"SELECT 1 FROM events WHERE event IN ({_DETAIL_NAMES}) LIMIT 1"))


def _end(logs: Logs, difference: Difference | None) -> RunKey:
    """The schedule that a log ends with, if it ended before the other one; without a difference, its first one."""
    order = "" if difference is None else " DESC"
    rows = logs.rows(f"SELECT run, seed, schedule FROM events ORDER BY line{order} LIMIT 1")
    return rows[0] if rows else ("", 0, 0)


def _settings(one: Logs, other: Logs) -> list[DifferentSetting]:
    sides = [_set(logs) for logs in (one, other)]
    return [
        DifferentSetting(what, left, right)
        for what, left, right in zip(_SETTINGS, *sides, strict=True)
        if left != right and left is not None and right is not None
    ]


def _set(logs: Logs) -> list[str | None]:
    """The values of each setting, in the order of the log."""
    found: list[str | None] = []
    for name in _SETTINGS:
        rows = logs.rows(f"""
            SELECT "{name}"::VARCHAR FROM events WHERE event = 'run.start' AND "{name}" IS NOT NULL
            GROUP BY 1 ORDER BY min(line)""")
        found.append(", ".join(value for (value,) in rows) if rows else None)
    return found


# -- event by event -----------------------------------------------------------------------------------------------


def first_difference(one: Logs, other: Logs, *, without_detail: bool = False) -> Difference | None:
    """The first event that differs, in the order of the logs; None if the logs have the same events.

    Where an event stands does not count, nor which run, seed and schedule it is of (two seeds may begin alike), nor
    what `run.start` says was set.

    Args:
        one, other: the logs.
        without_detail: leave out events of detail, and who won a race: with detail, more winners are known.
    """
    condition = _WITHOUT_DETAIL if without_detail else "true"
    ignored = {"run.start": _NOT_COMPARED.union(_SETTINGS)}
    if without_detail:
        ignored |= {event.name: _NOT_COMPARED | {"winner", "object"} for event in CATALOGUE if event.race is not None}
    before: list[Line] = []
    for index, (left, right) in enumerate(zip_longest(_events(one, condition), _events(other, condition))):
        if _comparable(left, ignored) != _comparable(right, ignored):
            return Difference(index, before, left, right)
        if left is not None:
            before = [*before, left][-CONTEXT:]
    return None


_NOT_COMPARED: Final = frozenset({"run", "seed", "schedule"})


def _comparable(line: Line | None, ignored: Mapping[str, frozenset[str]]) -> Line | None:
    if line is None:
        return None
    left_out = ignored.get(line["event"], _NOT_COMPARED)
    return {key: value for key, value in line.items() if key not in left_out}


def _events(logs: Logs, condition: str) -> Iterator[Line]:
    for line in logs.lines(condition):
        del line["file"], line["line"]
        yield line


# -- count by count -----------------------------------------------------------------------------------------------


def _seeds(counts: Counts) -> list[tuple[str, int]]:
    return sorted((run, seed) for run, seed, _ in counts)


def _counts(logs: Logs, condition: str) -> dict[tuple[str, int, int], Counter[str]]:
    """How often each event happened, and how many steps there were, for each schedule: (run, seed, schedule)."""
    found: dict[tuple[str, int, int], Counter[str]] = {}
    rows = logs.rows(f"""
        SELECT run, seed, schedule, event, count(*) FROM events WHERE {condition} GROUP BY ALL UNION ALL
        SELECT run, seed, schedule, 'steps', steps FROM schedules ORDER BY ALL""")
    for run, seed, schedule, event, count in rows:
        found.setdefault((run, seed, schedule), Counter())[event] += count
    return found


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
