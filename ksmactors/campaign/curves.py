"""Curves of a campaign, from its store: what was done and found over time, and what more schedules still bring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ksmactors.campaign.dealing import StoredDeal
from ksmactors.campaign.merging import shape_of
from ksmactors.campaign.overview import Overview
from ksmactors.campaign.store import CampaignStore

POINTS_MAX: Final = 400
"""Points of a curve: about as many as a chart has pixels for."""

BUCKETS: Final = 60
"""Parts of a campaign over which rates and shares are taken."""

BLOCKS_A_BUCKET: Final = 5
"""Blocks in a part, on average, without which its rate says little."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves. Times are seconds for which the campaign ran; all lists are in order of their first value.

    Attributes:
        done: schedules over time, by workload.
        rate: schedules a second over time.
        found: different findings over time.
        distinct: different interleavings over the number of schedules, in order of seeds.
        unseen: the estimate of the unseen over the number of schedules.
        shares: for each part of the campaign, in order of seeds: its last schedule, and schedules by workload.
    """

    done: Mapping[str, Sequence[Point]]
    rate: Sequence[Point]
    found: Sequence[Point]
    distinct: Sequence[Point]
    unseen: Sequence[Point]
    shares: Sequence[tuple[int, Mapping[str, int]]]

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "done": {name: list(points) for name, points in self.done.items()},
            "shares": [[last, dict(counts)] for last, counts in self.shares],
            **{name: list(getattr(self, name)) for name in ("rate", "found", "distinct", "unseen")},
        }


@dataclass(slots=True)
class _Unseen:
    """Interleavings so far, and how many of them one schedule had."""

    shapes: dict[bytes, bool] = field(default_factory=dict)
    once: int = 0

    def add(self, shape: bytes) -> None:
        alone = self.shapes.get(shape)
        self.shapes[shape] = alone is None
        self.once += 1 if alone is None else -alone


def curves_of(store: CampaignStore, view: Overview) -> Curves:
    """Read the curves of a store; `view` is what `overview_of` says of it.

    Raises:
        ScheduleFormatError: it is damaged.
    """
    with store.guarded():
        deal = StoredDeal.of(view.of)
    total, parts = view.tally.schedules, _parts(sum(1 for _ in store.stored()))
    blocks: list[tuple[float, Counter[str]]] = []
    distinct, unseen, shares = list[Point](), list[Point](), list[tuple[int, Counter[str]]]()
    seen, done = _Unseen(), 0
    for block, at in store.blocks():
        with store.guarded():
            counts = Counter(name for name, _ in deal.arms(block))
        for place in range(len(block.seeds)):
            seen.add(shape_of(block, place))
        if done * parts >= total * len(shares):
            shares.append((done, Counter()))
        done += len(block.seeds)
        shares[-1] = done, shares[-1][1] + counts
        blocks.append((view.running.at(at), counts))
        distinct.append((done, len(seen.shapes)))
        unseen.append((done, round(seen.once / done, 4)))
    blocks.sort(key=lambda block: block[0])
    when = sorted(after for signature, after in view.found_after.items() if signature in view.tally.found)
    found = [(round(after, 3), number) for number, after in enumerate(when, 1)]
    return Curves(
        _over_time(blocks, deal.names),
        _rates(blocks, view.seconds),
        found,
        _thinned(distinct),
        _thinned(unseen),
        shares,
    )


def _over_time(blocks: Sequence[tuple[float, Counter[str]]], names: Sequence[str]) -> dict[str, list[Point]]:
    """Schedules over time by workload."""
    sums, curves = Counter[str](), {name: [(0.0, 0.0)] for name in names}
    step = -(-len(blocks) // POINTS_MAX)
    for number, (at, counts) in enumerate(blocks, 1):
        sums += counts
        if number % step == 0 or number == len(blocks):
            for name in names:
                curves[name].append((round(at, 3), sums[name]))
    return curves


def _parts(blocks: int) -> int:
    return max(1, min(BUCKETS, blocks // BLOCKS_A_BUCKET))


def _rates(blocks: Sequence[tuple[float, Counter[str]]], seconds: float) -> list[Point]:
    """Schedules a second over time: those of each of at most BUCKETS parts, some blocks in each."""
    if seconds <= 0:
        return []
    parts = _parts(len(blocks))
    width, counts = seconds / parts, [0] * parts
    for at, done in blocks:
        counts[min(parts - 1, int(at / width))] += done.total()
    return [(round((place + 1) * width, 3), round(count / width, 3)) for place, count in enumerate(counts)]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most about POINTS_MAX of the points, the last one among them."""
    step = max(1, len(points) // POINTS_MAX)
    return [*points[:-1][::step], *points[-1:]]
