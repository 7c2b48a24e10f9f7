"""`ksmactors stress`: many schedules with randomized interleavings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from ksmactors import plugins
from ksmactors.aside import stderr, stdout
from ksmactors.campaign.blocks import size_of
from ksmactors.campaign.cores import JOBS_MAX, available_cores
from ksmactors.campaign.dealing import BUDGETS, EQUAL, AdaptiveDeal, deal_of
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.findings import default_directory, prepare
from ksmactors.campaign.placing import refuse_without_store, store_of
from ksmactors.campaign.shards import Shard, keep_shard, parse_shard, shard_of, whole_again
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.store_files import FILE as STORE
from ksmactors.campaign.stress import Plan, parse_seeds
from ksmactors.cli.ci_output import CiOutput, checks_of, ci_options
from ksmactors.cli.options import (
    Duration,
    WholeNumber,
    campaign_out_option,
    log_options,
    output_options,
    strategy_option,
)
from ksmactors.cli.outputs import files_of, refuse_overwriting, written_by
from ksmactors.cli.progress import Watched, progress
from ksmactors.cli.report import (
    json_object,
    print_defects,
    print_never_reached,
    print_table,
    report_crash,
    warn_of_removed,
    warn_of_rivals,
)
from ksmactors.cli.screen import echo, echo_json, notice, warn
from ksmactors.cli.single import refuse_two_on_stdout
from ksmactors.cli.subject_options import subject_options
from ksmactors.errors import INTERRUPTED, UsageError
from ksmactors.escaping import escaped
from ksmactors.events.logs import open_log
from ksmactors.plugins import log_processors
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.options import SubjectOptions
from ksmactors.run.subject import Subject, deal_params, load_subject
from ksmactors.run.trust import files_of_strategy
from ksmactors.workload import Workload

if TYPE_CHECKING:
    from ksmactors.campaign.dask_client import DaskCluster

DEFAULT_SEEDS: Final = "550"
"""Fifty schedules for each built-in workload: about half a minute on a current core, all watchers watching."""


@click.command()
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--seeds", default=DEFAULT_SEEDS, show_default=True, metavar="N|A:B", help="Seeds 0..N-1, or A..B-1.")
@click.option(
    "--shard", "part", metavar="I/N",
    help="Only part I of N of the seeds, from 1/N to N/N; `campaign merge` puts the stores of all together.",
)  # fmt: skip
@click.option("--stop-at-first", is_flag=True, help="End the campaign at the first finding.")
@click.option(
    "--jobs",
    type=WholeNumber(1, JOBS_MAX),
    metavar="N",
    help="Processes that run schedules; none of the results depends on it [default: the cores there are].",
)
@click.option(
    "--dask", metavar="ADDRESS|local",
    help="Run the schedules on a Dask cluster: the address of its scheduler, or local for one with --jobs processes. "
    "Its machines are trusted.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=Duration(0, min_open=True),
    metavar="S",
    help="Start no schedule after S seconds; 30m and 8h are fine, too.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the campaign in --out where it stopped: give the same command. Its seeds need not be given.",
)
@click.option(
    "--budget",
    type=click.Choice(BUDGETS),
    default=EQUAL,
    show_default=True,
    help="equal: the workloads get the same number of seeds. adaptive: those workloads, and those strategies of the "
    "portfolio, get more that still show new interleavings.",
)
@strategy_option("portfolio")
@subject_options
@log_options
@campaign_out_option
@ci_options(sarif=True)
@output_options
def stress(
    workloads: tuple[str, ...],
    seeds: str,
    part: str | None,
    stop_at_first: bool,
    jobs: int | None,
    dask: str | None,
    seconds: float | None,
    resume: bool,
    budget: str,
    strategy: str,
    options: SubjectOptions,
    log: str | None,
    log_config: str | None,
    detail: bool,
    out: Path | None,
    ci: CiOutput,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Run many schedules of each WORKLOAD, by default of all built-in ones.

    The seeds are dealt to the workloads in turn. WORKLOAD is a registered name, path/to/file.py:Class, or
    package.module:Class.
    """
    refuse_two_on_stdout(as_json, log)
    names = list(dict.fromkeys(workloads)) or _built_in()
    subjects = [
        load_subject(name, replace(options, params=given))
        for name, given in zip(names, deal_params(names, options.params), strict=True)
    ]
    if log is None and (detail or log_config is not None):
        raise UsageError(f"{'--detail' if detail else '--log-config'} is about the log: give --log FILE too")
    refuse_overwriting(
        [("--log", log), *ci.files, ("--out", None if out is None else out / STORE), *written_by(strategy)],
        files_of(subjects, strategy, log_config=log_config),
    )
    if resume and log is not None and log != "-" and _has_content(log):
        why = "exists, and --resume logs only the schedules that it runs itself"
        raise UsageError(f"log {log}: {why}; give another file, and both to `ksmactors analyze`")
    processors = log_processors(log_config)
    asked = None if resume and _is_default("seeds") else parse_seeds(seeds)
    wanted = None if part is None else parse_shard(part)
    if wanted is not None and budget != EQUAL:
        raise UsageError(f"--shard with --budget {budget}: that budget learns from all seeds; leave one of the two out")
    if dask is None and asked is not None and len(asked) == 1:
        jobs = jobs or 1  # another process costs more than it gains
    cores = jobs or available_cores()
    with ExitStack() as stack:
        processes = None
        if dask is None and cores > 1:  # before any file is opened
            from ksmactors.campaign.worker_processes import WorkerProcesses

            processes = stack.enter_context(closing(WorkerProcesses()))
        writer = stack.enter_context(open_log(log, processors)) if log else None
        if resume and out is not None:
            refuse_without_store(out)  # before the directory is made
        directory = prepare(out or default_directory())
        store = stack.enter_context(store_of(out, subjects, strategy, resume=resume, budget=budget, tell=notice))
        asked = asked or _asked_before(store, wanted)
        shard = None if wanted is None else shard_of(wanted, asked, strategy, len(subjects))
        if shard is not None:
            keep_shard(store, shard, resume=resume)
            asked = shard.seeds
        deal = deal_of(budget, len(subjects), strategy, asked)
        plan = Plan(subjects, asked, strategy, directory, writer, detail=detail, deal=deal)
        store.ask(plan.seeds)
        deadline = None if seconds is None else monotonic() + seconds
        cluster = None if dask is None else stack.enter_context(cluster_for(plan, dask, jobs))
        workers = None
        if cluster is not None or cores > 1:
            from ksmactors.campaign.worker_pool import workers_of

            workers = workers_of(
                plan, cores, stop_at_first=stop_at_first, deadline=deadline, log=log, log_config=log_config,
                executor=cluster, processes=processes,
            )  # fmt: skip
        if workers is not None:
            stack.callback(workers.close)
            if cluster is not None:
                for line in cluster.check(workers.shared):
                    notice(line)
        campaign = Drive(plan, store, resume, workers, stop_at_first, deadline)
        if not quiet:
            warn_of_removed(subjects[0])
            warn_of_rivals(subjects, strategy)
            _announce(plan, store, shard)
        started = perf_counter()
        watched = Watched(campaign.campaign, size_of([plan.seeds]), deadline=deadline)
        with progress(campaign.campaign, watched, as_json=as_json, quiet=quiet, color=color, log=log):
            run_async(campaign.run)
        spent = perf_counter() - started
    if as_json:
        more: dict[str, Any] = {"seeds_left": campaign.seeds_left, "budget": budget}
        if deal is not None:
            more["shares"] = deal.as_json([subject.name for subject in subjects])
        if shard is not None:
            more["shard"] = shard.name
        echo_json(json_object(subjects, strategy, campaign.tally, spent, **more))
    else:
        stream = stderr() if log == "-" else stdout()
        if quiet:
            print_defects(campaign.tally, stream=stream, color=color)
        else:
            print_table(campaign.tally, spent, stream=stream, color=color)
            print_never_reached(campaign.tally, subjects, stream=stream)
            if deal is not None:
                _print_shares(deal, subjects, stream)
    if store.problem:
        notice(store.problem)
    status = _close(campaign, out, quiet=quiet)
    unfinished = "interrupted" if campaign.interrupted else ""
    status = ci.finish(checks_of("stress", campaign.tally, subjects, unfinished), spent, status)
    return writer.status(status) if writer is not None else status


