"""Read logs that may be missing, empty, cut off, or mixed with other output. Unreadable lines are reported one by one.

Each line is checked before DuckDB gets it, since DuckDB stops at a bad line or skips it silently. DuckDB gets only
fields of the catalogue, each once, with values of their types.

A log without a whole event is unreadable; of any other log the events are read, and the losses are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from operator import itemgetter
from typing import Any, Final, Protocol

import orjson
from typing_extensions import override

from ksmactors.analysis.forms import Forms
from ksmactors.analysis.opening import Lines, Unreadable, opened
from ksmactors.escaping import escaped, quoted
from ksmactors.events.catalogue import CATALOGUE, Field
from ksmactors.quantity import quantity

SAID: Final = 10
"""Lost lines of one file that are described singly; the rest is counted."""

LINE_MAX: Final = 1 << 20
"""Bytes of a line that can be an event; a longer one is lost."""

EMPTY_MAX: Final = 1 << 20
"""Lines without an event after which reading stops: a few hundred bytes of gzip can hold millions."""

SKIPPED_MAX: Final = 1 << 30
"""Bytes of a line that are skipped to find its end. A longer line may have no end."""

SHAPES_MAX: Final = 4_096
"""Combinations of keys and types of one log that are kept. Logs of ksmactors have fewer than there are events."""

VERSION_SHOWN: Final = 40
"""Characters of a version that are shown."""

_KEYS: Final = ("event", "run", "seed", "schedule", "step", "now", "actor", "cpu", "node")
_KINDS: Final = (str, str, int, int, int, int, str, int, int)

_NEEDED: Final = (*_KEYS, "watcher", "kind", "signature", "message")
"""The fields that a finding event must have."""

_INT_END: Final = 1 << 63

_TYPES: Final[dict[str, type]] = {"int": int, "bool": bool, "str": str, "str|null": str}

FIELDS: Final[dict[str, type]] = {
    "level": str,
    "timestamp": str,
    **{field.name: _TYPES[field.type] for event in CATALOGUE for field in event.fields},
    **dict(zip(_KEYS, _KINDS, strict=True)),
}
"""The type of each field that is kept."""


def know_fields(fields: Iterable[Field]) -> None:
    """Have further fields read."""
    FIELDS.update({field.name: _TYPES[field.type] for field in fields})


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that could not be read. `line` counts from 1 and is 0 for the whole file; `size` is in bytes."""

    file: str
    line: int
    size: int
    reason: str

    @override
    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LogFile:
    """The content of one log: number of event lines, number of lost lines and bytes. `read`: it has an event."""

    path: str
    read: bool
    events: int
    lines_lost: int
    bytes_lost: int


class EventSource(Protocol):
    """Reads one log: iterate over `events` or `blocks`, then ask for the `result`.

    Attributes:
        consumed: bytes of the file that were read so far.
        size: bytes of the file; None if that is not known, as of a pipe.
    """

    consumed: int
    size: int | None

    def blocks(self) -> Iterator[bytes]:
        """Yield the events, many at once, as `events` has them."""
        ...

    def events(self) -> Iterator[bytes]:
        """Yield the events as JSON lines, each with the number of its line, from 1, as its first key."""
        ...

    def result(self) -> tuple[LogFile, list[Loss]]:
        """Return what was read, and what was lost."""
        ...


class Sieve(Protocol):
    """Decides which lines are events. `remarks` are said once the log has been read."""

    def sifted(self, line: bytes) -> bytes | str:
        """The known fields of the event in a line, as JSON with a newline, or what is wrong with the line."""
        ...

    def remarks(self) -> list[str]: ...


