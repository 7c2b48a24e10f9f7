"""The report on logs: as one JSON object, and as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from ksmactors.analysis import questions as ask
from ksmactors.analysis.reading import LogFile, Loss
from ksmactors.analysis.store import Logs
from ksmactors.errors import UsageError, unknown
from ksmactors.escaping import escaped
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from rich.console import Console

    from ksmactors.analysis.compare import Comparison
    from ksmactors.analysis.pages import Life
    from ksmactors.analysis.store import Line

MANY_ROWS: Final = 1_000
"""Rows of a query's result from which on they are printed without rich."""

ROWS: Final = 15
"""Rows of a table on the terminal; --json has them all."""


@dataclass(frozen=True, slots=True)
class Report:
    """The answers to all queries. Its fields are the keys of `analyze --json`."""

    events: int
    logs: list[LogFile]
    lost: list[Loss]
    runs: list[ask.Run]
    findings: list[ask.LoggedFinding]
    races: list[ask.RaceCount]
    race_places: list[ask.RacePlace]
    race_pairs: list[ask.RacePair]
    lock_kinds: list[ask.LockKind]
    contention: list[ask.Contention]
    nodes: list[ask.NodeActivity]
    trees: list[ask.TreeActivity]
    actors: list[ask.ActorActivity]

    @classmethod
    def of(cls, logs: Logs, actors: Sequence[str] = ()) -> Self:
        """Run all queries."""
        report = cls(
            logs.events, logs.files, logs.losses, ask.runs(logs), ask.findings(logs), ask.races(logs),
            ask.race_places(logs), ask.race_pairs(logs), ask.lock_kinds(logs), ask.contention(logs),
            ask.nodes(logs), ask.trees(logs), ask.actors(logs),
        )  # fmt: skip
        if not actors:
            return report
        known = [row.actor for row in report.actors]
        for actor in actors:
            if actor not in known:
                raise UsageError(unknown("actor", actor, sorted(known)))
        return replace(
            report,
            race_pairs=[pair for pair in report.race_pairs if {pair.winner, pair.loser} & set(actors)],
            contention=[wait for wait in report.contention if {wait.waiter, wait.holder} & set(actors)],
            actors=[row for row in report.actors if row.actor in actors],
        )


_TABLES: Final = ("races", "race_places", "race_pairs", "lock_kinds", "contention", "nodes", "trees", "actors")
"""Answers that are tables, in the order in which they are printed."""


def show(report: Report, console: Console, *, quiet: bool = False, only: Sequence[str] = ()) -> None:
    """Print a report as tables; empty answers are left out. `quiet`: only the findings."""
    if only:
        empty: dict[str, Any] = {name: [] for name in _TABLES if name not in only}
        _tables(replace(report, **empty), console)
        return
    if quiet:
        if report.findings:
            _findings(report.findings, console)
        return
    _runs(report.runs, console)
    _findings(report.findings, console)
    _tables(report, console)


def _tables(report: Report, console: Console) -> None:
    short = _without_prefix
    _table(
        console, "Races that the protocol handled",
        ("kind", "times", "schedules", "retries", "lost merges", "exiled", "first at"),
        [
            (short(race.kind), race.count, race.schedules, race.retries, race.lost_merges, race.pages_exiled,
             f"{race.file}:{race.line}")
            for race in report.races
        ],
    )  # fmt: skip
    _table(
        console, "Where they happened", ("kind", "tree", "of node", "page on node", "times"),
        [
            (short(place.kind), place.tree, _known(place.tree_nid), _known(place.page_nid), place.count)
            for place in sorted(report.race_places, key=_count, reverse=True)
        ],
    )  # fmt: skip
    _table(
        console, "Who won against whom", ("kind", "winner", "loser", "times"),
        [
            (short(pair.kind), pair.winner, pair.loser, pair.count)
            for pair in sorted(report.race_pairs, key=_count, reverse=True)
        ],
    )  # fmt: skip
    detailed = any(lock.held is not None for lock in report.lock_kinds)
    _table(
        console, "Locks" if detailed else "Locks found taken",
        ("kind of lock", "found taken", "locks", "waiting actors", *(("waited, ns", "held, ns") if detailed else ())),
        [
            (lock.kind, lock.waits, lock.locks, lock.waiters, *((lock.waited, lock.held) if detailed else ()))
            for lock in report.lock_kinds
        ],
    )  # fmt: skip
    _table(
        console, "Who waited for whom", ("lock", "waiting", "holding", "times"),
        [(wait.lock, wait.waiter, wait.holder, wait.waits) for wait in report.contention],
    )  # fmt: skip
    _table(
        console, "Pages of each node",
        ("node", "first touch", "copied (COW)", "made KSM", "merged", "moved in", "moved out", "not moved", "freed"),
        [
            (_known(node.nid), node.first_touches, node.cow_copies, node.ksm_pages, node.merged, node.migrated_in,
             node.migrated_out, node.migrations_failed, node.freed)
            for node in report.nodes
        ],
    )  # fmt: skip
    _table(
        console, "Trees of each node",
        ("node", "unstable inserts", "stable inserts", "misplaced", "re-slotted", "collided"),
        [
            (tree.tree_nid, tree.unstable_inserts, tree.stable_inserts, tree.misplaced, tree.reslotted, tree.collided)
            for tree in report.trees
        ],
    )  # fmt: skip
    _table(
        console, "Actors", ("actor", "events", "races won", "races lost", "locks found taken"),
        [(actor.actor, actor.events, actor.won, actor.lost, actor.waits) for actor in report.actors],
    )  # fmt: skip


