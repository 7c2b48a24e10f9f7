"""Blocks: a few consecutive seeds, run by one process and kept in a store as one row.

Nothing that a campaign says depends on where its blocks begin. A schedule is a function of its seed, and blocks are
added up in the order of their seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, NamedTuple

from ksmactors.events.catalogue import CATALOGUE
from ksmactors.interleave.strategies.registry import STRATEGIES, dealt, parse, split
from ksmactors.run.header import SEED_LIMIT
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.watch.lock_graph import Edge

SCHEDULES_MAX: Final = 20
"""Schedules in a block."""

SCHEDULES_MIN: Final = 2
"""Schedules in the last blocks of a campaign."""

BLOCKS_LEFT: Final = 8
"""A block has at most this fraction of the schedules that are left, so that all processes end at about the same time
(guided self-scheduling; a function of the seeds alone, so the store is the same for any number of processes)."""

VERDICTS: Final = tuple(Verdict)
"""A verdict is kept as its place here."""

DIGEST: Final = 16
"""Bytes of a schedule's digest."""

SHAPE: Final = 8
"""Bytes of a schedule's shape."""


class Arm(NamedTuple):
    """What a seed is run with: the place of the workload in the campaign, and the strategy as text."""

    workload: int
    strategy: str


_APART_MAX: Final = 100
"""Blocks that become one because a strategy learns from one to the next. Beyond that the lessons are repeated."""


class Block(NamedTuple):
    """What the schedules of consecutive seeds came to.

    Attributes:
        seeds: the seeds.
        verdicts, digests, shapes: of the schedules, in order: one byte, DIGEST and SHAPE bytes of each.
        steps, choices, micros: of the schedules, in order; `micros` are microseconds of this machine.
        events: for each event, by its code, how often it was and in how many schedules.
        marks: how often each mark was passed, by workload and name, with the schedules: place in the block and count.
        metrics: the strategy's counts, summed.
        edges: lock order edges that no earlier schedule of the block has, with the place of the schedule.
        arms: of an adaptive budget: for each schedule the number of what it was run with (`dealing.StoredDeal`).
    """

    seeds: range
    verdicts: bytes
    digests: bytes
    shapes: bytes
    steps: Sequence[int]
    choices: Sequence[int]
    micros: Sequence[int]
    events: Mapping[int, tuple[int, int]]
    marks: Mapping[tuple[str, str], Sequence[tuple[int, int]]]
    metrics: Mapping[str, int]
    edges: Sequence[tuple[int, Edge]]
    arms: Sequence[int] = ()


def packed(outcomes: Sequence[Outcome], micros: Sequence[int], arms: Sequence[int] = ()) -> Block:
    """Return the block of some consecutive schedules, at least one."""
    events: dict[int, tuple[int, int]] = {}
    marks: dict[tuple[str, str], list[tuple[int, int]]] = {}
    metrics: dict[str, int] = {}
    edges: dict[tuple[str, str], tuple[int, Edge]] = {}
    for place, outcome in enumerate(outcomes):
        for code in compress(range(len(CATALOGUE)), outcome.counts):
            count, within = events.get(code, (0, 0))
            events[code] = count + outcome.counts[code], within + 1
        for name, count in outcome.marks.items():
            marks.setdefault((outcome.workload, name), []).append((place, count))
        for name, count in outcome.metrics.items():
            metrics[name] = metrics.get(name, 0) + count
        for edge in outcome.lock_edges:
            edges.setdefault((edge.held, edge.taken), (place, edge))
    first = outcomes[0].seed
    return Block(
        range(first, first + len(outcomes)),
        bytes(VERDICTS.index(outcome.verdict) for outcome in outcomes),
        b"".join(outcome.digest for outcome in outcomes),
        b"".join(outcome.shape for outcome in outcomes),
        [outcome.steps for outcome in outcomes],
        [outcome.choices for outcome in outcomes],
        micros,
        events,
        marks,
        metrics,
        list(edges.values()),
        arms,
    )