class LogReader:
    """Reads one log of JSON lines.

    Args:
        path: the log, `-` is standard input.
        sieve: decides which lines are events; by default the lines of ksmactors are.
    """

    def __init__(self, path: str, sieve: Sieve | None = None) -> None:
        self.path = path
        self.consumed = 0
        self.size: int | None = None
        self._losses: list[Loss] = []
        self._count = self._lines_lost = self._bytes_lost = 0
        self._stopped = ""
        self._sieve: Sieve = sieve or _Shapes()
        self._number = self._without = 0
        self._forms = Forms()

    def events(self) -> Iterator[bytes]:
        """Yield the events, each with the number of its line, from 1."""
        for block in self.blocks():
            yield from BytesIO(block)

    def blocks(self) -> Iterator[bytes]:
        """Yield the events, many at once, one a line, each with the number of its line, from 1."""
        try:
            with opened(self.path) as lines:
                yield from self._sift(lines)
        except Unreadable as error:
            self._stopped = str(error)

    def _sift(self, lines: Lines) -> Iterator[bytes]:
        self.size = lines.size
        while True:
            block = lines.block(LINE_MAX)
            self.consumed = lines.consumed
            if block:
                yield self._sifted(block)
            elif line := lines.next(LINE_MAX):
                self._number += 1
                if len(line) == LINE_MAX:
                    self._skip(self._number, line, lines)
                elif event := self._event(line):
                    yield event
            else:
                return
            if self._without > EMPTY_MAX:
                raise Unreadable(f"more than {EMPTY_MAX:,} lines without an event")

    def _sifted(self, block: bytes) -> bytes:
        """The events in a block of whole lines."""
        numbered = self._forms.numbered(block, self._number + 1)
        if numbered is not None:
            events = numbered.count(b"\n")
            self._number += events
            self._count += events
            return numbered
        found = []
        for line, known in self._forms.sorted_out(block):
            self._number += 1
            if known:
                self._count += 1
                found.append(b'{"line":%d,%b\n' % (self._number, line[1:]))
            elif event := self._event(line + b"\n"):
                found.append(event)
            elif self._without > EMPTY_MAX:
                break
        return b"".join(found)

    def _event(self, line: bytes) -> bytes:
        """The event in a line, with the line's number; b"" if there is none, which is remembered."""
        event = "" if line.isspace() else self._sieve.sifted(line)
        if isinstance(event, str):
            if event:
                self._lose(self._number, len(line), event)
            self._without += 1
            return b""
        if event == line and b'"version":' not in line:  # a sieve looks at each of these
            self._forms.learn(line[:-1])
        self._count += 1
        return b'{"line":%d,%b' % (self._number, event[1:])

    def _skip(self, number: int, beginning: bytes, lines: Lines) -> None:
        """Skip a line that is too long, without holding it in memory."""
        size = len(beginning)
        while rest := lines.next(LINE_MAX):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
            if size > SKIPPED_MAX:
                self._lose(number, size, f"longer than {SKIPPED_MAX >> 30} GiB: {_beginning(beginning)}")
                raise Unreadable(f"line {number} does not end")
        self._lose(number, size, f"too long for an event, {_lost(size)}: {_beginning(beginning)}")

    def _lose(self, number: int, size: int, reason: str) -> None:
        self._lines_lost += 1
        self._bytes_lost += size
        if self._lines_lost <= SAID:
            self._losses.append(Loss(self.path, number, size, reason))

    def result(self) -> tuple[LogFile, list[Loss]]:
        """Return what was read, and what was lost."""
        file = LogFile(self.path, self._count > 0, self._count, self._lines_lost, self._bytes_lost)
        return file, list(self._described())

    def _described(self) -> Iterator[Loss]:
        more = self._lines_lost - SAID
        if self._count:
            yield from (Loss(self.path, 0, 0, remark) for remark in self._sieve.remarks())
            yield from self._losses
            if more > 0:
                yield Loss(
                    self.path, 0, 0, f"{quantity(more, 'more line')} lost, {quantity(self._bytes_lost, 'byte')} in all"
                )
            if self._stopped:
                yield Loss(self.path, 0, 0, f"cannot be read further, the rest is lost: {self._stopped}")
        elif self._stopped:
            yield Loss(self.path, 0, self._bytes_lost, f"cannot be read: {self._stopped}")
        elif self._losses:
            first = self._losses[0]
            why = f"has no event in it, is it a log of ksmactors? line {first.line} is {first.reason}"
            yield Loss(self.path, 0, self._bytes_lost, why)
        else:
            yield Loss(self.path, 0, 0, "is empty")


