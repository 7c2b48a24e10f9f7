"""Campaigns from Python: what `ksmactors.stress` and `ksmactors.replay` are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import anyio

from ksmactors.campaign.findings import prepare
from ksmactors.campaign.outcome import Outcome
from ksmactors.campaign.replaying import recorded
from ksmactors.campaign.stress import Campaign, Plan, parse_seeds
from ksmactors.campaign.subject import DEFAULT_KERNEL, DEFAULT_NODES, make_subject
from ksmactors.campaign.tally import Tally
from ksmactors.workload import Workload


def stress(
    workload: str | type[Workload],
    *,
    seeds: int | str = 100,
    params: Mapping[str, object] | None = None,
    strategy: str = "portfolio",
    kernel: str = DEFAULT_KERNEL,
    nodes: int = DEFAULT_NODES,
    without: Iterable[str] = (),
    with_: Iterable[str] = (),
    watch: str | Sequence[str] = "all",
    max_steps: int | None = None,
    inject: str = "",
    out: Path | None = None,
) -> Tally:
    """Run many schedules of a workload and return what they add up to.

    Args:
        workload: its class, a registered name, `path/to/file.py:Class`, or `package.module:Class`.
        seeds: how many, from 0; or "A:B", from A to B-1.
        params: the workload's parameters by name.
        strategy, kernel, nodes, without, with_, watch, max_steps, inject: as on the command line.
        out: directory for finding files; None writes none.

    Returns:
        The sums: `.verdict`, `.found` (by signature), `.races`, `.digest`, `.schedules` and more.

    Raises:
        UsageError: something that was asked for does not exist.
        KeyboardInterrupt: as usual; use a Campaign to keep what was found until then.
    """
    subject = make_subject(
        workload,
        params=params,
        kernel=kernel,
        nodes=nodes,
        without=without,
        with_=with_,
        watch=watch,
        max_steps=max_steps,
        inject=inject,
    )
    plan = Plan([subject], parse_seeds(str(seeds)), strategy, prepare(out) if out is not None else None)
    campaign = Campaign(plan)
    anyio.run(campaign.run, backend="trio")
    if campaign.interrupted_at is not None:
        raise KeyboardInterrupt
    return campaign.tally


def replay(source: str | Path) -> Outcome:
    """Run a recorded schedule again, exactly.

    Args:
        source: a finding file, a file that holds a schedule string, or such a string.

    Returns:
        What came of it: `.verdict`, `.defect`, `.digest` and more; the verdict is DIVERGED if it went another way.

    Raises:
        UsageError: it cannot be read, was damaged, or names what does not exist here.
    """
    then = recorded(str(source))
    plan = Plan([then.subject], range(then.seed, then.seed + 1), then.strategy, replayed=then.schedule)
    campaign = Campaign(plan)
    anyio.run(campaign.run, backend="trio")
    if campaign.last is None:
        raise KeyboardInterrupt
    return campaign.last
