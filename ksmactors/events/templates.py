"""JSON lines of a schedule from templates: the bytes that structlog's chain ends in, in a quarter of the time.

All lines of one kind of event by one actor differ only in step, time and fields. So the rest is rendered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from ksmactors.events.catalogue import CATALOGUE, WORKLOAD_LOG
from ksmactors.events.trace import Record

_RACES: Final = [event.race for event in CATALOGUE]

VALUES_MAX: Final = 1 << 14
"""Texts whose JSON is kept."""


class JsonLines:
    """Renders the records of one schedule.

    Args:
        bound: the keys that all lines begin with, behind `event`.
        timestamp: makes the key of that name from the virtual time in ns.
    """

    def __init__(self, bound: dict[str, Any], timestamp: Any) -> None:
        self._bound, self._timestamp = bound, timestamp
        self._actors: list[dict[str, Any]] = []
        self._templates: dict[tuple[int | str, int], str] = {}
        self._values = _Values()

    @property
    def actors(self) -> int:
        """The number of actors that are known."""
        return len(self._actors)

    def bind(self, **labels: Any) -> None:
        """Add an actor: the one with the next number has these keys."""
        self._actors.append(labels)

    def render(self, records: Sequence[Record]) -> bytes:
        """Return the lines of some records whose actors are known."""
        templates, encoded, moment, stamp, lines = self._templates, self._values, None, "", []
        for code, step, now, number, *values in records:
            if now != moment:
                moment, stamp = now, self._timestamp(now)
            if (race := _RACES[code]) is not None:
                values += race.derived(values)
            kind = values[1] if code == WORKLOAD_LOG else code  # its level is that of the workload's record
            template = templates.get((kind, number))
            if template is None:
                template = templates[kind, number] = self._template(code, number, kind)
            lines.append(
                template % (step, now, stamp, *[value if type(value) is int else encoded[value] for value in values])
            )
        return "".join(lines).encode()

    def _template(self, code: int, number: int, level: int | str) -> str:
        event = CATALOGUE[code]
        start = _inner({"event": event.name, **self._bound})
        middle = _inner({**self._actors[number], "level": level if isinstance(level, str) else event.level})
        fields = "".join(f",{_json(field.name)}:%s" for field in event.fields)
        return f'{{{start},"step":%s,"now":%s,"timestamp":"%s",{middle}{fields}}}\n'


class _Values(dict[Any, str]):
    """The JSON of texts, truth values and None; not of integers, since 1 would be taken for true."""

    def __missing__(self, value: Any) -> str:
        if len(self) >= VALUES_MAX:
            self.clear()
        self[value] = encoded = _json(value)
        return encoded


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _inner(keys: dict[str, Any]) -> str:
    """The keys and values of an object, without its braces, for a template."""
    return _json(keys)[1:-1].replace("%", "%%")
