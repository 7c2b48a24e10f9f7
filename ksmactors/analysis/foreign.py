"""JSON lines of other programs, as structlog writes them, read as events: `analyze --map actor=logger`.

A mapping says which of their keys is which of ours. What neither it nor the line names gets a value that says nothing:
one run, one schedule, one actor, the number of the line's event as its step. Time comes from an ISO 8601 timestamp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from typing_extensions import override

from ksmactors.analysis.reading import FIELDS, EventSource, LogReader, Sieve, is_proper, lacking, parsed
from ksmactors.errors import UsageError, unknown
from ksmactors.escaping import escaped

NOTHING: Final = "-"
"""The run and the actor of an event that names none."""

_DEFAULTS: Final[dict[str, str | int]] = {
    "run": NOTHING, "seed": 0, "schedule": 0, "actor": NOTHING, "cpu": 0, "node": 0,
}  # fmt: skip

_UNSET: Final = frozenset({"step", "now", "timestamp"})
"""Keys that are made of the place of a line, or of each other."""


def reader_for(said: Sequence[str]) -> Callable[[str], EventSource]:
    """What opens a log.

    Args:
        said: the mapping, as `actor=logger` each; empty: logs of ksmactors.

    Raises:
        UsageError: the mapping names a key that does not exist, names one twice, or is no pair.
    """
    mapping = parse_mapping(said)
    return (lambda path: LogReader(path, MappedSieve(mapping))) if mapping else LogReader


def parse_mapping(said: Sequence[str]) -> dict[str, str]:
    """Their key for each of our keys.

    Raises:
        UsageError: as for `reader_for`.
    """
    mapping: dict[str, str] = {}
    for one in said:
        ours, separator, theirs = one.partition("=")
        if not (separator and ours and theirs):
            raise UsageError(f"--map {escaped(one)}: is not KEY=THEIRS, as actor=logger")
        if ours not in FIELDS:
            raise UsageError(f"--map {escaped(one)}: {unknown('key', ours, list(FIELDS))}")
        if ours in mapping:
            raise UsageError(f"--map {escaped(one)}: {ours} is {escaped(mapping[ours])} already")
        mapping[ours] = theirs
    return mapping


class MappedSieve(Sieve):
    """Reads each JSON object that names an event, with the keys of a mapping.

    Args:
        mapping: their key for each of our keys; other keys of ours are read by their own names.
    """

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = mapping
        self._names = {**{key: key for key in FIELDS}, **mapping}
        self._count = 0
        self._start: int | None = None
        self._now = 0
        self._lacked: dict[str, int] = dict.fromkeys((*_DEFAULTS, "step", "now"), 0)
        self._unused = dict.fromkeys(mapping, True)

    @override
    def sifted(self, line: bytes) -> bytes | str:
        theirs = parsed(line)
        if isinstance(theirs, str):
            return theirs
        event = {
            ours: value
            for ours, name in self._names.items()
            if name in theirs and (value := _converted(ours, theirs[name])) is not None
        }
        if "event" not in event:
            return lacking(line, self._names["event"])
        for ours in self._mapping:
            if ours in event:
                self._unused[ours] = False
        self._fill(event)
        if not is_proper("now", event["now"]) or not is_proper("step", event["step"]):
            return lacking(line, "now")
        self._count += 1
        return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)

    def _fill(self, event: dict[str, Any]) -> None:
        for key, default in _DEFAULTS.items():
            if key not in event:
                self._lacked[key] += 1
                event[key] = default
        if "step" not in event:
            self._lacked["step"] += 1
            event["step"] = self._count
        if "now" not in event:
            moment = _nanoseconds(event.get("timestamp"))
            if moment is None:
                self._lacked["now"] += 1
            else:
                self._start = moment if self._start is None else self._start
                self._now = max(0, moment - self._start)
            event["now"] = self._now

    @override
    def remarks(self) -> list[str]:
        missing = [key for key, times in self._lacked.items() if times == self._count]
        unused = [escaped(repr(self._mapping[ours])) for ours, never in self._unused.items() if never]
        said = [f"no event has {', '.join(missing)}: what needs them is empty or of one kind"] if missing else []
        said += [f"no line has the mapped {', '.join(unused)}"] if unused else []
        return ["; ".join(said)] if said else []


def _converted(key: str, value: object) -> object:
    """A value of the type that a key of ours has, or None: texts of numbers and numbers of texts."""
    if is_proper(key, value):
        return value
    kind = FIELDS[key]
    if kind is str and isinstance(value, (int, float)):
        return str(value)
    if kind is int and isinstance(value, str) and len(value) <= _DIGITS_MAX and value.isascii() and value.isdecimal():
        return int(value) if is_proper(key, int(value)) else None
    if kind is int and isinstance(value, float) and value.is_integer() and is_proper(key, int(value)):
        return int(value)
    return None


_DIGITS_MAX: Final = 20
"""Of a number of 64 bits."""


def _nanoseconds(said: object) -> int | None:
    """Nanoseconds since 1970 of a date in ISO 8601; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(str(said))
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
