"""`ksmactors corpus`: every known defect, shown by its directed schedule and looked for by strategies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from shlex import join
from textwrap import fill
from time import perf_counter
from typing import Final

import click
import orjson

from ksmactors.aside import stdout
from ksmactors.campaign.corpus import Row, StrategyResult, measure
from ksmactors.ci.checks import Check, Status
from ksmactors.cli.ci_output import CiOutput, ci_options
from ksmactors.cli.options import WholeNumber, output_options
from ksmactors.cli.outputs import files_of, refuse_overwriting, written_by
from ksmactors.cli.screen import console, echo, echo_json, notice
from ksmactors.errors import FOUND, INTERRUPTED, UsageError, spelled, unknown
from ksmactors.history.case import Case
from ksmactors.history.cases import ALIASES, CASES
from ksmactors.interleave.strategies.registry import parse
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.extensions import need_strategy

STRATEGIES: Final = ("random", "pos", "pct", "portfolio")


@click.command()
@click.argument("names", nargs=-1, metavar="[CASE]...")
@click.option(
    "--campaigns",
    type=WholeNumber(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Campaigns of different seeds for each case and strategy; 0: only the directed schedules.",
)
@click.option(
    "--budget",
    type=WholeNumber(1, 1_000_000),
    default=5_000,
    show_default=True,
    metavar="N",
    help="The most schedules of a campaign.",
)
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    default=STRATEGIES,
    show_default=True,
    metavar="NAME[:K=V,...]",
    help="A strategy of the campaigns. Repeatable.",
)
@click.option("--markdown", is_flag=True, help="The table as Markdown.")
@ci_options(sarif=False)
@output_options
def corpus(
    names: tuple[str, ...], campaigns: int, budget: int, strategies: tuple[str, ...], markdown: bool, ci: CiOutput,
    as_json: bool, quiet: bool, color: str,
) -> int:  # fmt: skip
    """Show the defects that are known, and how soon they are found.

    Each CASE (default: all) is run by its directed schedule, on the kernel that has the defect. With --campaigns, each
    strategy looks for it too: the table has the median and the worst number of schedules that it took. Exits with 1 if
    a directed schedule does not show what it should.
    """
    cases = _cases(names)
    for strategy in strategies:
        need_strategy(strategy)
        parse(strategy)
    refuse_overwriting(
        [*ci.files, *(one for strategy in strategies for one in written_by(strategy))], files_of((), *strategies)
    )
    rows: list[Row] = []

    def keep(row: Row) -> None:
        rows.append(row)
        if not quiet and campaigns:
            echo(f"{len(rows)} of {len(cases)}: {' '.join(_cells(row, strategies))}", err=True)

    interrupted, started = False, perf_counter()
    try:
        run_async(partial(measure, cases, strategies, campaigns=campaigns, budget=budget, on_row=keep))
    except* KeyboardInterrupt:
        interrupted = True
    _print(rows, strategies if campaigns else (), as_json=as_json, markdown=markdown, color=color)
    if names and not (as_json or markdown or quiet):
        for row in rows:
            _tell(row.case)
    if interrupted:
        notice(f"interrupted after {len(rows)} of {quantity(len(cases), 'case')}")
    status = INTERRUPTED if interrupted else 0 if all(row.directed for row in rows) else FOUND
    return ci.finish(list(_checks(cases, rows)), perf_counter() - started, status)


def _checks(cases: Sequence[Case], rows: Sequence[Row]) -> Iterator[Check]:
    """A check for each case; one that was not run is inconclusive."""
    for row in rows:
        expected = f"reports {row.case.signature}" if row.case.watcher else "finds nothing"
        if row.directed:
            yield Check("corpus", row.case.name, Status.PASSED, f"the directed schedule {expected}")
        else:
            message = f"the directed schedule should show: {expected}; it does not"
            yield Check("corpus", row.case.name, Status.FAILED, message, row.case.story)
    for case in cases[len(rows) :]:
        yield Check("corpus", case.name, Status.INCONCLUSIVE, "interrupted")


def _cases(names: Sequence[str]) -> list[Case]:
    spellings = [spelled(name, [*CASES, *ALIASES]) for name in names]
    wanted = [ALIASES.get(name, name) for name in spellings]
    for name in wanted:
        if name not in CASES:
            raise UsageError(unknown("case", name, CASES))
    return [case for case in CASES.values() if not names or case.name in wanted]


def _tell(case: Case) -> None:
    """The story of a case, and how to run it and follow its schedule."""
    for head, text in ((case.name, case.story), ("silent because", case.silent_because)):
        if text:
            echo(fill(f"{head}: {text}", 100, subsequent_indent="  ", break_on_hyphens=False))
    if case.confirmed:
        echo(f"confirmed: on real kernels {', '.join(case.confirmed)}")
    if case.repair:
        echo(f"repair: --with {' --with '.join(case.repair)}")
    echo(f"directed: {'; '.join(case.script)}")
    echo(f"run: ksmactors stress {join(case.arguments)}")


def _print(rows: Sequence[Row], strategies: Sequence[str], *, as_json: bool, markdown: bool, color: str) -> None:
    if as_json:
        echo_json(orjson.dumps([row.as_json() for row in rows], option=orjson.OPT_INDENT_2).decode())
        return
    header = ("case", "what goes wrong", "watcher", *strategies, "directed")
    lines = [_cells(row, strategies) for row in rows]
    if markdown:
        for line in (header, ["---"] * len(header), *lines):
            echo(f"| {' | '.join(line)} |")
        return
    from rich.table import Table

    table = Table(*header)
    for line in lines:
        table.add_row(*line)
    console(stdout(), color).print(table)


def _cells(row: Row, strategies: Sequence[str]) -> list[str]:
    """A line of the table; a search is shown as `median (worst)`."""
    case = row.case
    searches = [_cell(one) for one in row.searches] or ["-"] * len(strategies)
    shown = ("shown" if case.watcher else "silent") if row.directed else "NO"
    return [case.name, case.title, case.watcher or "(control)", *searches, shown]


def _cell(one: StrategyResult) -> str:
    if one.median is None:
        return f"> {one.budget:,}"
    return f"{one.median:,} ({f'{one.worst:,}' if one.worst is not None else f'> {one.budget:,}'})"
