"""`ksmactors explore`: all schedules that can differ, one after the other."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, perf_counter

import click

from ksmactors.aside import stdout
from ksmactors.campaign.explore import MAX_SCHEDULES, Budget, Exploration, explored, exploring, make_search
from ksmactors.campaign.findings import default_directory, prepare
from ksmactors.campaign.state_file import perform, state_file
from ksmactors.campaign.verdicts import Inconclusive
from ksmactors.cli.ci_output import CiOutput, checks_of, ci_options
from ksmactors.cli.options import Duration, WholeNumber, out_option, output_options
from ksmactors.cli.outputs import files_of, refuse_overwriting
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
from ksmactors.cli.screen import echo, echo_json, notice
from ksmactors.cli.subject_options import subject_options
from ksmactors.errors import INTERRUPTED
from ksmactors.escaping import escaped
from ksmactors.quantity import quantity
from ksmactors.run.options import SubjectOptions
from ksmactors.run.subject import load_subject


@click.command()
@click.argument("workload")
@click.option(
    "--algorithm",
    metavar="dpor|bounded",
    help="dpor: one schedule for each order of dependent operations, a proof if it ends. bounded: those with the "
    "fewest preemptions first.  [default: dpor; bounded with --preemptions]",
)
@click.option("--preemptions", type=WholeNumber(0), metavar="C", help="No schedule with more preemptions than that.")
@click.option(
    "--max-schedules",
    type=WholeNumber(1),
    default=MAX_SCHEDULES,
    show_default=True,
    metavar="N",
    help="Give up after so many schedules. On the emulated machine, the default may take ten minutes; see --seconds.",
)
@click.option(
    "--seconds", type=Duration(0, min_open=True), metavar="S",
    help="Give up after S seconds; 30m and 8h are fine, too.",
)  # fmt: skip
@click.option("--stop-at-first/--all", help="Stop at the first finding, or go on.  [default: all]")
@click.option("--resume", is_flag=True, help="Go on with the exploration in --out where it stopped.")
@subject_options
@out_option
@ci_options(sarif=True)
@output_options
def explore(
    workload: str,
    algorithm: str | None,
    preemptions: int | None,
    max_schedules: int,
    seconds: float | None,
    stop_at_first: bool,
    resume: bool,
    options: SubjectOptions,
    out: Path | None,
    ci: CiOutput,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Run all schedules of WORKLOAD that can differ, and say whether that was all.

    The verdict is `exhausted` if everything was seen and nothing found; `bounded` if everything within a bound was;
    `inconclusive` if the budget ended before. WORKLOAD is a registered name, path/to/file.py:Class, or
    package.module:Class; it should be small (`list workloads` has classic.* and litmus.*).

    What ends it is --max-schedules, --seconds, or the end of the space, whichever comes first. --quiet says nothing
    until then.
    """
    search = make_search(algorithm, preemptions)
    subject = load_subject(workload, explored(options))
    budget = Budget(max_schedules, seconds, stop_at_first)
    exploration = exploring(subject, search, budget, prepare(out or default_directory()))
    refuse_overwriting([*ci.files, ("--out", state_file(exploration))], files_of([subject]))
    if not quiet:
        warn_of_removed(subject)
        warn_of_rivals([subject], search.name)
        line = (
            f"explore {workload}: {search.name}, kernel {options.kernel}, at most "
            f"{quantity(max_schedules, 'schedule')}; "
            f"findings go to {exploration.plan.out}"
        )
        echo(escaped(line), err=True)
    started = perf_counter()
    deadline = None if seconds is None else monotonic() + seconds
    watched = Watched(exploration, None, left=exploration.progress, deadline=deadline)
    with progress(exploration, watched, as_json=as_json, quiet=quiet, color=color):
        problem = perform(exploration, resume=resume)
    if problem:
        notice(problem)
    seconds = perf_counter() - started
    if as_json:
        echo_json(json_object([subject], search.name, exploration.tally, seconds, **exploration.as_json()))
    elif quiet:
        print_defects(exploration.tally, stream=stdout(), color=color)
    else:
        print_table(exploration.tally, seconds, stream=stdout(), color=color)
        _tell(exploration)
    status = _close(exploration, resumable=not (problem or quiet))
    return ci.finish(checks_of("explore", exploration.tally, [subject], _unfinished(exploration)), seconds, status)


def _unfinished(exploration: Exploration) -> str:
    """Why nothing is proved, in a line; empty if something was found, or all of it was run."""
    if exploration.interrupted_at is not None:
        return "interrupted"
    judgement = exploration.tally.judgement
    return str(judgement) if isinstance(judgement, Inconclusive) else ""


def _tell(exploration: Exploration) -> None:
    """What the table does not: what was left out, and what it came to apart from findings."""
    tally = exploration.tally
    if exploration.again:
        echo(f"{exploration.again:,} more were cut short or run again: nothing new came of them")
    if tally.found and tally.searched is not None:
        echo(f"findings aside: {tally.searched}")
    print_never_reached(tally, exploration.plan.subjects, stream=stdout())


def _close(exploration: Exploration, *, resumable: bool) -> int:
    """What must be said last, and the exit status. `resumable`: whether to say how to resume it."""
    tally = exploration.tally
    if tally.crash is not None:
        report_crash(tally.crash)
    if resumable and not exploration.over and tally.crash is None:
        notice(f"not at its end; go on with --resume --out {exploration.plan.out}")
    return INTERRUPTED if exploration.interrupted_at is not None else tally.exit_status
