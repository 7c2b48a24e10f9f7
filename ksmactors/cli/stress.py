"""`ksmactors stress`: many schedules with randomized interleavings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from time import monotonic, perf_counter
from typing import Final

import click

from ksmactors import interruption, plugins
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.findings import default_directory, prepare
from ksmactors.campaign.placing import store_of
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.stress import Plan, parse_seeds
from ksmactors.campaign.summary import Found, Summary
from ksmactors.campaign.worker_pool import JOBS_MAX, available_cores, workers_of
from ksmactors.cli.ci_output import CiOutput, checks_of, ci_options
from ksmactors.cli.options import (
    Duration,
    log_options,
    out_option,
    output_options,
    strategy_option,
    subject_options,
)
from ksmactors.cli.report import (
    json_object,
    print_defects,
    print_never_reached,
    print_table,
    report_crash,
    warn_of_removed,
)
from ksmactors.cli.screen import console, echo, echo_json, notice, warn
from ksmactors.cli.single import refuse_two_on_stdout
from ksmactors.errors import INTERRUPTED, UsageError
from ksmactors.events.logs import open_log
from ksmactors.plugins import log_processors
from ksmactors.run.options import SubjectOptions
from ksmactors.run.subject import deal_params, load_subject
from ksmactors.workload import Workload

DEFAULT_SEEDS: Final = "550"
"""Fifty schedules for each built-in workload: about half a minute on a current core, all watchers watching."""


@click.command()
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--seeds", default=DEFAULT_SEEDS, show_default=True, metavar="N|A:B", help="Seeds 0..N-1, or A..B-1.")
@click.option("--stop-at-first", is_flag=True, help="End the campaign at the first finding.")
@click.option(
    "--jobs",
    type=click.IntRange(1, JOBS_MAX),
    metavar="N",
    help="Processes that run schedules; none of the results depends on it [default: the cores there are].",
)
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
@strategy_option("portfolio")
@subject_options
@log_options
@out_option
@ci_options(sarif=True)
@output_options
def stress(
    workloads: tuple[str, ...],
    seeds: str,
    stop_at_first: bool,
    jobs: int | None,
    seconds: float | None,
    resume: bool,
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
    processors = log_processors(log_config)
    asked = None if resume and _is_default("seeds") else parse_seeds(seeds)
    with ExitStack() as stack:
        writer = stack.enter_context(open_log(log, processors)) if log else None
        directory = prepare(out or default_directory())
        store = stack.enter_context(store_of(out, subjects, strategy, resume=resume, tell=notice))
        plan = Plan(subjects, asked or _asked_before(store), strategy, directory, writer, detail=detail)
        store.ask(plan.seeds)
        deadline = None if seconds is None else monotonic() + seconds
        workers = workers_of(
            plan, jobs or available_cores(), stop_at_first=stop_at_first, deadline=deadline, log=log,
            log_config=log_config,
        )  # fmt: skip
        if workers is not None:
            stack.callback(workers.close)
        campaign = Drive(plan, store, resume, workers, stop_at_first, deadline)
        if not quiet:
            warn_of_removed(subjects[0])
            _announce(plan, store)
        started = perf_counter()
        with _progress(campaign, quiet=quiet, color=color):
            interruption.run(campaign.run)
        spent = perf_counter() - started
    if as_json:
        echo_json(json_object(subjects, strategy, campaign.tally, spent, seeds_left=campaign.seeds_left))
    else:
        stream = sys.stderr if log == "-" else sys.stdout
        if quiet:
            print_defects(campaign.tally, stream=stream, color=color)
        else:
            print_table(campaign.tally, spent, stream=stream, color=color)
            print_never_reached(campaign.tally, subjects, stream=stream)
    if store.problem:
        notice(store.problem)
    status = _close(campaign, out, quiet=quiet)
    unfinished = "interrupted" if campaign.interrupted else ""
    status = ci.finish(checks_of("stress", campaign.tally, subjects, unfinished), spent, status)
    return writer.status(status) if writer is not None else status


def _built_in() -> list[str]:
    """The workloads of the emulated machine that come with ksmactors, in order of name."""
    found, problems = plugins.available("workloads")
    for problem in problems:
        warn(problem)
    return [p.name for p in found if p.origin.startswith("ksmactors ") and issubclass(p.value, Workload)]


def _is_default(option: str) -> bool:
    """Whether an option was not given."""
    return click.get_current_context().get_parameter_source(option) is click.core.ParameterSource.DEFAULT


def _asked_before(store: CampaignStore) -> range:
    """The seeds of the campaign that is gone on with: those that it was last asked for."""
    asked = store.asked()
    return asked[-1] if asked and asked[-1] else parse_seeds(DEFAULT_SEEDS)


def _announce(plan: Plan, store: CampaignStore) -> None:
    """Print the settings of the campaign, so that a log alone is enough to repeat it."""
    names = " ".join(plugins.from_here(subject.name) for subject in plan.subjects)
    echo(
        f"stress {names}: seeds {plan.seeds.start}:{plan.seeds.stop}, strategy {plan.strategy}, "
        f"kernel {plan.subjects[0].kernel}; findings go to {plan.out}, the campaign to {store.path}",
        err=True,
    )


@contextmanager
def _progress(campaign: Drive, *, quiet: bool, color: str) -> Iterator[None]:
    """A progress bar if somebody watches standard error; a line for each finding as it comes in any case."""
    if quiet:
        yield
        return
    out = console(sys.stderr, color)
    campaign.campaign.on_found = lambda found: out.print(_line(found), soft_wrap=True)
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("no finding", total=len(campaign.plan.seeds))

        def show(tally: Summary) -> None:
            findings = f"findings: {len(tally.found)}" if tally.found else "no finding"
            bar.update(task, completed=tally.schedules, description=findings)

        campaign.campaign.on_schedule = show
        yield


def _line(found: Found) -> str:
    defect = found.outcome.defect
    assert defect is not None
    return f"{defect.signature}, seed {found.outcome.seed}: {found.file or found.problem}"


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
    if campaign.campaign.ended:
        return f"stopped at the first finding; go on with --seeds {seeds}"
    why = "interrupted" if campaign.interrupted else "the time is over"
    resume = f"--resume --out {quote(str(out))}" if out is not None else "--resume"
    return f"{why}; go on with {resume if ',' in seeds else f'--seeds {seeds}, or {resume}'}"
