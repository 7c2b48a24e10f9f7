"""How far a campaign or an exploration is, while it is under way: a table on a terminal, else a line a minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import wrap
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ksmactors import plugins
from ksmactors.aside import stderr
from ksmactors.campaign.dealing import Interleavings, Share
from ksmactors.campaign.stress import Campaign
from ksmactors.campaign.summary import RACES, Found, Summary
from ksmactors.cli.live import can_paint, live_lines
from ksmactors.cli.report import COMMAND
from ksmactors.cli.screen import LINE_SECONDS, console, notice
from ksmactors.escaping import escaped
from ksmactors.quantity import quantity
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.subject import Subject
from ksmactors.workload import Workload

if TYPE_CHECKING:
    from rich.console import RenderableType

SNAPSHOT_SECONDS: Final = 0.4
"""Seconds for which a snapshot is current."""

WINDOW_SECONDS: Final = 20.0
"""Seconds over which rates are taken."""

FINDINGS_SHOWN: Final = 3
"""Findings in the table: the latest. All are printed above it."""

TEXT_LINES: Final = 2
"""Lines of the table for a list of names."""

FIXED_LINES: Final = 3 + FINDINGS_SHOWN + 2 * TEXT_LINES
"""Lines of the table beside those of workloads, at most."""


@dataclass(slots=True)
class WorkloadRow:
    """A workload in the table."""

    name: str
    schedules: int = 0
    findings: int = 0
    rate: float = 0.0
    seen: Interleavings = field(default_factory=lambda: Interleavings([Share()]))

    @property
    def unseen(self) -> float:
        """An estimate of the probability that its next schedule is a new interleaving."""
        (share,) = self.seen.by_strategy
        return share.once / share.schedules if share.schedules else 1.0


class Snapshot(NamedTuple):
    """What is shown: plain data, since another thread shows it.

    Attributes:
        rows: name, schedules, schedules a second, the estimate of the unseen, findings; of each workload.
        done, asked: schedules; `asked` is None if there is no number.
        rate: schedules a second.
        left: what is known of the rest of an exploration, or empty.
        findings: signatures, the latest last, each with how many schedules had it.
        marks, races: what was never reached, of so many in `marks_asked` and `kinds`.
    """

    rows: tuple[tuple[str, int, float, float, int], ...]
    done: int
    asked: int | None
    rate: float
    distinct: int
    unseen: float
    left: str
    findings: tuple[tuple[str, int], ...]
    marks: tuple[str, ...]
    races: tuple[str, ...]
    marks_asked: int
    kinds: int


class Watched:
    """A campaign that is watched: counts by workload, and snapshots of it.

    Args:
        campaign: where the counts come from.
        asked: how many schedules there are to be; None: it is not known.
        left: says what is known of the rest.
        deadline: when it ends, of `clock`.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        campaign: Campaign,
        asked: int | None,
        *,
        left: Callable[[], str] = lambda: "",
        deadline: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.clock, self.asked, self.deadline = clock, asked, deadline
        self.began = clock()
        self._campaign, self._left = campaign, left
        subjects: Sequence[Subject] = campaign.plan.subjects
        self._rows = {subject.name: WorkloadRow(escaped(plugins.from_here(subject.name))) for subject in subjects}
        self._emulated = any(isinstance(subject.workload, Workload) for subject in subjects)
        self._marks = sum(len(subject.workload.expect_marks) for subject in subjects)
        self._samples: deque[tuple[float, list[int]]] = deque([(self.began, [0] * len(self._rows))])
        self.snapshot = self._snapshot(campaign.tally)
        self._taken_at = self.began

    def take(self, outcome: Outcome) -> None:
        """Count a schedule that was run."""
        row = self._rows[outcome.workload]
        row.schedules += 1
        row.findings += outcome.verdict is Verdict.FINDING
        row.seen.note(0, outcome.shape)

    def update(self, tally: Summary) -> None:
        """Take a snapshot, unless the last one is current."""
        now = self.clock()
        if now - self._taken_at >= SNAPSHOT_SECONDS:
            self._taken_at = now
            self._count_rates(now)
            self.snapshot = self._snapshot(tally)

    def _count_rates(self, now: float) -> None:
        rows = list(self._rows.values())
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        self._samples.append((now, [row.schedules for row in rows]))
        for row, count in zip(rows, before, strict=True):
            row.rate = (row.schedules - count) / (now - then)

    def _snapshot(self, tally: Summary) -> Snapshot:
        rows = self._rows.values()
        return Snapshot(
            tuple((row.name, row.schedules, row.rate, row.unseen, row.findings) for row in rows),
            tally.schedules, self.asked, sum(row.rate for row in rows), tally.distinct, tally.unseen, self._left(),
            tuple((signature, found.count) for signature, found in tally.found.items()),
            tuple(tally.never_reached(self._campaign.plan.subjects)),
            tuple(tally.races_never_met) if self._emulated else (), self._marks, len(RACES),
        )  # fmt: skip

    def line(self) -> str:
        """The snapshot in one line."""
        now = self.snapshot
        done, findings = quantity(now.done, "schedule"), quantity(len(now.findings), "finding")
        if now.asked is not None:
            done = f"{now.done:,} of {quantity(now.asked, 'schedule')}"
        parts = [done, f"{rate_text(now.rate)} a second", findings, f"unseen {now.unseen:.1%}"]
        return f"{self.elapsed()}: {', '.join(parts + [now.left] * bool(now.left))}"

    def elapsed(self) -> str:
        """The time since it began."""
        return hours(self.clock() - self.began)

    def time_left(self) -> str:
        """An estimate of the time that it takes yet; empty if there is none."""
        now, seconds = self.snapshot, list[float]()
        if now.asked is not None and now.rate > 0:
            seconds.append((now.asked - now.done) / now.rate)
        if self.deadline is not None:
            seconds.append(max(0.0, self.deadline - self.clock()))
        return hours(min(seconds)) if seconds else ""