def _built_in() -> list[str]:
    """The workloads of the emulated machine that come with ksmactors, in order of name."""
    found, problems = plugins.available("workloads", dotted=False)
    for problem in problems:
        warn(problem)
    return [p.name for p in found if p.origin.startswith("ksmactors ") and issubclass(p.value, Workload)]


def _has_content(log: str) -> bool:
    """Whether a log is a file with something in it."""
    try:
        path = Path(log)
        return path.is_file() and path.stat().st_size > 0
    except (OSError, ValueError):  # as the one that opens it will say
        return False


@contextmanager
def cluster_for(plan: Plan, address: str, jobs: int | None) -> Iterator[DaskCluster]:
    """Connect with the Dask cluster that is to run a campaign.

    Raises:
        UsageError: there is none at that address, or it cannot run this.
    """
    from ksmactors.campaign.dask_client import LOCAL, cluster_at

    if jobs is not None and address != LOCAL:
        raise UsageError(f"--jobs is about this machine; how many processes {address} has is up to its workers")
    for name, file in files_of_strategy(plan.strategy):
        raise UsageError(
            f"--dask: the strategy {name} writes to {file}, so it must run in one process; leave --dask out"
        )
    with cluster_at(address, jobs or available_cores()) as cluster:
        yield cluster


def _is_default(option: str) -> bool:
    """Whether an option was not given."""
    return click.get_current_context().get_parameter_source(option) is click.core.ParameterSource.DEFAULT


