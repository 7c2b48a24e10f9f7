"""`ksmactors analyze`: what logs say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ksmactors import interruption
from ksmactors.aside import stderr
from ksmactors.cli.options import NamedPath, WholeNumber, output_options, trust_option
from ksmactors.cli.pipes import tell_of_silent_pipes
from ksmactors.cli.plugin_events import read_plugin_events
from ksmactors.cli.screen import console as screen
from ksmactors.cli.screen import echo, notice
from ksmactors.cli.streams import json_of, print_stream, screen_for, show_stream
from ksmactors.errors import FOUND, USAGE, UsageError
from ksmactors.escaping import escaped

LARGE: Final = 32 << 20
"""Bytes of a log from which on its reading is shown: it takes about a second."""

SECTIONS: Final = {
    "races": ("races", "race_places", "race_pairs"),
    "locks": ("lock_kinds", "contention"),
    "trees": ("trees", "nodes"),
}
"""Parts of the report that can be had alone, with their keys in --json."""

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from ksmactors.analysis.compare import Comparison
    from ksmactors.analysis.reading import EventSource
    from ksmactors.analysis.store import Logs, Progress
    from ksmactors.analysis.text import Filter


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the logs. Of `sql`, `parquet`, `html`, `compare`, `text` and the rest, one at most; `compare`
    and `html` go together."""

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
    trust: bool
    mapped: tuple[str, ...]

    @property
    def is_report(self) -> bool:
        """Whether the report is asked for, or parts of it."""
        return self.sql is None and self.parquet is None and not self.text and self.page is None

    def check(self, logs: int) -> None:
        """Refuse what cannot be answered.

        Raises:
            UsageError: two options exclude each other, or one needs another.
        """
        questions = {
            "--sql": self.sql is not None, "--parquet": self.parquet is not None,
            "--html": self.html is not None and not self.compare, "--compare": self.compare, "--text": self.text,
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
            raise UsageError(f"--compare takes two logs or findings, not {logs}")
        if self.trust and not self.compare:
            raise UsageError("--trust is for findings, which --compare takes: give --compare too")

    def check_store(self, paths: Sequence[str]) -> None:
        """Refuse what the store of a campaign cannot answer.

        Raises:
            UsageError: there are several, or it is a question about events.
        """
        others = (
            self.html, self.compare, self.text, self.sections, self.page is not None, self.actors, self.events,
            self.schedule is not None, self.trust, self.mapped,
        )  # fmt: skip
        if len(paths) > 1 or any(others):
            raise UsageError(f"{paths[0]}: of a store, alone, analyze answers --sql, --parquet and --json")


@click.command()
@click.argument("paths", metavar="LOG...", nargs=-1, required=True)
@click.option("--races", "sections", flag_value="races", multiple=True, is_flag=True, help="Only races.")
@click.option("--locks", "sections", flag_value="locks", multiple=True, is_flag=True, help="Only locks.")
@click.option("--trees", "sections", flag_value="trees", multiple=True, is_flag=True, help="Only trees and nodes.")
@click.option(
    "--actor", "actors", metavar="NAME", multiple=True,
    help="Only what this actor did, won, lost or held. Repeatable.",
)  # fmt: skip
@click.option("--page", type=WholeNumber(0, 2**63 - 1), metavar="PFN", help="Follow a page through its life.")
@click.option("--text", is_flag=True, help="The events as lines for people. --actor, --event, --page say which.")
@click.option("--event", "events", metavar="NAME", multiple=True, help="With --text: events; `race.*` for all races.")
@click.option(
    "--schedule", type=WholeNumber(0, 2**63 - 1), metavar="N",
    help="With --page or --text: the schedule to look at.",
)  # fmt: skip
@click.option(
    "--compare", is_flag=True,
    help="Two logs or findings: the first event that differs, and counts side by side; with --html as a page.",
)  # fmt: skip
@click.option("--parquet", type=NamedPath(path_type=Path), metavar="DIR", help="Write each view as a Parquet file.")
@click.option("--html", type=NamedPath(path_type=Path), metavar="FILE", help="Write a page for the browser.")
@click.option("--force", is_flag=True, help="With --parquet or --html: replace files that exist.")
@click.option("--sql", metavar="QUERY", help="Run SQL over the views (see `docs log`).")
@click.option(
    "--sql-unsafe", "unsafe", is_flag=True,
    help="With --sql: the query may read and write files, load extensions and use the network.",
)  # fmt: skip
@click.option(
    "--map", "mapped", metavar="KEY=THEIRS", multiple=True,
    help="Analyze JSON lines of another program: which of its keys is which of ksmactors, as actor=logger. Repeatable.",
)  # fmt: skip
@trust_option
@output_options
def analyze(paths: Sequence[str], *, as_json: bool, quiet: bool, color: str, **asked: Any) -> int:
    """Summarize logs: races, contention, findings, trees for each node, actors.

    A LOG has JSON lines, as `--log FILE` writes them, and may be packed with gzip or zstd; `-` is standard input. Parts
    that cannot be read are reported on standard error, and the rest is analyzed. For --compare, findings and schedule
    strings are replayed with all detail. The exit status is 1 if a log has a
    finding, with any option; else 2 if a log has no readable event, such as an empty one.

    A LOG may also be the directory of a campaign's store: then --sql, --parquet and --json are about its schedules and
    findings (see `docs campaigns`).

    Views for --sql: events, races, locks, pages, actors, schedules. Columns of `events` that are always there: event,
    run, seed, schedule, step, now, actor, cpu, node, level; the others are those that `list events` shows, and NULL
    where an event has none. A query cannot reach files or the network unless --sql-unsafe allows it.
    """
    question = Asked(**asked)
    question.check(len(paths))
    from ksmactors.cli.analyze_store import analyze_store, is_store

    if any(is_store(path) for path in paths):
        question.check_store(paths)
        return analyze_store(
            Path(paths[0]), sql=question.sql, unsafe=question.unsafe, parquet=question.parquet, force=question.force,
            as_json=as_json, quiet=quiet, color=color,
        )  # fmt: skip
    from ksmactors.analysis.foreign import reader_for

    reader = reader_for(question.mapped)
    _refuse_overwriting(question, paths)
    read_plugin_events()
    interruption.work_begins()
    tell_of_silent_pipes()
    if question.compare or question.html is not None:
        return _answer_with_sources(question, paths, reader, as_json=as_json, quiet=quiet, color=color)
    from ksmactors.analysis.questions import COLUMNS_ASKED
    from ksmactors.analysis.store import COLUMNS, Logs

    console = screen_for(color)
    columns = COLUMNS_ASKED if question.is_report else COLUMNS
    unsafe = question.unsafe or question.parquet is not None
    with ExitStack() as closing:
        with _progress_bar(color, wanted=not quiet) as progress:
            logs = closing.enter_context(Logs(paths, unsafe=unsafe, columns=columns, progress=progress, reader=reader))
        status = _status(logs)
        _answer(question, logs, console, as_json=as_json, quiet=quiet)
        return status


def _refuse_overwriting(asked: Asked, paths: Sequence[str]) -> None:
    if asked.html is None and asked.parquet is None:
        return  # most questions write nothing, and need not wait for these modules
    from ksmactors.analysis.parquet import FILES
    from ksmactors.cli.outputs import refuse_overwriting

    tables = [("--parquet", asked.parquet / name) for name in FILES] if asked.parquet is not None else []
    refuse_overwriting([("--html", asked.html), *tables], [(path, "a log that is analyzed") for path in paths])


def _answer_with_sources(
    asked: Asked, paths: Sequence[str], reader: Callable[[str], EventSource], *, as_json: bool, quiet: bool, color: str
) -> int:
    """Write a page, compare, or both."""
    from ksmactors.cli.report_command import write_page
    from ksmactors.cli.report_sources import Sources, refuse_existing
    from ksmactors.report.findings import examine

    if asked.html is not None:
        refuse_existing(asked.html, "--html", force=asked.force)
    sources = Sources(
        paths, replay=partial(examine, max_schedules=0) if asked.compare else None, trust=asked.trust, tell=notice,
        reader=reader,
    )  # fmt: skip
    sources.refuse_overwriting([("--html", asked.html)])
    if not asked.compare:
        assert asked.html is not None
        return write_page(sources, asked.html, force=asked.force, quiet=quiet)
    from ksmactors.analysis.compare import compare

    with sources.load(paths[0]) as one, sources.load(paths[1]) as other:
        statuses = [_status(one), _status(other), sources.status]
        comparison = compare(one, other)
        if asked.html is not None:
            statuses.append(write_page(sources, asked.html, force=asked.force, quiet=quiet, comparison=comparison))
        _tell_comparison(comparison, screen_for(color), as_json=as_json)
    return max(statuses, key=(0, USAGE, FOUND).index)


@contextmanager
def _progress_bar(color: str, *, wanted: bool) -> Iterator[Progress | None]:
    """A bar on standard error where that is a terminal, for logs that take more than a moment to read."""
    if not (wanted and stderr().isatty()):
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with ExitStack() as showing:
        console = screen(stderr(), color)
        bar = Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        tasks: dict[str, TaskID] = {}

        def advance(path: str, done: int, size: int | None) -> None:
            if path not in tasks:
                if max(done, size or 0) < LARGE:
                    return
                if not tasks:
                    showing.enter_context(bar)
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[path] = bar.add_task("standard input" if path == "-" else escaped(path), total=size)
            bar.update(tasks[path], completed=done)

        yield advance


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
        print_stream(stream) if as_json else show_stream(stream, console)
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
        echo(json_of({key: value for key, value in asdict(report).items() if not keys or key in keys}))
    else:
        show(report, console, quiet=quiet, only=keys)


_OF_NOBODY: Final = ("races", "race_places", "lock_kinds", "trees", "nodes")
"""Answers that do not name actors."""


def _tell_lives(logs: Logs, page: int, schedule: int | None, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.pages import page_lives
    from ksmactors.analysis.report import show_lives

    lives = page_lives(logs, page, schedule=schedule)
    if as_json:
        echo(json_of({"lives": [asdict(life) for life in lives]}))
    else:
        show_lives(lives, console, color=not console.no_color)


def _tell_text(logs: Logs, wanted: Filter, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.text import readable

    for line in wanted.check(logs):
        notice(line)
    if as_json:
        condition, values = wanted.where()
        _print_array("events", logs.lines(condition, *values))
        return
    for line in readable(logs, wanted, color=not console.no_color and console.is_terminal):
        echo(line)


def _tell_comparison(comparison: Comparison, console: Console, *, as_json: bool) -> None:
    from ksmactors.analysis.report import show_comparison

    if as_json:
        echo(json_of(asdict(comparison)))
    else:
        show_comparison(comparison, console)


def _write_parquet(logs: Logs, directory: Path, *, force: bool, as_json: bool, quiet: bool) -> None:
    from ksmactors.analysis.parquet import write_parquet

    files = [str(file) for file in write_parquet(logs, directory, force=force)]
    if as_json:
        echo(json_of({"events": logs.events, "files": files}))
    elif not quiet:
        for file in files:
            echo(file)


def _print_array(key: str, values: Iterable[Any]) -> None:
    """One JSON object with an array, written as its elements come."""
    echo(f'{{"{key}":[', nl=False)
    separator = ""
    for value in values:
        echo(f"{separator}{json_of(value)}", nl=False)
        separator = ","
    echo("]}")
