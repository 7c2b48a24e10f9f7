"""What a store says, without running or loading anything that it names."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.blocks import as_text, coalesced
from ksmactors.campaign.findings import existing, replay_command
from ksmactors.campaign.lock_cycles import cycles_closed_by
from ksmactors.campaign.merging import add_block, bare_outcome, digest_of, is_given_up, seeds_with_edges
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.summary import Found, Summary

SLOWEST: Final = 5
"""Slow schedules that are shown."""

_MICROS: Final = 1_000_000


@dataclass(slots=True)
class WorkloadRate:
    """What a workload's schedules took."""

    workload: str
    schedules: int = 0
    seconds: float = 0.0
    steps: int = 0
    findings: int = 0

    @property
    def per_second(self) -> float:
        """Schedules in a second of one process."""
        return self.schedules / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Overview:
    """A campaign as its store has it.

    Attributes:
        of: its identity.
        begun, last: the first and the last time at which something was written, in seconds since 1970.
        asked, left: the seeds that were asked for, and those of them that are not done.
        found_after: for each signature, how many seconds after the start it was found first.
        slowest: schedules by their seconds: (seconds, seed, workload, steps).
    """

    of: Mapping[str, Any]
    begun: float
    last: float
    asked: list[range]
    left: list[range]
    tally: Summary = field(default_factory=Summary)
    rates: dict[str, WorkloadRate] = field(default_factory=dict)
    found_after: dict[str, float] = field(default_factory=dict)
    slowest: list[tuple[float, int, str, int]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        subjects = self.of["subjects"]
        first = subjects[0]
        return {
            "workloads": [subject["workload"] for subject in subjects],
            **{key: first.get(key) for key in ("kernel", "without", "with", "nodes", "watch", "max_steps")},
            "strategy": self.of["strategy"],
            "ksmactors": self.of["ksmactors"],
            "asked": sum(map(len, self.asked)),
            "seeds": as_text(self.asked),
            "seeds_left": as_text(self.left),
            "left": sum(map(len, self.left)),
            **self.tally.as_json(),
            "found_after": {signature: round(after, 3) for signature, after in self.found_after.items()},
            "rates": [
                {"workload": rate.workload, "strategy": self.of["strategy"], "schedules": rate.schedules,
                 "cpu_seconds": round(rate.seconds, 3), "per_second": round(rate.per_second, 3), "steps": rate.steps,
                 "findings": rate.findings}
                for rate in self.rates.values()
            ],
            "slowest": [
                {"seed": seed, "workload": workload, "seconds": seconds, "steps": steps}
                for seconds, seed, workload, steps in self.slowest
            ],
            "seconds": round(max(0.0, self.last - self.begun), 3),
        }  # fmt: skip


def overview_of(store: CampaignStore, directory: Path) -> Overview:
    """Read a store as a whole.

    Raises:
        ScheduleFormatError: it is damaged.
    """
    about = store.about()
    with store.guarded():
        of, begun = about["identity"], float(about["begun"])
        names = [str(subject["workload"]) for subject in of["subjects"]]
        strategy = str(of["strategy"])
        if not names:
            raise ValueError("it has no workload")
    asked = coalesced(store.asked())
    done = [range(*block) for block in store.stored().items()]
    view = Overview(of, begun, begun, asked, list(without(asked, coalesced(done))))
    view.rates = {name: WorkloadRate(name) for name in names}
    findings = {seed: (signature, found, at) for seed, signature, found, at in store.findings()}
    slowest: list[tuple[float, int, str, int]] = []
    for block, at in store.blocks():
        before = view.tally.schedules
        add_block(view.tally, block)
        view.last = max(view.last, at)
        for place, seed in enumerate(block.seeds):
            rate = view.rates[names[seed % len(names)]]
            rate.schedules += 1
            rate.seconds += block.micros[place] / _MICROS
            rate.steps += block.steps[place]
            slow = (block.micros[place] / _MICROS, seed, rate.workload, block.steps[place])
            if len(slowest) < SLOWEST or slow > slowest[0]:
                (heapq.heappush if len(slowest) < SLOWEST else heapq.heappushpop)(slowest, slow)
        for seed in sorted(seeds_with_edges(block) | {seed for seed in block.seeds if seed in findings}):
            if seed in findings:
                view.rates[names[seed % len(names)]].findings += 1
                number = before + seed - block.seeds.start + 1
                _note(view, *findings.pop(seed), directory, number, digest_of(block, seed))
            for cycle in cycles_closed_by(bare_outcome(block, seed, names[seed % len(names)], strategy), view.tally):
                view.tally.keep(cycle, at=before + seed - block.seeds.start + 1)
    for signature, found, at in findings.values():  # of schedules that are not done: code raised
        _note(view, signature, found, at, directory, view.tally.schedules + 1, b"")
    view.slowest = sorted(slowest, reverse=True)
    return view


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
        view.found_after[signature] = max(0.0, at - view.begun)


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
