"""`ksmactors compare`: the same campaign with and without an idea, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import wrap
from time import monotonic
from typing import TYPE_CHECKING, Final

import click
import orjson

from ksmactors import plugins
from ksmactors.aside import stderr, stdout
from ksmactors.campaign.cores import JOBS_MAX, available_cores
from ksmactors.campaign.findings import default_directory, prepare
from ksmactors.campaign.stress import parse_seeds
from ksmactors.campaign.worker_processes import WorkerProcesses
from ksmactors.cli.options import Duration, NamedPath, WholeNumber, out_option, output_options, strategy_option
from ksmactors.cli.outputs import files_of, refuse_overwriting, written_by
from ksmactors.cli.report import print_defects, report_crash, warn_of_removed
from ksmactors.cli.report_sources import refuse_existing, write_output
from ksmactors.cli.screen import console, echo, echo_json, notice
from ksmactors.cli.subject_options import subject_options
from ksmactors.compare.comparing import Figure, PairedCampaigns, compared, rounded
from ksmactors.compare.measures import GROUPS
from ksmactors.compare.running import CampaignSide, PairedRun, sides_of, unseen_functions
from ksmactors.compare.words import exit_order, number, sentences
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERNAL, INTERRUPTED
from ksmactors.escaping import encodable, escaped
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.options import SubjectOptions

if TYPE_CHECKING:
    from ksmactors.campaign.summary import Found

MARKS: Final = {"better": "+", "worse": "-", "different": "*"}
"""What stands before a figure that differs."""

LEGEND: Final = "+ better, - worse, * different, ? perhaps; us, ms: virtual time, 1 us a step"

DEFAULT_SEEDS: Final = "100"
"""Pairs of schedules: for most workloads about ten seconds on two cores."""


@click.command()
@click.argument("workloads", nargs=-1, required=True, metavar="WORKLOAD...")
@click.option("--seeds", default=DEFAULT_SEEDS, show_default=True, metavar="N|A:B", help="Seeds 0..N-1, or A..B-1.")
@click.option(
    "--jobs", type=WholeNumber(1, JOBS_MAX), metavar="N",
    help="Processes that run schedules; none of the results depends on it [default: the cores there are].",
)  # fmt: skip
@click.option(
    "--seconds", type=Duration(0, min_open=True), metavar="S",
    help="Start no schedule after S seconds; 30m and 8h are fine, too.",
)  # fmt: skip
@click.option(
    "--every-step", is_flag=True,
    help="Have searches take each step also where no other actor can run. Slower, and not the schedules of `stress`.",
)  # fmt: skip
@click.option("--html", type=NamedPath(path_type=Path), metavar="FILE", help="Write the comparison as a page, too.")
@click.option("--force", is_flag=True, help="With --html: replace a file that exists.")
@strategy_option("portfolio")
@subject_options
@out_option
@output_options
def compare(
    workloads: tuple[str, ...],
    seeds: str,
    jobs: int | None,
    seconds: float | None,
    every_step: bool,
    html: Path | None,
    force: bool,
    strategy: str,
    options: SubjectOptions,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Run the same campaign with and without an idea, and show what differs.

    The idea is what --with adds to the kernel and --without leaves out of it: a variant by its name,
    path/to/file.py:Class, or package.module:Class. Without the idea, the kernel is as it is. Schedules are compared in
    pairs of equal seeds; those that do not end on both sides do not count, and are reported.

    The exit status is 1 if something was found on either side.
    """
    if html is not None:
        refuse_existing(html, "--html", force=force)
    names = list(dict.fromkeys(workloads))
    asked = parse_seeds(seeds)
    without, idea = sides_of(names, options)
    refuse_overwriting([("--html", html), *written_by(strategy)], files_of(idea.subjects, strategy))
    deadline = None if seconds is None else monotonic() + seconds
    run = PairedRun(
        (without, idea), asked, strategy, prepare(out or default_directory()), every_step, jobs or available_cores(),
        deadline,
    )  # fmt: skip
    if not quiet:
        warn_of_removed(idea.subjects[0])
    with _processes(run), _progress(run, quiet=quiet, color=color):
        run_async(run.run)
    found = compared(without.outcomes, idea.outcomes)
    unseen = [] if every_step else unseen_functions(idea.subjects[0])
    said = list(sentences(found, without.tally, idea.tally, unseen, watched=bool(idea.subjects[0].watchers)))
    title = _title(names, idea, asked, strategy)
    if as_json:
        echo_json(_json(run, found, said))
    else:
        _print(title, found, said, run.sides, color)
    if html is not None:
        _write_page(html, title, found, said, force=force, quiet=quiet)
    return _close(run, found, quiet=quiet)


def _write_page(
    path: Path, title: str, found: PairedCampaigns, said: Sequence[tuple[str, str]], *, force: bool, quiet: bool
) -> None:
    from ksmactors.report.comparison import comparison_page

    content = comparison_page(title, found, said)
    write_output(path, "--html", lambda file: file.write(content), force=force)
    if not quiet:
        notice(f"{escaped(str(path))}: open it in a browser")


