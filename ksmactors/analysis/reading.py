"""Logs as they are found: missing, empty, cut off, mixed with other output. What cannot be read is said, line by line.

A line is looked at before DuckDB sees it, since DuckDB stops at a bad line, or skips it without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Final

import orjson

STDIN: Final = "-"

SAID: Final = 10
"""Lost lines of one file that are described singly; the rest is counted."""

NOTHING: Final = b"{}\n"
"""What stands for a lost line, so that the others keep their numbers."""

_KEYS: Final = ("event", "run", "seed", "schedule", "step", "now", "actor", "cpu", "node")
_TYPES: Final = (str, str, int, int, int, int, str, int, int)
_head: Final = itemgetter(*_KEYS)


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that could not be read. `line` counts from 1 and is 0 for the whole file; `size` is in bytes."""

    file: str
    line: int
    size: int
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LogFile:
    """What one log holds: lines that are events, lines (and bytes) that are lost. `read` is False if all of it is."""

    path: str
    read: bool
    events: int
    lines_lost: int
    bytes_lost: int


class _Sieve:
    """Tells events from what is none, line after line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.losses: list[Loss] = []
        self.events = self.lines_lost = self.bytes_lost = 0
        self.whole = True

    def sift(self, lines: Iterable[bytes], good: BinaryIO | None) -> None:
        """Count the events in `lines` and write them to `good`, with `NOTHING` in the place of what is lost."""
        for number, line in enumerate(lines, 1):
            reason = _what_is_wrong(line)
            if reason is None:
                self.events += 1
            else:
                self.whole = False
                if line.strip():
                    self._lose(number, len(line), reason)
            if good is not None:
                good.write(NOTHING if reason is not None else line)

    def _lose(self, number: int, size: int, reason: str) -> None:
        self.lines_lost += 1
        self.bytes_lost += size
        if self.lines_lost <= SAID:
            self.losses.append(Loss(self.path, number, size, reason))

    def result(self) -> tuple[LogFile, list[Loss]]:
        more = self.lines_lost - SAID
        if not self.lines_lost and not self.events:
            self.losses = [Loss(self.path, 0, 0, "is empty")]
        elif not self.events:
            first = self.losses[0]
            why = f"has no event in it, is it a log of ksmactors? line {first.line} is {first.reason}"
            self.losses = [Loss(self.path, 0, self.bytes_lost, why)]
        elif more > 0:
            self.losses.append(Loss(self.path, 0, 0, f"{more} more lines are lost, {self.bytes_lost} bytes in all"))
        readable = self.events > 0 or not self.lines_lost
        return LogFile(self.path, readable, self.events, self.lines_lost, self.bytes_lost), self.losses


def _what_is_wrong(line: bytes) -> str | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.endswith(b"\n"):
            return f"cut off in the middle: the last event is lost, {len(line)} bytes of it are there"
        return f"no JSON, {len(line)} bytes are lost: {_beginning(line)} ({error.msg.partition(':')[0]})"
    try:
        if tuple(map(type, _head(event))) == _TYPES:
            return None
    except (KeyError, TypeError):
        pass
    if not isinstance(event, dict):
        return f"no event, {len(line)} bytes are lost: {_beginning(line)}"
    wrong = next(key for key, type_ in zip(_KEYS, _TYPES, strict=True) if type(event.get(key)) is not type_)
    return f"no event, {len(line)} bytes are lost: it has no proper {wrong!r}: {_beginning(line)}"


def _beginning(line: bytes) -> str:
    text = line[:40].decode(errors="replace").strip()
    return repr(text + "..." if len(line) > 40 else text)


def read_log(path: str, clean: Path) -> tuple[LogFile, list[Loss]]:
    """Make `clean` a file, or a link to one, whose lines are the events of the log at `path`, or `NOTHING`.

    Standard input (`-`) and pipes are copied, and so is a file with anything else in it; a sound one is linked to.
    """
    sieve = _Sieve(path)
    try:
        if path == STDIN:
            with clean.open("wb") as good:
                sieve.sift(sys.stdin.buffer, good)
        elif not Path(path).is_file():
            with Path(path).open("rb") as lines, clean.open("wb") as good:
                sieve.sift(lines, good)
        else:
            with Path(path).open("rb") as lines:
                sieve.sift(lines, None)
            if not sieve.whole:
                with Path(path).open("rb") as lines, clean.open("wb") as good:
                    _Sieve(path).sift(lines, good)
            else:
                clean.symlink_to(Path(path).absolute())
    except OSError as error:
        clean.unlink(missing_ok=True)
        return LogFile(path, False, 0, 0, 0), [Loss(path, 0, 0, f"cannot be read: {error.strerror}")]
    return sieve.result()
