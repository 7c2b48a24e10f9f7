"""JSON lines of a schedule from templates: the bytes that structlog's chain ends in, in a quarter of the time.

All lines of one kind of event by one actor differ only in step, time and fields. So the rest is rendered once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Protocol

import orjson

from ksmactors.events.catalogue import CATALOGUE, RUN_START, WORKLOAD_LOG
from ksmactors.events.declared import DECLARED, PLUGIN_EVENTS
from ksmactors.events.trace import Record

VALUES_MAX: Final = 1 << 14
"""Texts whose JSON is kept."""


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


_RACES: Final = [event.race for event in CATALOGUE]
_BEGINNINGS: Final = [_inner({"event": event.name}) for event in CATALOGUE]
_FIELDS: Final = [
    "".join(f",{_json(field.name)}:{'%d' if field.type == 'int' else '%s'}" for field in event.fields)
    for event in CATALOGUE
]
_NO_NUMBERS: Final = [
    tuple(place for place, field in enumerate(event.fields) if field.type != "int") for event in CATALOGUE
]
"""By code: the places of the fields that are rendered by `_values`."""

_values: Final = _Values()


def add_derived(code: int, values: list[Any]) -> None:
    """Add the fields of an event that are in no record to those that are, and say `unknown` for a winner that is not
    known."""
    race = _RACES[code]
    if race is not None:
        values[0] = race.known_winner(values)
        values += race.derived(values)
    elif code == RUN_START:
        values.append(_version())


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("ksmactors")


class Labels(Protocol):
    """The part of an actor that a log needs."""

    @property
    def name(self) -> str: ...
    @property
    def cpu(self) -> int: ...
    @property
    def node(self) -> int: ...


class JsonLines:
    """Renders the records of one schedule.

    Args:
        actors: the conductor's table, which may still grow.
        bound: the keys that all lines begin with, behind `event`.
        timestamp: makes the key of that name from the virtual time in ns.
    """

    def __init__(self, actors: Sequence[Labels], bound: dict[str, Any], timestamp: Callable[[int], str]) -> None:
        self._actors, self._bound, self._timestamp = actors, _inner(bound), timestamp
        self._labels: list[str] = []
        self._templates: dict[tuple[int | str, int], str] = {}

    def render(self, records: Sequence[Record]) -> bytes:
        """Return the lines of some records."""
        templates, values_of, moment, stamp, lines = self._templates, _values, None, "", []
        for code, step, now, number, *values in records:
            if now != moment:
                moment, stamp = now, self._timestamp(now)
            if code == DECLARED:
                lines.append(self._declared(step, now, stamp, number, *values))
                continue
            add_derived(code, values)
            kind = values[1] if code == WORKLOAD_LOG else code  # its level is that of the workload's record
            template = templates.get((kind, number))
            if template is None:
                template = templates[kind, number] = self._template(code, number, kind)
            for place in _NO_NUMBERS[code]:
                values[place] = values_of[values[place]]
            lines.append(template % (step, now, stamp, *values))
        return "".join(lines).encode()

    def _template(self, code: int, number: int, level: int | str) -> str:
        level = level if isinstance(level, str) else CATALOGUE[code].level
        return f"{self._head(_BEGINNINGS[code], number, level)}{_FIELDS[code]}}}\n"

    def _declared(self, step: int, now: int, stamp: str, number: int, name: str, *values: Any) -> str:
        """The line of an event of a plug-in."""
        event = PLUGIN_EVENTS[name]
        head = self._head(_inner({"event": name}), number, event.level) % (step, now, stamp)
        fields = {field.name: value for field, value in zip(event.fields, values, strict=True)}
        return f"{head}{f',{_json(fields)[1:-1]}' if fields else ''}}}\n"

    def _head(self, beginning: str, number: int, level: str) -> str:
        """The template of the keys that all lines have."""
        if number >= len(self._labels):
            for actor in self._actors[len(self._labels) :]:
                self._labels.append(_inner({"actor": actor.name, "cpu": actor.cpu, "node": actor.node}))
        return (
            f'{{{beginning},{self._bound},"step":%d,"now":%d,"timestamp":"%s",{self._labels[number]},'
            f'"level":{_json(level)}'
        )
