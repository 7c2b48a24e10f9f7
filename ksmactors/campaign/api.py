"""Campaigns from Python: what `ksmactors.stress`, `explore`, `replay` and `shrink` are."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Unpack
from warnings import warn

import anyio

from ksmactors.campaign.dealing import EQUAL, deal_of
from ksmactors.campaign.driving import Drive, NoStore
from ksmactors.campaign.explore import MAX_SCHEDULES, Budget, explored, exploring, make_search
from ksmactors.campaign.findings import prepare
from ksmactors.campaign.placing import store_of
from ksmactors.campaign.state_file import perform
from ksmactors.campaign.stress import Campaign, Plan, parse_seeds
from ksmactors.campaign.summary import Summary
from ksmactors.campaign.worker_pool import workers_of
from ksmactors.campaign.worker_processes import WorkerProcesses
from ksmactors.diagnose import shrink as shrinking
from ksmactors.diagnose.replaying import Recorded, by_names, recorded
from ksmactors.errors import UsageError
from ksmactors.escaping import escaped
from ksmactors.events.logs import Log
from ksmactors.program import Program
from ksmactors.run.options import GivenOptions, SubjectOptions
from ksmactors.run.outcome import Outcome
from ksmactors.run.subject import load_subject


def stress(
    workload: str | type[Program],
    *,
    seeds: int | str = 100,
    strategy: str = "portfolio",
    out: Path | None = None,
    log: Log | None = None,
    detail: bool = False,
    jobs: int = 1,
    resume: bool = False,
    budget: str = EQUAL,
    **options: Unpack[GivenOptions],
) -> Summary:
    """Run many schedules of a workload and return what they add up to.

    Args:
        workload: its class, a registered name, `path/to/file.py:Class`, or `package.module:Class`.
        seeds: how many, from 0; or "A:B", from A to B-1.
        strategy: who decides who moves, as `--strategy` takes it.
        out: directory for finding files and the campaign's store; None writes none.
        log: where every event goes: what `ksmactors.events.logs.open_log` returns, or an `EventList`. With a log, this
            process runs all schedules.
        detail: whether the log gets events of detail too, as with `--detail`.
        jobs: processes that run schedules; no result depends on it. With more than 1, they import the main module, as
            those of `multiprocessing` do: guard it with `if __name__ == "__main__":`.
        resume: go on with the campaign whose store is in `out`.
        budget: "adaptive" gives more seeds to the strategies that still show new interleavings.
        options: params, kernel, nodes, without, with_, watch, max_steps and inject, as in `SubjectOptions`.

    Returns:
        The sums: `.verdict`, `.found` (by signature), `.races`, `.digest`, `.schedules` and more. If the workload, a
        variant or a watcher raised, the campaign ended there: `.crash` is that schedule, else None; and `.given_up` is
        the first that ran out of steps. Both leave `.found` alone, so look at `.verdict`.

    Raises:
        UsageError: something that was asked for does not exist.
        KeyboardInterrupt: as usual; `resume` goes on with what was done until then, if `out` was given.
    """
    if resume and out is None:
        raise UsageError("resume: say with `out` where the store of the campaign is")
    subject = load_subject(workload, SubjectOptions.of(**options))
    place = prepare(out) if out is not None else None
    asked, jobs = parse_seeds(str(seeds)), jobs if log is None else 1
    plan = Plan([subject], asked, strategy, place, log, detail=detail, deal=deal_of(budget, 1, strategy, asked))
    with ExitStack() as stack:
        processes = stack.enter_context(closing(WorkerProcesses())) if jobs > 1 else None  # before the store is opened
        store = None
        if place is not None:
            store = stack.enter_context(store_of(place, [subject], strategy, resume=resume, budget=budget))
        workers = workers_of(plan, jobs, processes=processes)
        if workers is not None:
            stack.callback(workers.close)
        campaign = Drive(plan, store or NoStore(), resume, workers)
        if store is not None:
            store.ask(plan.seeds)
        anyio.run(campaign.run, backend="trio")
    if store is not None and store.problem:
        warn(escaped(store.problem), stacklevel=2)
    if campaign.interrupted:
        raise KeyboardInterrupt
    return campaign.tally


def explore(
    workload: str | type[Program],
    *,
    algorithm: str | None = None,
    preemptions: int | None = None,
    max_schedules: int = MAX_SCHEDULES,
    seconds: float | None = None,
    stop_at_first: bool = False,
    out: Path | None = None,
    resume: bool = False,
    **options: Unpack[GivenOptions],
) -> Summary:
    """Go through all schedules of a workload that can differ, and return what they add up to.

    Args:
        workload: as for `stress`.
        algorithm: "dpor" (the default), or "bounded" (the default with a bound).
        preemptions: a bound on these, from 0; None: none.
        max_schedules, seconds: the budget; an exploration that it ends is inconclusive, or bounded by what it got to.
        stop_at_first: whether to stop at the first finding.
        out: directory for finding files, and for the state of an exploration that the budget ends.
        resume: go on with the exploration whose state is in `out`.
        options: params, kernel, nodes, without, with_, watch, max_steps and inject, as in `SubjectOptions`.

    Returns:
        The sums: `.verdict`, `.judgement` (with what belongs to it), `.found` (by signature), `.schedules` and more.

    Raises:
        UsageError: something that was asked for does not exist.
        NotDeterministic: the workload did something else although all choices were the same.
        KeyboardInterrupt: as usual, after the state has been written.
    """
    subject = load_subject(workload, explored(SubjectOptions.of(**options)))
    if resume and out is None:
        raise UsageError("resume: say with `out` where the exploration that was interrupted has left its state")
    exploration = exploring(
        subject,
        make_search(algorithm, preemptions),
        Budget(max_schedules, seconds, stop_at_first),
        prepare(out) if out is not None else None,
    )
    perform(exploration, resume=resume)
    if exploration.interrupted_at is not None:
        raise KeyboardInterrupt
    return exploration.tally


def replay(
    source: str | Path,
    *,
    follow_names: bool = False,
    trust: bool = False,
    log: Log | None = None,
    detail: bool = False,
) -> Outcome:
    """Run a recorded schedule again, exactly.

    Args:
        source: a finding file, a file that holds a schedule string, or such a string.
        follow_names: follow its departures from the default order by name instead, as far as they can be found: for a
            recording whose steps do not fit any more.
        trust: whether code that it names by path or module may be loaded. What is registered as a plug-in always is;
            a class that `stress` was given is named by its module. Without it, a file never runs code.

        log, detail: as for `stress`; a replay by names is not logged.

    Returns:
        What came of it: `.verdict`, `.defect`, `.digest` and more; the verdict is DIVERGED if it went another way.

    Raises:
        UsageError: it cannot be read, was damaged, or names what does not exist here.
    """
    then = _recorded(source, trust)
    if follow_names:
        return anyio.run(by_names, then, backend="trio")
    seeds = range(then.seed, then.seed + 1)
    plan = Plan([then.subject], seeds, then.strategy, replayed=then.schedule, log=log, detail=detail)
    campaign = Campaign(plan)
    anyio.run(campaign.run, backend="trio")
    if campaign.last is None:
        raise KeyboardInterrupt
    return campaign.last


def shrink(
    source: str | Path,
    *,
    max_schedules: int = shrinking.MAX_SCHEDULES,
    max_seconds: float | None = None,
    trust: bool = False,
) -> shrinking.Shrunk:
    """Cut a finding down to the fewest departures from the default order.

    Args:
        source: as for `replay`.
        max_schedules: the most schedules that are tried.
        max_seconds: after so many seconds it ends with the smallest so far; without it, the result is the same on
            every machine.
        trust: as for `replay`.

    Returns:
        What is left: `.outcome` with the schedule string, `.departures`, `.story` and more.

    Raises:
        UsageError: as for `replay`; or the recording finds nothing.
        NotShownAgain: the signature on record is not found again.
    """
    then = _recorded(source, trust)
    task = partial(shrinking.shrink, then, max_schedules=max_schedules, max_seconds=max_seconds)
    return anyio.run(task, backend="trio")


def _recorded(source: str | Path, trust: bool) -> Recorded:
    """Read a recording; what is said about its files becomes warnings."""
    return recorded(str(source), trust=trust, tell=lambda line: warn(escaped(line), stacklevel=5))
