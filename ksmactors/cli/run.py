"""`ksmactors run`: one schedule of a workload, with its log."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import click

from ksmactors.campaign.findings import default_directory, prepare
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.cli.ci_output import CiOutput, checks_of, ci_options
from ksmactors.cli.options import WholeNumber, log_options, out_option, output_options, strategy_option
from ksmactors.cli.outputs import files_of, refuse_overwriting, written_by
from ksmactors.cli.report import warn_of_removed, warn_of_rivals
from ksmactors.cli.single import open_run_log, perform, refuse_two_on_stdout
from ksmactors.cli.subject_options import subject_options
from ksmactors.run.header import SEED_LIMIT
from ksmactors.run.options import SubjectOptions
from ksmactors.run.subject import load_subject


@click.command()
@click.argument("workload")
@click.option(
    "--seed", type=WholeNumber(0, SEED_LIMIT - 1), default=0, show_default=True, metavar="S",
    help="The seed that all choices come from.",
)  # fmt: skip
@strategy_option("portfolio")
@subject_options
@log_options
@out_option
@ci_options(sarif=True)
@output_options
def run(
    workload: str,
    seed: int,
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
    """Run one schedule of WORKLOAD and show its log.

    WORKLOAD is a registered name, path/to/file.py:Class, or package.module:Class.

    Strategies that want a profile (surw, pct and others, so the portfolio too) run a schedule in the default order
    first. It is neither shown nor logged, and what the workload prints in it is discarded.
    """
    subject = load_subject(workload, options)
    refuse_two_on_stdout(as_json, log)
    refuse_overwriting(
        [("--log", log), *ci.files, *written_by(strategy)], files_of([subject], strategy, log_config=log_config)
    )
    if not quiet:
        warn_of_removed(subject)
        warn_of_rivals([subject], strategy)
    with open_run_log(log, shown=not (as_json or quiet), color=color, detail=detail, log_config=log_config) as writer:
        plan = Plan(
            [subject], range(seed, seed + 1), strategy, prepare(out or default_directory()), writer, keep=True,
            detail=detail and writer is not None,
        )  # fmt: skip
        campaign, started = Campaign(plan), perf_counter()
        status = perform(campaign, as_json=as_json, quiet=quiet, color=color)
        seconds = perf_counter() - started
    unfinished = "interrupted" if campaign.interrupted_at is not None else ""
    status = ci.finish(checks_of("run", campaign.tally, [subject], unfinished), seconds, status)
    return writer.status(status) if writer is not None else status
