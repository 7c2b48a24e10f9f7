"""What a store says, without running or loading anything that it names."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.blocks import Block, as_text, coalesced, size_of
from ksmactors.campaign.dealing import EQUAL, Interleavings, Share, StoredDeal
from ksmactors.campaign.findings import existing, replay_command
from ksmactors.campaign.lock_cycles import cycles_closed_by
from ksmactors.campaign.merging import add_block, bare_outcome, digest_of, is_given_up, seeds_with_edges, shape_of
from ksmactors.campaign.running_time import RunningTime
from ksmactors.campaign.shards import Shard, incomplete, shards_in
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.summary import Found, Summary

SLOWEST: Final = 5
"""Slow schedules that are shown."""

_MICROS: Final = 1_000_000


@dataclass(slots=True)
class ArmRate:
    """What the schedules of a workload under a strategy took, and what they have shown.

    Attributes:
        once: those whose interleaving no other schedule of the workload has shown.
    """

    workload: str
    strategy: str
    schedules: int = 0
    once: int = 0
    seconds: float = 0.0
    steps: int = 0
    findings: int = 0

    @property
    def per_second(self) -> float:
        """Schedules in a second of one process."""
        return self.schedules / self.seconds if self.seconds else 0.0

    @property
    def unseen(self) -> float:
        """An estimate of the probability that one more of its schedules would show its workload a new interleaving."""
        return self.once / self.schedules if self.schedules else 1.0

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "workload": self.workload, "strategy": self.strategy, "schedules": self.schedules,
            "cpu_seconds": round(self.seconds, 3), "per_second": round(self.per_second, 3), "steps": self.steps,
            "findings": self.findings, "unseen": round(self.unseen, 4),
        }  # fmt: skip


@dataclass(slots=True)
class Overview:
    """A campaign as its store has it.

    Attributes:
        of: its identity.
        begun: when it began, in seconds since 1970.
        seconds: for how long it ran, without the pauses between two commands.
        asked, left: the seeds that were asked for, and those of them that are not done.
        shards: those that it has of campaigns of which others are elsewhere, by campaign.
        found_after: for each signature, after how many of these seconds it was found first.
        rates: by workload and strategy, those that were asked for first.
        slowest: schedules by their seconds: (seconds, seed, workload, steps).
        never_reached: the marks that are expected and that no schedule has passed: workload and name.
        running: turns times of the store into those seconds.
    """

    of: Mapping[str, Any]
    begun: float
    asked: list[range]
    left: list[range]
    shards: list[list[Shard]] = field(default_factory=list)
    tally: Summary = field(default_factory=Summary)
    seconds: float = 0.0
    rates: dict[tuple[str, str], ArmRate] = field(default_factory=dict)
    found_after: dict[str, float] = field(default_factory=dict)
    slowest: list[tuple[float, int, str, int]] = field(default_factory=list)
    never_reached: list[tuple[str, str]] = field(default_factory=list)
    running: RunningTime = field(default_factory=lambda: RunningTime(0.0, (), ()))

    @property
    def budget(self) -> str:
        """How seeds were dealt to workloads and strategies."""
        return str(self.of.get("budget", EQUAL))

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        subjects = self.of["subjects"]
        first = subjects[0]
        return {
            "workloads": [subject["workload"] for subject in subjects],
            **{key: first.get(key) for key in ("kernel", "without", "with", "nodes", "watch", "max_steps")},
            "strategy": self.of["strategy"],
            "budget": self.budget,
            "ksmactors": self.of["ksmactors"],
            "asked": size_of(self.asked),
            "seeds": as_text(self.asked),
            "seeds_left": as_text(self.left),
            "left": size_of(self.left),
            "shards": [
                {"shard": shard.name, "of": as_text([shard.whole]), "seeds": as_text([shard.seeds])}
                for group in self.shards for shard in group
            ],
            **self.tally.as_json(),
            "never_reached": [f"{workload}: {mark}" for workload, mark in self.never_reached],
            "found_after": {signature: round(after, 3) for signature, after in self.found_after.items()},
            "rates": [rate.as_json() for rate in self.rates.values()],
            "slowest": [
                {"seed": seed, "workload": workload, "seconds": seconds, "steps": steps}
                for seconds, seed, workload, steps in self.slowest
            ],
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def overview_of(store: CampaignStore, directory: Path) -> Overview:
    """Read a store as a whole.

    Raises:
        ScheduleFormatError: it is damaged.
    """
    about = store.about()
    with store.guarded():
        of, begun = about["identity"], about["begun"]
        deal = StoredDeal.of(of)
        expected = [(str(workload), str(mark)) for workload, mark in about["made"].get("marks", [])]
    asked = coalesced(store.asked())
    done = [range(*block) for block in store.stored().items()]
    view = Overview(of, begun, asked, list(without(asked, coalesced(done))))
    view.shards = incomplete(shards_in(store))
    view.rates = {(name, strategy): ArmRate(name, strategy) for name in deal.names for strategy in deal.strategies}
    findings = {seed: (signature, found, at) for seed, signature, found, at in store.findings()}
    moments = [at for _, _, at in findings.values()]
    seen = {name: Interleavings([Share()] * len(deal.strategies)) for name in deal.names}
    slowest: list[tuple[float, int, str, int]] = []
    for block, at in store.blocks():
        moments.append(at)
        with store.guarded():
            arms = deal.arms(block)
        _add_rates(view, block, arms, slowest)
        for place, (name, strategy) in enumerate(arms):
            seen[name].note(deal.strategies.index(strategy), shape_of(block, place))
        before = view.tally.schedules
        add_block(view.tally, block)
        for seed in sorted(seeds_with_edges(block) | {seed for seed in block.seeds if seed in findings}):
            place = seed - block.seeds.start
            if seed in findings:
                view.rates[arms[place]].findings += 1
                _note(view, *findings.pop(seed), directory, before + place + 1, digest_of(block, seed))
            for cycle in cycles_closed_by(bare_outcome(block, seed, *arms[place]), view.tally):
                view.tally.keep(cycle, at=before + place + 1)
    for signature, found, at in findings.values():  # of schedules that are not done: code raised
        _note(view, signature, found, at, directory, view.tally.schedules + 1, b"")
    for rate in view.rates.values():
        rate.once = seen[rate.workload].by_strategy[deal.strategies.index(rate.strategy)].once
    view.slowest = sorted(slowest, reverse=True)
    view.running = RunningTime(begun, store.asked_at(), moments)
    view.seconds = max(map(view.running.at, moments), default=0.0)
    view.found_after = {signature: view.running.at(when) for signature, when in view.found_after.items()}
    view.never_reached = view.tally.unreached(expected)
    return view


def _add_rates(
    view: Overview, block: Block, arms: Sequence[tuple[str, str]], slowest: list[tuple[float, int, str, int]]
) -> None:
    """Add what the schedules of a block took; `slowest` is a heap."""
    for place, arm in enumerate(arms):
        rate, seconds = view.rates[arm], block.micros[place] / _MICROS
        rate.schedules += 1
        rate.seconds += seconds
        rate.steps += block.steps[place]
        slow = (seconds, block.seeds[place], rate.workload, block.steps[place])
        if len(slowest) < SLOWEST:
            heapq.heappush(slowest, slow)
        elif slow > slowest[0]:
            heapq.heappushpop(slowest, slow)


def _note(
    view: Overview, signature: str, found: Found | None, at: float, directory: Path, number: int, digest: bytes
) -> None:
    tally = view.tally
    known = tally.given_up if is_given_up(signature) else tally.found.get(signature)
    if known is not None:
        known.count += 1
    elif found is not None:
        outcome = replace(found.outcome, digest=digest)
        file = existing(outcome, directory) if outcome.schedule else None
        replay = replay_command(outcome.schedule, file) if outcome.schedule else ""
        tally.keep(replace(found, outcome=outcome, file=file, replay=replay, count=1), at=number)
        view.found_after[signature] = at


def without(seeds: list[range], done: list[range]) -> Iterator[range]:
    """Yield the parts of ranges that are not in others; both in order, and disjoint."""
    for one in seeds:
        start = one.start
        for other in done:
            if other.stop <= start or other.start >= one.stop:
                continue
            if other.start > start:
                yield range(start, other.start)
            start = max(start, other.stop)
        if start < one.stop:
            yield range(start, one.stop)