def _asked_before(store: CampaignStore, wanted: tuple[int, int] | None) -> range:
    """The seeds of the campaign that is resumed: those of the shard, or those that it was last asked for."""
    if wanted is not None:
        return whole_again(store, wanted)
    asked = store.asked()
    return asked[-1] if asked and asked[-1] else parse_seeds(DEFAULT_SEEDS)


def _announce(plan: Plan, store: CampaignStore, shard: Shard | None) -> None:
    """Print the settings of the campaign, so that a log alone is enough to repeat it."""
    of = "" if shard is None else f" ({shard})"
    names = " ".join(plugins.from_here(subject.name) for subject in plan.subjects)
    line = (
        f"stress {names}: seeds {plan.seeds.start}:{plan.seeds.stop}{of}, strategy {plan.strategy}, "
        f"kernel {plan.subjects[0].kernel}; findings go to {plan.out}, the campaign to {store.path}"
    )
    echo(escaped(line), err=True)


def _print_shares(deal: AdaptiveDeal, subjects: Sequence[Subject], stream: TextIO) -> None:
    """What an adaptive budget has given to each workload, and by which strategies."""
    for workload, subject in enumerate(subjects):
        of = {arm.strategy: share for arm, share in deal.shares() if arm.workload == workload and share.schedules}
        total = sum(share.schedules for share in of.values())
        by = ", ".join(f"{name} {share.schedules:,}" for name, share in of.items())
        unseen = sum(share.once for share in of.values()) / total if total else 1.0
        name = plugins.from_here(subject.name)
        echo(f"dealt to {name}: {quantity(total, 'schedule')}, unseen {unseen:.1%} ({by})", file=stream)


def _close(campaign: Drive, out: Path | None, *, quiet: bool) -> int:
    """What must be said last, and the exit status."""
    if campaign.tally.crash is not None:
        report_crash(campaign.tally.crash)
    if campaign.seeds_left and not quiet:
        notice(_left(campaign, out))
    return INTERRUPTED if campaign.interrupted else campaign.tally.exit_status


def _left(campaign: Drive, out: Path | None) -> str:
    """Why it ended before its last seed, and the options that do what was left undone."""
    seeds = campaign.seeds_left
    adaptive = isinstance(campaign.plan.deal, AdaptiveDeal)  # what it has learned is in the store alone
    resume = f"--resume --out {quote(str(out))}" if out is not None else "--resume"
    if campaign.campaign.ended:
        return f"stopped at the first finding; go on with {resume if adaptive else f'--seeds {seeds}'}"
    why = "interrupted" if campaign.interrupted else "the time is over"
    if adaptive:
        return f"{why}; go on with {resume}"
    return f"{why}; go on with {resume if ',' in seeds else f'--seeds {seeds}, or {resume}'}"
