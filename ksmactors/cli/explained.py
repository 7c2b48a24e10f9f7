"""`replay --explain`: a schedule as a table with one column an actor; in blocks where that is too narrow."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from ksmactors import plugins
from ksmactors.diagnose.explained import Explained
from ksmactors.diagnose.interleaving import Change, Gap, Interleaving, RowOperation, TurnRow
from ksmactors.diagnose.object_states import Fact
from ksmactors.escaping import escaped
from ksmactors.quantity import quantity
from ksmactors.run.outcome import Verdict

COLUMN_MIN: Final = 22
"""Cells of a column below which actors get blocks of lines instead: most kernel functions still fit."""

COLUMN_MAX: Final = 56
"""Cells of a column; more would only move the columns apart."""

WIDTH_MIN, WIDTH_MAX = 20, 200
"""Cells of a line."""

TEXT_MAX: Final = 160
"""Characters of one text, such as a lock's name, that are shown."""

MET: Final = ">> "
"""Stands before the two steps that met."""

INDENT: Final = 3

NAMELESS: Final = ("place",)
"""Facts that are said without their names."""


def terminal_width() -> int:
    """The width of standard output's terminal, or COLUMNS; 80 without a terminal."""
    return max(WIDTH_MIN, min(shutil.get_terminal_size((80, 24)).columns, WIDTH_MAX))


def print_explained(one: Explained, out: Console) -> None:
    """Print the table, the promise that broke, and what made the difference."""
    bar = "|" if out.options.ascii_only else "\u2502"
    for line in lines(one, out.width, bar):
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


def lines(one: Explained, width: int, bar: str = "|") -> Iterator[Text]:
    """Yield the lines that explain a schedule; none has more than `width` cells."""
    yield from _heading(one, width)
    yield Text()
    yield from table_lines(one.table, width, bar)
    if one.broken:
        yield Text()
        promise = one.outcome.verdict is Verdict.FINDING
        yield from _wrapped("The promise that broke:" if promise else "How it ended:", width, 2, first=0, style="bold")
        for sentence in one.broken:
            yield from _wrapped(sentence, width, 2)
    if one.difference:
        yield Text()
        head, *orders = one.difference
        yield from _wrapped(f"{head[:1].upper()}{head[1:]}", width, 2, first=0, style="bold" if orders else "")
        for order in orders:
            yield from _wrapped(order.strip(), width, 4, first=2)


def _heading(one: Explained, width: int) -> Iterator[Text]:
    table, subject, defect = one.table, one.shown.subject, one.defect
    found = defect.signature if defect is not None else "nothing is found"
    yield from _wrapped(found, width, 2, first=0, style="bold red" if defect is not None else "bold")
    count = quantity(table.departures, "departure")
    of = f", shrunk from {one.shrunk_from:,} ({quantity(one.tried, 'schedule')} tried)" if one.shrunk_from else ""
    size = f"{quantity(table.turns, 'turn')}, {quantity(table.steps, 'step')}"
    sentence = f"{plugins.from_here(subject.name)}, seed {one.shown.seed}: {size}, {count} from the default order{of}"
    yield from _wrapped(sentence, width, 2, first=0)
    for note in one.notes:
        yield from _wrapped(f"note: {note}", width, 2, first=0)
    if table.rows:
        met = f"{MET.strip()} the steps that met; " if any(map(_has_met, table.rows)) else ""
        yield from _wrapped(f"{met}[a lock] held when the turn ends", width, 2, first=0, style="dim")


def _has_met(row: TurnRow | Gap) -> bool:
    return isinstance(row, TurnRow) and any(done.met for done in row.operations)


