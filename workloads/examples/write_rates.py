"""Write rates of guests from a trace file.

The file is CSV in UTF-8 with the heading `second,guest,pages_per_second`. A row says that from this second on the guest
writes so many pages a second, until its next row. Rows are in order of time. The trace ends one second after its last
row. Lines that are empty or start with # are skipped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ksmactors.workload import UsageError, read_text

HEADING: Final = ["second", "guest", "pages_per_second"]

BYTES_MAX: Final = 16 << 20
GUESTS_MAX: Final = 64
SECONDS_MAX: Final = 1_000_000
RATE_MAX: Final = 1_000_000
WRITES_MAX: Final = 100_000
"""Writes of all guests together: a schedule with more takes minutes."""

_GUEST: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


@dataclass(slots=True)
class GuestRates:
    """What a guest writes: (from which second, pages a second), in order of time."""

    changes: list[tuple[int, int]] = field(default_factory=list)

    def stretches(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of one rate up to the second `end`: how many seconds, and pages a second."""
        start, rate = 0, 0
        for second, following in (*self.changes, (end, 0)):
            if second > start:
                yield second - start, rate
            start, rate = second, following


@dataclass(frozen=True, slots=True)
class WriteTrace:
    """A trace: its guests by name, in order of appearance, and the second at which it ends."""

    guests: dict[str, GuestRates]
    end: int


def read_trace(path: Path) -> WriteTrace:
    """Read a trace.

    Raises:
        UsageError: it cannot be read, or a row will not do. The message has the number of its line.
    """
    text = read_text(path, BYTES_MAX, "trace").removeprefix("\ufeff")
    guests: dict[str, GuestRates] = {}
    last = -1
    for number, row in _rows(text, path):
        where = f"trace {path}, line {number}"
        second, guest, rate = _parsed(row, where)
        if second < last:
            raise UsageError(f"{where}: second {second} comes after second {last}; sort the rows by time")
        rates = guests.setdefault(guest, GuestRates())
        if rates.changes and rates.changes[-1][0] == second:
            raise UsageError(f"{where}: a second row for guest {guest} at second {second}")
        if len(guests) > GUESTS_MAX:
            raise UsageError(f"{where}: guest {guest} is one too many; at most {GUESTS_MAX} are allowed")
        rates.changes.append((second, rate))
        last = second
    if not guests:
        raise UsageError(f"trace {path}: there is no row below the heading")
    trace = WriteTrace(guests, last + 1)
    writes = sum(seconds * rate for one in guests.values() for seconds, rate in one.stretches(trace.end))
    if writes > WRITES_MAX:
        raise UsageError(f"trace {path}: {writes:,} writes; at most {WRITES_MAX:,} are allowed, take a shorter part")
    return trace


def _rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the heading, each with the number of its line, from 1."""
    heading: list[str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            (row,) = csv.reader([line.removesuffix("\r")], strict=True)
        except (csv.Error, ValueError) as error:
            raise UsageError(f"trace {path}, line {number}: not CSV ({error})") from None
        row = [cell.strip() for cell in row]
        if heading is not None:
            yield number, row
        elif row != HEADING:
            raise UsageError(f"trace {path}, line {number}: the heading must be {','.join(HEADING)}, not {line[:80]!r}")
        heading = HEADING


def _parsed(row: list[str], where: str) -> tuple[int, str, int]:
    if len(row) != len(HEADING):
        raise UsageError(f"{where}: {len(row)} cells; each row has {len(HEADING)} ({', '.join(HEADING)})")
    if not _GUEST.fullmatch(row[1]):
        raise UsageError(f"{where}: guest {row[1][:80]!r}: a name has letters, digits, `_`, `.` and `-`, 64 at most")
    return _number(row[0], "second", SECONDS_MAX, where), row[1], _number(row[2], HEADING[2], RATE_MAX, where)


def _number(text: str, column: str, most: int, where: str) -> int:
    """A whole number from 0 to `most`."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise UsageError(f"{where}: {column} must be a whole number from 0 to {most}, not {text[:80]!r}")
    return int(text)
