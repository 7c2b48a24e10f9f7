"""`ksmactors analyze`: what logs say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from ksmactors import interruption
from ksmactors.cli.options import output_options
from ksmactors.cli.screen import console as screen
from ksmactors.cli.screen import echo, notice
from ksmactors.errors import FOUND, USAGE, UsageError
from ksmactors.escaping import escaped_json

UNFOLDED: Final = 10_000
"""Width of what is no terminal: a table in a file or a pipe is as wide as its rows."""

if TYPE_CHECKING:
    from rich.console import Console

    from ksmactors.analysis.reading import Loss
    from ksmactors.analysis.store import Logs, Stream


@click.command()
@click.argument("paths", metavar="LOG...", nargs=-1, required=True)
@click.option("--sql", metavar="QUERY", help="Run SQL over the view `events` (file, line, and every field there is).")
@click.option(
    "--sql-unsafe", "unsafe", is_flag=True,
    help="With --sql: the query may read and write files, load extensions and use the network.",
)  # fmt: skip
@click.option("--page", type=click.IntRange(0, 2**63 - 1), metavar="PFN", help="Follow a page through its life.")
@click.option(
    "--schedule", type=click.IntRange(0, 2**63 - 1), metavar="N", help="With --page: the schedule to look at."
)
@output_options
def analyze(
    paths: Sequence[str],
    sql: str | None,
    unsafe: bool,
    page: int | None,
    schedule: int | None,
    *,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Summarize logs: races, contention, findings, trees for each node, actors.

    A LOG has JSON lines, as `--log FILE` writes them, and may be packed with gzip or zstd; `-` is standard input. Parts
    that cannot be read are reported on standard error, and the rest is analyzed. The exit status is 1 if a log has a
    finding, with any option; else 2 if a log has no readable event, such as an empty one.

    Columns of `events` that are always there: event, run, seed, schedule, step, now, actor, cpu, node, level; the
    others are those that `list events` shows, and NULL where an event has none. A query cannot reach files or the
    network unless --sql-unsafe allows it.
    """
    if sql is not None and page is not None:
        raise UsageError("--sql and --page exclude each other: give one of them")
    if sql is not None and not sql.strip():
        raise UsageError("--sql: the query is empty")
    if unsafe and sql is None:
        raise UsageError("--sql-unsafe needs --sql")
    if schedule is not None and page is None:
        raise UsageError("--schedule needs --page")
    from ksmactors.analysis.store import Logs

    interruption.work_begins()
    with Logs(paths, unsafe=unsafe) as logs:
        _say_losses(logs.losses)
        if not logs.events:
            raise UsageError("analyze: there is no event in what was given")
        found = bool(logs.rows("SELECT 1 FROM events WHERE event = 'finding.found' LIMIT 1"))
        console = screen(sys.stdout, color, width=None if sys.stdout.isatty() else UNFOLDED)
        if sql is not None:
            stream = logs.stream(sql)
            _print_stream(stream) if as_json else _show_stream(stream, console)
        elif page is not None:
            _tell_lives(logs, page, schedule, console, as_json=as_json)
        else:
            _tell_report(logs, console, as_json=as_json, quiet=quiet)
        if found:
            return FOUND
        return 0 if all(file.read for file in logs.files) else USAGE


def _say_losses(losses: Sequence[Loss]) -> None:
    for loss in losses:
        notice(str(loss))


def _tell_report(logs: Logs, console: Console, *, as_json: bool, quiet: bool) -> None:
    from ksmactors.analysis.report import Report, show

    report = Report.of(logs)
    if as_json:
        echo(_json(asdict(report)))
    else:
        show(report, console, quiet=quiet)


def _tell_lives(logs: Logs, page: int, schedule: int | None, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.pages import page_lives
    from ksmactors.analysis.report import show_lives

    lives = page_lives(logs, page, schedule=schedule)
    if as_json:
        echo(_json({"lives": [asdict(life) for life in lives]}))
    else:
        show_lives(lives, console, color=not console.no_color)


def _print_stream(stream: Stream) -> None:
    """One JSON object, written as the rows come."""
    echo(f'{{"columns":{_json(stream.columns)},"rows":[', nl=False)
    separator = ""
    for block in stream.blocks:
        rows = _json(block)[1:-1]
        echo(f"{separator}{rows}", nl=False)
        separator = ","
    echo("]}")


def _show_stream(stream: Stream, console: Console) -> None:
    """Tables of as many rows as are in memory at once."""
    from ksmactors.analysis.report import show_rows

    empty = True
    for block in stream.blocks:
        show_rows(stream.columns, block, console)
        empty = False
    if empty:
        show_rows(stream.columns, [], console)


def _json(value: Any) -> str:
    """Compact JSON, in which no character is one that a terminal would perform."""
    import orjson

    return escaped_json(orjson.dumps(_plain(value)).decode())


def _plain(value: Any) -> Any:
    """What SQL answered, as JSON has it: dates, intervals, blobs and integers over 64 bits become strings."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, str, float)) or (isinstance(value, int) and abs(value) >> 63 == 0):
        return value
    return str(value)