class _Shapes:
    """The keys and types of events that were found to be proper: a line with the same keys and types is proper, too.

    A line is taken as it is if nothing in it can be read in two ways: there is no key twice (one colon behind a quote
    for each key, and no space between the two), no number beyond 64 bits, and no space around the object.
    """

    def __init__(self) -> None:
        self._versions: dict[str, None] = {}
        self._known: dict[tuple[object, ...], Callable[[dict[str, Any]], tuple[int, ...]]] = {}

    def sifted(self, line: bytes) -> bytes | str:
        """The known fields of the event in a line, as JSON with a newline, or what is wrong with the line."""
        event = parsed(line)
        if isinstance(event, str):
            return event
        if "version" in event and type(event["version"]) is str and event.get("event") == "run.start":
            self._versions[event["version"]] = None
        name = event.get("event")  # a list or an object, perhaps, which a dict takes for no key
        shape = (name if type(name) is str else None, *event, *map(type, event.values()))
        numbers = self._known.get(shape)
        if numbers is not None and _is_unambiguous(line, len(event)) and max(numbers(event)) < _INT_END:
            return line
        kept = _kept(event)
        if isinstance(kept, str):
            return lacking(line, kept)
        if numbers is None and len(self._known) < SHAPES_MAX and _is_plain(event, kept):
            self._known[shape] = itemgetter(*(key for key in kept if type(kept[key]) is int and key != "seed"))
        return orjson.dumps(kept, option=orjson.OPT_APPEND_NEWLINE)

    def remarks(self) -> list[str]:
        """Which other versions wrote the log."""
        from importlib.metadata import version

        here = version("ksmactors")
        return [
            f"was written by ksmactors {escaped(other[:VERSION_SHOWN])}, this is {here}"
            for other in list(self._versions)[:SAID]
            if other != here
        ]


def parsed(line: bytes) -> dict[str, Any] | str:
    """The JSON object in a line, or what is wrong with the line."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.endswith(b"\n"):
            return f"cut off in the middle: the last event is lost after {quantity(len(line), 'byte')}"
        return f"not JSON, {_lost(len(line))}: {_beginning(line)} ({error.msg.partition(':')[0]})"
    return event if type(event) is dict else f"not an event, {_lost(len(line))}: {_beginning(line)}"


def _lost(size: int) -> str:
    return f"{quantity(size, 'byte')} {'is' if size == 1 else 'are'} lost"


def lacking(line: bytes, key: str) -> str:
    """What is wrong with a line that lacks a key, or has one of another type."""
    return f"not an event, {_lost(len(line))}: it has no valid {quoted(key)}: {_beginning(line)}"


def _is_unambiguous(line: bytes, keys: int) -> bool:
    """Whether all readers agree on a line that is an object with so many keys."""
    return (
        line[:2] == b'{"'
        and line[-2:] == b"}\n"
        and line.count(b'":') == keys
        and b'" ' not in line
        and b'"\t' not in line
        and b'"\r' not in line
    )


def _kept(event: dict[str, Any]) -> dict[str, Any] | str:
    """The known fields of an event; if one that it needs is missing, or one is not of its type, the name of that."""
    kept, wrong = {}, None
    for key, value in event.items():
        if key not in FIELDS:
            continue
        if is_proper(key, value):
            kept[key] = value
        else:
            wrong = key
    needed = _NEEDED if kept.get("event") == "finding.found" else _KEYS
    missing = next((key for key in needed if kept.get(key) is None), wrong)
    return kept if missing is None else missing


def _is_plain(event: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Whether what an event has beside its known fields can stay in the line: no table has it, and it holds nothing."""
    others = event.keys() - kept.keys()
    return "line" not in others and not any(isinstance(event[key], (dict, list)) for key in others)


def is_proper(key: str, value: object) -> bool:
    """Whether a field has a value of its type; null is allowed except for the keys of every line."""
    if value is None:
        return key not in _KEYS
    kind = FIELDS[key]
    if type(value) is not kind:
        return False
    return kind is not int or key == "seed" or -_INT_END <= value < _INT_END  # type: ignore[operator]


def _beginning(line: bytes) -> str:
    text = line[:40].decode(errors="replace").strip()
    return repr(text + "..." if len(line) > 40 else text)