def block_ends(strategy: str, workloads: int, stop: int = SEED_LIMIT) -> Callable[[int], int]:
    """Return the function that says for a seed where its block ends: at a multiple of SCHEDULES_MAX, and earlier near
    the end of the campaign, `stop`.

    A strategy that learns from smaller seeds has to run them again at the start of a block, so its blocks end where
    that is not necessary.
    """
    apart = SCHEDULES_MAX
    text = dealt(strategy, workloads)
    deciding = parse(text) if split(text)[0] in STRATEGIES else None

    def starts_afresh(seed: int) -> bool:
        if deciding is None:
            return True
        lessons = [deciding.warmup_seeds(one) for one in range(seed, seed + workloads)]
        return not any(before and before[0] < seed for before in lessons)

    def end(seed: int) -> int:
        early = min(seed + max(SCHEDULES_MIN, (stop - seed) // BLOCKS_LEFT), stop)
        if early - seed < apart and starts_afresh(early):
            return early
        next_one = (seed // apart + 1) * apart
        ends = range(next_one, next_one + _APART_MAX * apart, apart)
        return next((end for end in ends if starts_afresh(end)), ends[-1])

    return end


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a campaign that is done by one process: a block, or what is missing of one.

    Attributes:
        number: its place in the campaign, from 0.
        index: the number of its first schedule in the campaign.
        stored: whether the store has it as a block, from where it is taken.
        kept: whether it goes to the store once it is run. It does not if the store has it as a part of a block that
            goes beyond the seeds asked for.
        arms: what its seeds are run with, if an adaptive budget has dealt them.
    """

    number: int
    index: int
    seeds: range
    stored: bool = False
    kept: bool = True
    arms: tuple[Arm, ...] = ()


def pieces(
    seeds: range, end: Callable[[int], int], stored: Mapping[int, int], *, again: bool = False
) -> Iterator[Piece]:
    """Cut the seeds of a campaign into pieces, in order.

    Args:
        seeds: those asked for.
        end: what `block_ends` returns.
        stored: the blocks of the store, disjoint: the first seed of each, and the seed after its last.
        again: whether stored blocks are run again, and replaced.
    """
    starts = sorted(stored)
    at, seed = 0, seeds.start
    number = 0
    while seed < seeds.stop:
        while at < len(starts) and stored[starts[at]] <= seed:
            at += 1
        within = at < len(starts) and starts[at] <= seed
        border = stored[starts[at]] if within else starts[at] if at < len(starts) else seeds.stop
        whole = within and starts[at] == seed and border <= seeds.stop
        stop = border if whole else min(end(seed), seeds.stop, border)
        yield Piece(number, seed - seeds.start, range(seed, stop), whole and not again, whole or not within)
        number, seed = number + 1, stop


def coalesced(ranges: Sequence[range]) -> list[range]:
    """Return ranges of seeds in order, neighbours as one; one of 2**63 seeds, of which Python has no `len`, as two."""
    joined: list[range] = []
    for one in sorted((one for one in ranges if one), key=lambda one: one.start):
        if joined and joined[-1].stop >= one.start:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, one.stop))
        else:
            joined.append(one)
    return [part for one in joined for part in (one[: sys.maxsize], one[sys.maxsize :]) if part]


def size_of(ranges: Sequence[range]) -> int:
    """Return how many seeds there are in disjoint ranges; `len` of one cannot be above 2**63 - 1."""
    return sum(one.stop - one.start for one in ranges)


def as_text(ranges: Sequence[range]) -> str:
    """Return ranges of seeds as `A:B,C:D`; empty if there is none."""
    return ",".join(f"{one.start}:{one.stop}" for one in ranges)


def micros_of(seconds: float) -> int:
    """Return a time in microseconds."""
    return max(0, round(seconds * 1_000_000))
