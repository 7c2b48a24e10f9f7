"""`ksmactors analyze`: what logs say."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
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

SECTIONS: Final = {
    "races": ("races", "race_places", "race_pairs"),
    "locks": ("lock_kinds", "contention"),
    "trees": ("trees", "nodes"),
}
"""Parts of the report that can be had alone, with their keys in --json."""

if TYPE_CHECKING:
    from rich.console import Console

    from ksmactors.analysis.store import Logs, Stream
    from ksmactors.analysis.text import Filter


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the logs. Of `sql`, `parquet`, `html`, `compare`, `text` and the rest, one at most."""

    sql: str | None
    unsafe: bool
    parquet: Path | None
    html: Path | None
    compare: bool
    text: bool
    sections: tuple[str, ...]
    page: int | None
    actors: tuple[str, ...]
    events: tuple[str, ...]
    schedule: int | None
    force: bool

    def check(self, logs: int) -> None:
        """Refuse what cannot be answered.

        Raises:
            UsageError: two options exclude each other, or one needs another.
        """
        questions = {
            "--sql": self.sql is not None, "--parquet": self.parquet is not None,
            "--html": self.html is not None, "--compare": self.compare, "--text": self.text,
            **{f"--{name}": True for name in self.sections},
            "--page": self.page is not None and not self.text, "--actor": bool(self.actors) and not self.text,
        }  # fmt: skip
        asked = [name for name, there in questions.items() if there]
        together = {"--actor", *(f"--{name}" for name in SECTIONS)}
        if len(asked) > 1 and not set(asked) <= together:
            raise UsageError(f"{asked[0]} and {asked[1]} exclude each other: give one of them")
        if self.sql is not None and not self.sql.strip():
            raise UsageError("--sql: the query is empty")
        if self.unsafe and self.sql is None:
            raise UsageError("--sql-unsafe needs --sql")
        if self.schedule is not None and self.page is None and not self.text:
            raise UsageError("--schedule needs --page or --text")
        if self.events and not self.text:
            raise UsageError("--event says which lines --text prints: give --text too")
        if self.force and self.parquet is None and self.html is None:
            raise UsageError("--force says that --parquet or --html may replace files: give one of them too")
        if self.compare and logs != 2:
            raise UsageError(f"--compare takes two logs, not {logs}")


_NOTHING_ASKED: Final = Asked(
    sql=None, unsafe=False, parquet=None, html=None, compare=False, text=False, sections=(), page=None, actors=(),
    events=(), schedule=None, force=False,
)  # fmt: skip


@click.command()
@click.argument("paths", metavar="LOG...", nargs=-1, required=True)
@click.option("--races", "sections", flag_value="races", multiple=True, is_flag=True, help="Only races.")
@click.option("--locks", "sections", flag_value="locks", multiple=True, is_flag=True, help="Only locks.")
@click.option("--trees", "sections", flag_value="trees", multiple=True, is_flag=True, help="Only trees and nodes.")
@click.option(
    "--actor", "actors", metavar="NAME", multiple=True,
    help="Only what this actor did, won, lost or held. Repeatable.",
)  # fmt: skip
@click.option("--page", type=click.IntRange(0, 2**63 - 1), metavar="PFN", help="Follow a page through its life.")
@click.option("--text", is_flag=True, help="The events as lines for people. --actor, --event, --page say which.")
@click.option("--event", "events", metavar="NAME", multiple=True, help="With --text: events; `race.*` for all races.")
@click.option(
    "--schedule", type=click.IntRange(0, 2**63 - 1), metavar="N",
    help="With --page or --text: the schedule to look at.",
)  # fmt: skip
@click.option("--compare", is_flag=True, help="Two logs: the first event that differs, and counts side by side.")
@click.option("--parquet", type=click.Path(path_type=Path), metavar="DIR", help="Write each view as a Parquet file.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page for the browser.")
@click.option("--force", is_flag=True, help="With --parquet or --html: replace files that exist.")
@click.option("--sql", metavar="QUERY", help="Run SQL over the views (see `docs log`).")
@click.option(
    "--sql-unsafe", "unsafe", is_flag=True,
    help="With --sql: the query may read and write files, load extensions and use the network.",
)  # fmt: skip
@output_options
def analyze(paths: Sequence[str], *, as_json: bool, quiet: bool, color: str, **asked: Any) -> int:
    """Summarize logs: races, contention, findings, trees for each node, actors.

    A LOG has JSON lines, as `--log FILE` writes them, and may be packed with gzip or zstd; `-` is standard input. Parts
    that cannot be read are reported on standard error, and the rest is analyzed. The exit status is 1 if a log has a
    finding, with any option; else 2 if a log has no readable event, such as an empty one.

    A LOG may also be the directory of a campaign's store: then --sql, --parquet and --json are about its schedules and
    findings (see `docs campaigns`).

    Views for --sql: events, races, locks, pages, actors, schedules. Columns of `events` that are always there: event,
    run, seed, schedule, step, now, actor, cpu, node, level; the others are those that `list events` shows, and NULL
    where an event has none. A query cannot reach files or the network unless --sql-unsafe allows it.
    """
    question = Asked(**asked)
    question.check(len(paths))
    if any(_is_store(path) for path in paths):
        return _analyze_store(paths, question, as_json=as_json, quiet=quiet, color=color)
    if question.html is not None:
        from ksmactors.cli.report_command import write_page

        return write_page(paths, question.html, force=question.force, quiet=quiet, replaying=False)
    from ksmactors.analysis.store import Logs

    interruption.work_begins()
    console = screen(sys.stdout, color, width=None if sys.stdout.isatty() else UNFOLDED)
    if question.compare:
        with Logs(paths[:1]) as one, Logs(paths[1:]) as other:
            _tell_comparison(one, other, console, as_json=as_json)
            return max(_status(one), _status(other), key=(0, USAGE, FOUND).index)
    with Logs(paths, unsafe=question.unsafe or question.parquet is not None) as logs:
        status = _status(logs)
        _answer(question, logs, console, as_json=as_json, quiet=quiet)
        return status