def _close(run: PairedRun, found: PairedCampaigns, *, quiet: bool) -> int:
    """What must be said last, and the exit status."""
    for side in run.sides:
        if side.tally.crash is not None:
            report_crash(side.tally.crash)
    statuses = [side.tally.exit_status for side in run.sides]
    without, idea = (side.outcomes.keys() for side in run.sides)
    if INTERNAL not in statuses and len(without & idea) < len(run.seeds) and not quiet:
        why = "interrupted" if run.interrupted else "the time is over"
        notice(f"{why}: {found.pairs:,} of {quantity(len(run.seeds), 'pair')} ran to the end")
    return INTERRUPTED if run.interrupted else exit_order(statuses, (INTERNAL, FOUND, INCONCLUSIVE))


def idea_text(side: CampaignSide) -> str:
    """The idea, as options."""
    subject = side.subjects[0]
    options = [("--with", name) for name in subject.with_] + [("--without", name) for name in subject.without]
    return " ".join(f"{option} {escaped(plugins.from_here(name))}" for option, name in options)


def _title(names: Sequence[str], idea: CampaignSide, seeds: range, strategy: str) -> str:
    workloads = " ".join(escaped(plugins.from_here(name)) for name in names)
    return (
        f"{workloads}: kernel {idea.subjects[0].kernel} without and with the idea ({idea_text(idea)}), "
        f"seeds {seeds.start}:{seeds.stop}, strategy {escaped(strategy)}"
    )


def _json(run: PairedRun, found: PairedCampaigns, said: Sequence[tuple[str, str]]) -> str:
    without, idea = run.sides
    subject = idea.subjects[0]
    content = {
        "workloads": [one.name for one in idea.subjects],
        "kernel": subject.kernel,
        "with": list(subject.with_),
        "without": list(subject.without),
        "nodes": subject.nodes,
        "strategy": run.strategy,
        "every_step": run.every_step,
        "seeds": f"{run.seeds.start}:{run.seeds.stop}",
        "interrupted": run.interrupted,
        "pairs": found.pairs,
        "same": found.same,
        "unpaired": found.unpaired,
        "left_out": [
            {"side": side, "verdict": verdict, "schedules": count}
            for (side, verdict), count in sorted(found.left_out.items())
        ],
        "figures": [figure.as_json() for figure in found.figures],
        "summary": dict(said),
        "sides": {"without": without.tally.as_json(), "with": idea.tally.as_json()},
        "cpu_seconds": {"without": rounded(found.cpu[0]), "with": rounded(found.cpu[1])} if found.cpu else None,
    }
    return orjson.dumps(encodable(content), option=orjson.OPT_INDENT_2).decode()


def _print(
    title: str, found: PairedCampaigns, said: Sequence[tuple[str, str]], sides: Sequence[CampaignSide], color: str
) -> None:
    """The comparison on a screen: in words, as a table, and the findings of both sides."""
    out = console(stdout(), color)
    width = min(out.width, 100)
    for line in wrap(title, width, break_on_hyphens=False):
        echo(line)
    for heading, text in said:
        for line in wrap(f"{heading}: {text}", width, subsequent_indent="  ", break_on_hyphens=False):
            echo(line)
    if found.pairs:
        _print_table(found, color)
    for name, side in zip(("without the idea", "with the idea"), sides, strict=True):
        if side.tally.found or side.tally.given_up is not None:
            echo(f"{name}:")
            print_defects(side.tally, stream=stdout(), color=color)


def _print_table(found: PairedCampaigns, color: str) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=True, header_style="bold")
    for title in ("", "", "without", "with", "difference", "95 % interval"):
        table.add_column(title, justify="right" if title else "left", overflow="fold")
    for group, what in GROUPS.items():
        figures = [figure for figure in found.measured if figure.measure.group == group]
        if figures:
            table.add_row("", what, style="italic")
        for figure in figures:
            table.add_row(*row_of(figure), style="bold" if figure.differs else "")
    console(stdout(), color).print(table)
    echo(LEGEND)
    if found.cpu is not None:
        one, other = found.cpu
        echo(f"processor time aside: {one:.3f} s a schedule without, {other:.3f} s with (this machine)")


def row_of(figure: Figure) -> tuple[str, str, str, str, str, str]:
    """A figure as the cells of a table: mark, name, both sides, difference, interval."""
    unit = f" ({figure.measure.unit})" if figure.measure.unit else ""
    bounds = f"{number(figure.bounds[0])} .. {number(figure.bounds[1])}" if figure.bounds else "-"
    mark = MARKS.get(figure.verdict) or ("?" if figure.perhaps else "")
    sign = "+" if figure.change is not None and figure.change > 0 else ""
    name = f"  {figure.measure.name}{unit}"
    return mark, name, number(figure.without), number(figure.idea), f"{sign}{number(figure.change)}", bounds


@contextmanager
def _processes(run: PairedRun) -> Iterator[None]:
    """Have workers ready, if there is more than one job."""
    if run.jobs < 2:
        yield
        return
    with closing(WorkerProcesses()) as run.processes:
        yield


@contextmanager
def _progress(run: PairedRun, *, quiet: bool, color: str) -> Iterator[None]:
    """A progress bar if standard error is a terminal; a line for each finding as it comes in any case."""
    if quiet:
        yield
        return
    out = console(stderr(), color)

    def line(side: CampaignSide, found: Found) -> None:
        where = "without" if side is run.sides[0] else "with"
        out.print(
            f"{where} the idea: {found.defect.signature}, seed {found.outcome.seed}: {found.file or found.problem}",
            soft_wrap=True,
        )

    run.on_found = line
    if not stderr().isatty():
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("schedules"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=2 * len(run.seeds))
        run.on_schedule = lambda: bar.update(task, completed=sum(side.tally.schedules for side in run.sides))
        yield
