"""Stored blocks added to the sums of a campaign, as if their schedules had just been run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ksmactors.campaign.blocks import DIGEST, SHAPE, VERDICTS, Block
from ksmactors.campaign.stress import Campaign
from ksmactors.campaign.summary import Found, Summary
from ksmactors.run.outcome import Outcome, Verdict

_INCONCLUSIVE: Final = VERDICTS.index(Verdict.INCONCLUSIVE)


def add_block(tally: Summary, block: Block) -> None:
    """Add the sums of a block that follows; findings and lock cycles are left to the caller."""
    count = len(block.seeds)
    shapes = [shape_of(block, place) for place in range(count)]
    tally.add_sums(
        schedules=count, steps=sum(block.steps), choices=sum(block.choices),
        inconclusive=block.verdicts.count(_INCONCLUSIVE), shapes=shapes, digests=block.digests,
    )  # fmt: skip
    for code, (times, within) in block.events.items():
        tally.counts[code] += times
        tally.schedules_with[code] += within
    for key, passed in block.marks.items():
        tally.marks[key] = tally.marks.get(key, 0) + sum(times for _, times in passed)
    for name, times in block.metrics.items():
        tally.metrics[name] = tally.metrics.get(name, 0) + times


def take_block(campaign: Campaign, block: Block, findings: Mapping[int, tuple[str, Found | None]]) -> None:
    """Add a stored block to a campaign: sums, findings and lock cycles.

    Args:
        campaign: the one that asks for its seeds; they follow those that it has.
        block: the block.
        findings: for each seed that found something, its signature, and what was found if this was the first time.

    Raises:
        ValueError: something was found for the first time, and what is not there; `needed` says so before.
    """
    tally = campaign.tally
    before = tally.schedules
    add_block(tally, block)
    plan = campaign.plan
    edges = seeds_with_edges(block)
    for seed in sorted({*findings, *edges}):
        number = before + seed - block.seeds.start + 1
        if seed in findings:
            _take_finding(campaign, *findings[seed], number, digest_of(block, seed))
        if seed in edges:
            outcome = bare_outcome(block, seed, plan.subject_of(seed).name, plan.strategy_of(seed))
            campaign.close_cycles(outcome, at=number)
    campaign.on_schedule(tally)


def needed(campaign: Campaign, findings: Mapping[int, tuple[str, Found | None]]) -> bool:
    """Whether a block has to be run again, because it found something first that the store does not describe."""
    known = set(campaign.tally.found)
    given_up = campaign.tally.given_up is not None
    for _, (signature, found) in sorted(findings.items()):
        first = not given_up if is_given_up(signature) else signature not in known
        if first and found is None:
            return True
        given_up = given_up or is_given_up(signature)
        known.add(signature)
    return False


def is_given_up(signature: str) -> bool:
    """Whether a signature is that of a schedule that ran out of steps."""
    return signature.startswith(f"run/{Verdict.INCONCLUSIVE.value}@")


def _take_finding(campaign: Campaign, signature: str, found: Found | None, number: int, digest: bytes) -> None:
    tally = campaign.tally
    known = tally.given_up if is_given_up(signature) else tally.found.get(signature)
    if known is not None:
        known.count += 1
        return
    if found is None:
        raise ValueError(f"what {signature} is about is not there")
    outcome = replace(found.outcome, digest=digest, sources=campaign.plan.subject_of(found.outcome.seed).sources)
    campaign.keep(campaign.found(outcome, again=True), at=number)


def digest_of(block: Block, seed: int) -> bytes:
    """Return the digest of a schedule of a block."""
    place = (seed - block.seeds.start) * DIGEST
    return block.digests[place : place + DIGEST]


def shape_of(block: Block, place: int) -> bytes:
    """Return the shape of a schedule of a block, by its place there."""
    return block.shapes[place * SHAPE : (place + 1) * SHAPE]


def bare_outcome(block: Block, seed: int, workload: str, strategy: str) -> Outcome:
    """Return as much of a stored schedule's outcome as a lock cycle needs: with the edges that it was the first to
    have."""
    place = seed - block.seeds.start
    return Outcome(
        workload, seed, strategy, Verdict.OK, block.steps[place], block.choices[place], (), digest_of(block, seed), b"",
        lock_edges=tuple(edge for at, edge in block.edges if at == place),
    )  # fmt: skip


def seeds_with_edges(block: Block) -> set[int]:
    """Return the seeds of a block whose schedules have lock order edges that no earlier one of it has."""
    return {block.seeds[place] for place, _ in block.edges}