def _runs(runs: Sequence[ask.Run], console: Console) -> None:
    logs = len({run.file for run in runs})
    columns = ("log", "workload", "kernel", "nodes", "strategy", "schedules", "steps", "verdicts")
    rows = [
        (run.file, run.workload, run.kernel, run.nodes, run.strategy, run.schedules, run.steps,
         ", ".join(f"{verdict} {count}" for verdict, count in run.verdicts.items()))
        for run in runs
    ]  # fmt: skip
    first = 1 if logs == 1 else 0  # a single log needs no name
    _table(console, "Runs", columns[first:], [row[first:] for row in rows])


def _findings(findings: Sequence[ask.LoggedFinding], console: Console) -> None:
    if not findings:
        console.print("Findings: none\n", markup=False)
    for found in findings:
        times = quantity(found.schedules, "schedule")
        where = f"{escaped(found.file)}:{found.line}, seed {found.seed}, schedule {found.schedule}, step {found.step}"
        said = f"Finding {escaped(found.signature)} in {times}, first at {where}"
        console.print(said, style="bold red", markup=False, soft_wrap=True)
        console.print(f"  {escaped(found.message)}\n", markup=False, soft_wrap=True)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], console: Console) -> None:
    """Print rows of a query's result; of `SELECT *`, only columns that have a value somewhere in them."""
    kept = [index for index in range(len(columns)) if any(row[index] is not None for row in rows)]
    shown = [[row[index] for index in kept] for row in rows]
    if len(rows) >= MANY_ROWS:
        _print_columns(console, [columns[index] for index in kept], shown)
    elif rows:
        _table(console, "", [columns[index] for index in kept], shown, limit=len(shown))
    left_out = [escaped(name) for index, name in enumerate(columns) if index not in kept]
    if left_out:
        what = "NULL in every row" if rows else "no rows"
        console.print(f"  {what}: {', '.join(left_out)}", markup=False, highlight=False, soft_wrap=True)


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Print where two logs part, and what is counted differently."""
    _table(
        console, "Set differently", ("what", "<", ">"),
        [(setting.what, setting.one, setting.other) for setting in comparison.settings],
    )  # fmt: skip
    if comparison.without_detail:
        console.print("Only one side has events of detail: they are left out.\n", markup=False)
    difference = comparison.difference
    if difference is None:
        console.print("The logs have the same events.\n", markup=False)
    else:
        console.print(f"The first event that differs is number {difference.index:,}:", style="bold", markup=False)
        shown = [*((" ", line) for line in difference.before), ("<", difference.one), (">", difference.other)]
        for mark, line in shown:
            text = "the log has ended" if line is None else _as_text(line)
            console.out(f"{mark} {text}", highlight=False)
        console.print()
    one, other = comparison.schedules
    how = "each with the one of its seed" if comparison.paired else "all of one log with all of the other"
    if (one, other) == (1, 1):
        how = "too few to call a difference significant"
    console.print(
        f"{one:,} against {quantity(other, 'schedule')}, {how}\n", markup=False, highlight=False, soft_wrap=True
    )
    _table(
        console, "Counts a schedule", ("what", "<", ">", "p", "*"),
        [
            (count.what, f"{count.one:,g}", f"{count.other:,g}", _probability(count.p), "*" if count.differs else "")
            for count in sorted(comparison.counts, key=lambda count: (count.p is None, count.p, count.what))
            if count.one != count.other
        ],
    )  # fmt: skip


def _as_text(line: Line) -> str:
    from ksmactors.events.terminal import PersonForm

    where = f"{escaped(str(line['run']))}, seed {line['seed']}, schedule {line['schedule']}: "
    return where + PersonForm().line(str(line["level"] or "info"), line)


def _probability(p: float | None) -> str:
    return "-" if p is None else f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def show_lives(lives: Sequence[Life], console: Console, *, color: bool) -> None:
    """Print the histories of pages as their log lines."""
    from ksmactors.events.terminal import PersonForm

    form = PersonForm(color=color)
    for number, life in enumerate(lives, 1):
        frames = " -> ".join(map(str, life.frames))
        end = "freed" if life.ended else "alive where the log ends"
        title = f"Life {number} of {len(lives)}: seed {life.seed}, schedule {life.schedule}, frames {frames}; {end}"
        console.print(title, style="bold", markup=False, soft_wrap=True)
        for event in life.events:
            shown = {
                key: escaped(value) if isinstance(value, str) else value
                for key, value in event.items()
                if key != "line"
            }
            console.out(form.line(str(event["level"]), shown), highlight=False)


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]],
    *, limit: int = ROWS,
) -> None:  # fmt: skip
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        return
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.show_edge = table.pad_edge = False
    for index, column in enumerate(map(escaped, columns)):
        number = any(isinstance(row[index], int) and not isinstance(row[index], bool) for row in rows)
        table.add_column(Text(column), justify="right" if number else "left", overflow="fold")
    for row in rows[:limit]:
        table.add_row(*(Text("-" if value is None else escaped(str(value))) for value in row))
    console.print(table)
    console.print()
    if len(rows) > limit:
        console.print(f"  and {len(rows) - limit} more rows: --json has them all\n", markup=False, highlight=False)


def _print_columns(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table without rich, which takes seconds for thousands of cells; columns are as wide as their widest
    cell."""
    cells = [["-" if value is None else escaped(str(value)) for value in row] for row in rows]
    lines = [[escaped(column) for column in columns], *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        console.file.write(f"{text.rstrip()}\n")


def _without_prefix(kind: str) -> str:
    return kind.removeprefix("race.")


def _known(nid: int) -> int | None:
    return nid if nid >= 0 else None


def _count(answer: ask.RacePlace | ask.RacePair) -> int:
    return answer.count