def _is_store(path: str) -> bool:
    """Whether a path is the directory of a campaign's store."""
    if not Path(path).is_dir():
        return False
    from ksmactors.campaign.store_files import has_store

    return has_store(Path(path))


def _analyze_store(paths: Sequence[str], asked: Asked, *, as_json: bool, quiet: bool, color: str) -> int:
    """Answer what is asked of the store of a campaign.

    Raises:
        UsageError: there are several, or it is a question about events.
    """
    from ksmactors.cli.campaign import show

    plain = replace(asked, sql=None, unsafe=False, parquet=None, force=False)
    if len(paths) > 1 or plain != _NOTHING_ASKED:
        raise UsageError(f"{paths[0]}: of a store, alone, analyze answers --sql, --parquet and --json")
    interruption.work_begins()
    if asked.sql is None:
        return show(
            Path(paths[0]), export=asked.parquet, force=asked.force, as_json=as_json, quiet=quiet, color=color
        )
    from ksmactors.campaign.store_files import open_to_read
    from ksmactors.campaign.tables import tables_of

    console = screen(sys.stdout, color, width=None if sys.stdout.isatty() else UNFOLDED)
    with open_to_read(Path(paths[0])) as store, tables_of(store, unsafe=asked.unsafe) as tables:
        found = bool(tables.rows("SELECT 1 FROM findings LIMIT 1"))
        stream = tables.stream(asked.sql)
        _print_stream(stream) if as_json else _show_stream(stream, console)
    return FOUND if found else 0


def _status(logs: Logs) -> int:
    """Say what could not be read; the exit status that the logs alone lead to.

    Raises:
        UsageError: there is no event.
    """
    for loss in logs.losses:
        notice(str(loss))
    if not logs.events:
        raise UsageError("analyze: there is no event in what was given")
    if logs.rows("SELECT 1 FROM events WHERE event = 'finding.found' LIMIT 1"):
        return FOUND
    return 0 if all(file.read for file in logs.files) else USAGE


def _answer(asked: Asked, logs: Logs, console: Console, *, as_json: bool, quiet: bool) -> None:
    if asked.sql is not None:
        stream = logs.stream(asked.sql)
        _print_stream(stream) if as_json else _show_stream(stream, console)
    elif asked.parquet is not None:
        _write_parquet(logs, asked.parquet, force=asked.force, as_json=as_json, quiet=quiet)
    elif asked.text:
        from ksmactors.analysis.text import Filter

        _tell_text(logs, Filter(asked.actors, asked.events, asked.page, asked.schedule), console, as_json=as_json)
    elif asked.page is not None:
        _tell_lives(logs, asked.page, asked.schedule, console, as_json=as_json)
    else:
        _tell_report(logs, asked, console, as_json=as_json, quiet=quiet)


def _tell_report(logs: Logs, asked: Asked, console: Console, *, as_json: bool, quiet: bool) -> None:
    from ksmactors.analysis.report import Report, show

    keys = [key for name, keys in SECTIONS.items() if name in asked.sections for key in keys]
    if asked.actors:
        keys = [key for key in keys or [*SECTIONS["races"][2:], "contention"] if key not in _OF_NOBODY] + ["actors"]
    report = Report.of(logs, asked.actors)
    if as_json:
        echo(_json({key: value for key, value in asdict(report).items() if not keys or key in keys}))
    else:
        show(report, console, quiet=quiet, only=keys)


_OF_NOBODY: Final = ("races", "race_places", "lock_kinds", "trees", "nodes")
"""Answers that do not name actors."""


def _tell_lives(logs: Logs, page: int, schedule: int | None, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.pages import page_lives
    from ksmactors.analysis.report import show_lives

    lives = page_lives(logs, page, schedule=schedule)
    if as_json:
        echo(_json({"lives": [asdict(life) for life in lives]}))
    else:
        show_lives(lives, console, color=not console.no_color)


def _tell_text(logs: Logs, wanted: Filter, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.text import readable

    if as_json:
        condition, values = wanted.where()
        _print_array("events", logs.lines(condition, *values))
        return
    for line in readable(logs, wanted, color=not console.no_color and console.is_terminal):
        echo(line)


def _tell_comparison(one: Logs, other: Logs, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.compare import compare
    from ksmactors.analysis.report import show_comparison

    comparison = compare(one, other)
    if as_json:
        echo(_json(asdict(comparison)))
    else:
        show_comparison(comparison, console)


def _write_parquet(logs: Logs, directory: Path, *, force: bool, as_json: bool, quiet: bool) -> None:
    from ksmactors.analysis.parquet import write_parquet

    files = [str(file) for file in write_parquet(logs, directory, force=force)]
    if as_json:
        echo(_json({"events": logs.events, "files": files}))
    elif not quiet:
        for file in files:
            echo(file)


def _print_array(key: str, values: Iterable[Any]) -> None:
    """One JSON object with an array, written as its elements come."""
    echo(f'{{"{key}":[', nl=False)
    separator = ""
    for value in values:
        echo(f"{separator}{_json(value)}", nl=False)
        separator = ","
    echo("]}")


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