def rate_text(rate: float) -> str:
    """A rate with as many digits as say something."""
    return f"{rate:,.1f}" if rate >= 10 else f"{rate:.2f}"


def hours(seconds: float) -> str:
    """A time as h:mm:ss; beyond a year it is only said that it is."""
    if seconds >= 365 * 86_400:
        return "over a year"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


# -- on a terminal ----------------------------------------------------------------------------------------------------


def table_lines(watched: Watched, width: int, height: int) -> list[RenderableType]:
    """The table for a terminal of so many columns and lines. Each is cut to its width; none is folded."""
    from rich.text import Text

    now = watched.snapshot
    lines: list[RenderableType] = [Text(_headline(watched), style="bold")]
    lines += _workloads(now, max(1, height - FIXED_LINES))
    chance = f"{now.distinct:,} distinct; unseen {now.unseen:.1%}, the chance that one more is new"
    lines.append(Text(now.left or chance))
    found = quantity(len(now.findings), "finding") if now.findings else "no finding"
    lines.append(Text(found, style="bold red" if now.findings else ""))
    for signature, count in now.findings[-FINDINGS_SHOWN:]:
        lines.append(Text(f"  {count:,} x {escaped(signature)}", style="red"))
    for what, names, of in (("marks", now.marks, now.marks_asked), ("kinds of race", now.races, now.kinds)):
        lines += map(Text, _never(what, names, of, width))
    return lines


def _headline(watched: Watched) -> str:
    now = watched.snapshot
    share = f" of {now.asked:,} ({now.done / now.asked:.0%})" if now.asked else " schedules"
    left = watched.time_left()
    about = f", {left} left" if left else ""
    return f"{now.done:,}{share}, {rate_text(now.rate)} a second, {watched.elapsed()}{about}"


def _workloads(now: Snapshot, rows_max: int) -> list[RenderableType]:
    """The workloads that fit; those with findings first if not all do."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    titles = ("schedules", "a second", "findings") if now.left else ("schedules", "a second", "findings", "unseen")
    for _ in titles:
        table.add_column(justify="right", no_wrap=True)
    table.add_row("workload", *titles, style="dim")
    rows = list(now.rows)
    if len(rows) > rows_max:
        rows = sorted(rows, key=lambda row: (-bool(row[4]), -row[2], row[0]))[: rows_max - 1]
    for name, schedules, rate, unseen, findings in rows:
        cells = f"{schedules:,}", rate_text(rate), f"{findings:,}", f"{unseen:.1%}" if schedules else "-"
        table.add_row(name, *cells[: len(titles)])
    more = len(now.rows) - len(rows)
    return [table, f"and {more:,} more workloads"] if more else [table]


def _never(what: str, names: Sequence[str], of: int, width: int) -> list[str]:
    """What was never reached, in TEXT_LINES lines at most."""
    if not names:
        return []
    text = f"never reached: {len(names):,} of {of:,} {what}: {', '.join(name.removeprefix('race.') for name in names)}"
    return wrap(escaped(text), max(width, 10), max_lines=TEXT_LINES, placeholder=" ...", subsequent_indent="  ")


def found_lines(found: Found) -> list[str]:
    """A finding as it comes: what, where it is kept, and the command that replays it."""
    defect = found.outcome.defect
    assert defect is not None
    line = escaped(f"{defect.signature}, seed {found.outcome.seed}: {found.file or found.problem}")
    return [line, escaped(f"  {COMMAND}{found.replay}")] if found.replay else [line]


@contextmanager
def progress(
    campaign: Campaign, watched: Watched, *, as_json: bool, quiet: bool, color: str, log: str | None = None
) -> Iterator[None]:
    """Show how far a campaign is for a block: on a terminal a table, else a line every LINE_SECONDS; and each finding
    as it comes. `log` is as on the command line."""
    if quiet:
        yield
        return
    out = console(stderr(), color)
    campaign.on_taken = watched.take
    if as_json or not can_paint(out, log):
        campaign.on_found = lambda found: out.print("\n".join(found_lines(found)), soft_wrap=True)
        campaign.on_schedule = _plain(watched)
        yield
        return
    campaign.on_schedule = watched.update
    with live_lines(out, lambda width, height: table_lines(watched, width, height)) as lines:
        campaign.on_found = lambda found: lines.print("\n".join(found_lines(found)))
        yield


def _plain(watched: Watched) -> Callable[[Summary], None]:
    """Return what prints a line now and then."""
    printed_at = watched.began

    def consider(tally: Summary) -> None:
        nonlocal printed_at
        watched.update(tally)
        now = watched.clock()
        if now - printed_at >= LINE_SECONDS:
            printed_at = now
            notice(watched.line())

    return consider