def table_lines(table: Interleaving, width: int, bar: str = "|") -> Iterator[Text]:
    """Yield the lines of the table alone: in columns if they are wide enough, else in blocks."""
    if not table.actors:
        return
    step = max(4, *(len(str(row.last_step)) for row in table.rows))
    column = min(COLUMN_MAX, (width - step) // len(table.actors) - 3)
    if column >= COLUMN_MIN:
        yield from _ActorColumns(table, width, step, column, bar).lines()
    else:
        yield from _Blocks(table, width, step).lines()


class _Layout(ABC):
    """What both layouts share: gaps, departures and states take the whole width."""

    def __init__(self, table: Interleaving, width: int, step: int) -> None:
        self._table, self._width, self._step = table, width, step
        self._said: dict[str, dict[str, str]] = {}
        """By object, the facts about it that were said last."""

    def lines(self) -> Iterator[Text]:
        """Yield the lines of the table."""
        yield from self._head()
        for row in self._table.rows:
            if isinstance(row, Gap):
                yield from self._gap(row)
                continue
            if row.given_by:
                yield from self._departure(row)
            yield from self._turn(row)
            yield from self._changes(row.changes)
        if self._table.end:
            yield from _wrapped(_short(self._table.end), self._width, 4, first=0, style="bold")

    def _head(self) -> Iterator[Text]:
        yield from ()

    @abstractmethod
    def _turn(self, row: TurnRow) -> Iterator[Text]:
        """One turn."""

    def _gap(self, gap: Gap) -> Iterator[Text]:
        by = ", ".join(map(_short, gap.actors[:6])) + (", ..." if len(gap.actors) > 6 else "")
        steps = f"steps {gap.first_step} to {gap.last_step}"
        sentence = f"... {quantity(gap.turns, 'turn')} by {by}, {steps} ..."
        yield from _wrapped(sentence, self._width, 4, first=0, style="dim")
        yield from self._changes(gap.changes)

    def _departure(self, row: TurnRow) -> Iterator[Text]:
        sentence = f"== departure {row.given_by:,} of {self._table.departures:,}: {_short(row.actor)} gets the turn "
        parts = list(_wrapped(sentence, self._width, 3, first=0, style="bold"))
        parts[-1].append("=" * max(0, self._width - parts[-1].cell_len))
        yield from parts

    def _changes(self, changes: Sequence[Change]) -> Iterator[Text]:
        for change in changes:
            said = self._said.setdefault(change.object, {})
            if all(fact.before == fact.after == said.get(fact.name) for fact in change.facts):
                continue
            said.update({fact.name: fact.after for fact in change.facts})
            facts = ", ".join(map(_fact, change.facts))
            yield from _wrapped(f"{_short(change.object)}: {facts}", self._width, self._step + 4, first=self._step + 2)


class _ActorColumns(_Layout):
    """One column an actor, and the step in front."""

    def __init__(self, table: Interleaving, width: int, step: int, column: int, bar: str) -> None:
        super().__init__(table, width, step)
        self._column, self._bar = column, bar

    @override
    def _head(self) -> Iterator[Text]:
        names = [list(_wrapped(_short(name), self._column, 0, style="bold")) for name in self._table.actors]
        yield from self._beside([Text("step", style="dim")], names)
        rule = "-" * self._column
        yield from self._beside([Text("-" * self._step)], [[Text(rule)] for _ in names])

    @override
    def _turn(self, row: TurnRow) -> Iterator[Text]:
        cells = []
        for name in self._table.actors:
            cell = list(_operation_lines(row, self._column)) if name == row.actor else []
            cell += _held_lines(row.held.get(name, ()), self._column)
            cells.append(cell)
        yield from self._beside([Text(str(row.first_step), style="dim")], cells)

    def _beside(self, step: Sequence[Text], cells: Sequence[Sequence[Text]]) -> Iterator[Text]:
        for first, *others in zip_longest(step, *cells):
            line = Text().append_text(_padded(first, self._step))
            for other in others:
                line.append(f" {self._bar} ", style="dim")
                line.append_text(_padded(other, self._column))
            line.rstrip()
            yield line


class _Blocks(_Layout):
    """The turns below each other, each with the name of its actor."""

    @override
    def _turn(self, row: TurnRow) -> Iterator[Text]:
        head = f"{_short(row.actor)}, step {row.first_step}"
        yield from _wrapped(head, self._width, 4, first=0, style="bold")
        for line in _operation_lines(row, self._width - INDENT):
            yield Text(" " * INDENT).append_text(line)
        for name, locks in row.held.items():
            held = f"[{_short(name)} holds {', '.join(map(_short, locks))}]"
            yield from _wrapped(held, self._width, INDENT + 1, first=INDENT, style="dim")


def _operation_lines(row: TurnRow, width: int) -> Iterator[Text]:
    """What a turn does: kernel functions, below each its operations; then why the turn passes on."""
    before = None
    if row.left_out:
        yield from _wrapped(f"({quantity(row.left_out, 'other operation')})", width, 1, first=0, style="dim")
    for done in row.operations:
        if done.function and done.function != before:
            yield from _wrapped(f"{_short(done.function)}:", width, 2, first=0)
        before = done.function
        yield from _one_operation(done, width)
    if row.end:
        yield from _wrapped(_short(row.end), width, 2, first=0, style="bold" if row.departure or row.found else "")


def _one_operation(done: RowOperation, width: int) -> Iterator[Text]:
    text = f"{MET if done.met else ''}{_short(done.operation)}"
    yield from _wrapped(text, width, INDENT + 1, first=0 if done.met else INDENT, style="bold" if done.marks else "")
    if done.marks:
        yield from _wrapped(f"({', '.join(done.marks)}: step {done.step})", width, INDENT + 1, first=INDENT)


def _held_lines(locks: Sequence[str], width: int) -> Iterator[Text]:
    for lock in locks:
        yield from _wrapped(f"[{_short(lock)}]", width, 1, first=0, style="dim")


def _fact(fact: Fact) -> str:
    name = "" if fact.name in NAMELESS else f"{fact.name} "
    before, after = fact.before, fact.after
    said = after or "no more" if before in ("", after) else f"{before} -> {after or 'no more'}"
    return f"{name}{_short(said)}"


def _short(text: str) -> str:
    text = escaped(text)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."


def _padded(text: Text | None, width: int) -> Text:
    """A text of exactly so many cells."""
    padded = Text() if text is None else text.copy()
    padded.append(" " * (width - padded.cell_len))
    return padded


def _wrapped(text: str, width: int, indent: int, *, first: int | None = None, style: str = "") -> Iterator[Text]:
    """Lines of at most `width` cells: the first is indented by `first`, the others by `indent`. A word that does not
    fit is cut: at a slash, an underscore or a space if there is one near, else anywhere."""
    indent = min(indent, width // 2)
    start = indent if first is None else min(first, width // 2)
    for part in _parts(escaped(text), width - start, width - indent):
        yield Text(" " * start).append(part, style=style)
        start = indent


def _parts(text: str, first: int, others: int) -> Iterator[str]:
    room = first
    while cell_len(text) > room:
        end = _fitting(text, room)
        cut = max(text.rfind(" ", 1, end + 1), 0)
        if not cut:
            cut = 1 + max(text.rfind(mark, end // 2, end) for mark in "/_") or end
        yield text[:cut].rstrip()
        text, room = text[cut:].lstrip(), others
    yield text


def _fitting(text: str, room: int) -> int:
    """How many characters of a text fit into so many cells; at least one."""
    cells = 0
    for place, character in enumerate(text):
        cells += cell_len(character)
        if cells > room:
            return max(place, 1)
    return len(text)
