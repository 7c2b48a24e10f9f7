"""`ksmactors analyze`: what logs say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ksmactors.cli.options import output_options
from ksmactors.cli.screen import console as screen
from ksmactors.cli.screen import echo_json, notice
from ksmactors.errors import USAGE, UsageError

UNFOLDED: Final = 10_000
"""Width of what is no terminal: a table in a file or a pipe is as wide as its rows."""

if TYPE_CHECKING:
    from ksmactors.analysis.reading import Loss
    from ksmactors.analysis.store import Logs


@click.command()
@click.argument("paths", metavar="LOG...", nargs=-1, required=True)
@click.option("--sql", metavar="QUERY", help="Run SQL over the view `events` (file, line, and every field there is).")
@click.option("--page", type=click.IntRange(0), metavar="PFN", help="Follow a page through its life.")
@click.option("--schedule", type=click.IntRange(0), metavar="N", help="With --page: the schedule to look at.")
@output_options
def analyze(
    paths: Sequence[str],
    sql: str | None,
    page: int | None,
    schedule: int | None,
    *,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Say what logs say: races, contention, findings, trees for each node, actors.

    A LOG has JSON lines, as `--log FILE` writes them; `-` is standard input. What cannot be read of it is said on
    standard error, and the rest is analyzed; the exit status is 2 if one of several logs could not be read at all.

    Columns of `events` that are always there: event, run, seed, schedule, step, now, actor, cpu, node, level; the
    others are those that `list events` shows, and NULL where an event has none.
    """
    if sql is not None and page is not None:
        raise UsageError("--sql and --page are two questions: ask one at a time")
    if sql is not None and not sql.strip():
        raise UsageError("--sql: the query is empty")
    if schedule is not None and page is None:
        raise UsageError("--schedule says in which schedule --page looks: give --page too")
    from ksmactors.analysis.store import Logs

    with Logs(paths) as logs:
        _say_losses(logs.losses)
        if not logs.events:
            raise UsageError("analyze: there is no event in what was given")
        result = _answer(logs, sql, page, schedule)
        if as_json:
            _print_json(result)
        else:
            _show(result, color, quiet=quiet)
        return 0 if all(file.read for file in logs.files) else USAGE


def _answer(logs: Logs, sql: str | None, page: int | None, schedule: int | None) -> Any:
    if sql is not None:
        return logs.sql(sql)
    if page is not None:
        from ksmactors.analysis.pages import page_lives

        return page_lives(logs, page, schedule=schedule)
    from ksmactors.analysis.report import Report

    return Report.of(logs)


def _say_losses(losses: Sequence[Loss]) -> None:
    for loss in losses:
        notice(str(loss))


def _print_json(result: Any) -> None:
    import orjson

    from ksmactors.analysis.store import Answer

    if isinstance(result, list):
        result = {"lives": result}
    elif isinstance(result, Answer):
        result = {"columns": result.columns, "rows": _plain(result.rows)}
    echo_json(orjson.dumps(result).decode())


def _plain(value: Any) -> Any:
    """What SQL answered, as JSON has it: dates, intervals, blobs and integers over 64 bits become strings."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, str, float)) or (isinstance(value, int) and abs(value) >> 63 == 0):
        return value
    return str(value)


def _show(result: Any, color: str, *, quiet: bool) -> None:
    from ksmactors.analysis.report import Report, show, show_answer, show_lives

    console = screen(sys.stdout, color, width=None if sys.stdout.isatty() else UNFOLDED)
    if isinstance(result, Report):
        show(result, console, quiet=quiet)
    elif isinstance(result, list):
        show_lives(result, console, color=not console.no_color)
    else:
        show_answer(result, console)
