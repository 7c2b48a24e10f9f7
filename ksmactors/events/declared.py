"""Events that plug-ins declare: beside the catalogue, in the same logs, and held to their declaration.

An event is declared once, as a value, and listed in the attribute `events` of the class that emits it. When a schedule
is set up, the events of its classes are registered by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.events.catalogue import CATALOGUE, Event, Field
from ksmactors.quantity import quantity

DECLARED: Final = 1 << 16
"""The code of all events of plug-ins, in records; it is no index of the catalogue. The event's name follows."""

KEYS: Final = (
    "event", "run", "seed", "schedule", "step", "now", "timestamp", "actor", "cpu", "node", "level", "file", "line",
    "self",
)  # fmt: skip
"""What no field can be called: the keys of every line, what `analyze` adds, and what structlog takes for its own."""

TYPES: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,), "str": (str,), "bool": (bool,), "str|null": (str, type(None)),
}  # fmt: skip
"""The types of fields, with those of Python; `bool` is no `int` here."""

LEVELS: Final = ("debug", "info", "warning", "error")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]*")

_INT_END: Final = 1 << 63

OURS: Final = frozenset(event.name.partition(".")[0] for event in CATALOGUE)
"""How no event of a plug-in can begin."""

_TYPES_OF_OURS: Final = {field.name: field.type for event in CATALOGUE for field in event.fields}


@dataclass(frozen=True, init=False)
class PluginEvent:
    """An event that a plug-in declares.

    Args:
        name: words joined by dots, the first of them that of the plug-in: `pairs.moved`.
        summary: a sentence that says what happened.
        fields: what a line of the log says about it, in order.
        level: debug, info, warning or error.

    Raises:
        UsageError: a name, a level or a type cannot be used; the message says which, and why.
    """

    name: str
    summary: str
    fields: tuple[Field, ...]
    level: str

    def __init__(self, name: str, summary: str, *fields: Field, level: str = "info") -> None:
        for attribute, value in (("name", name), ("summary", summary), ("fields", fields), ("level", level)):
            object.__setattr__(self, attribute, value)
        wrong = next(self._wrong(), None)
        if wrong is not None:
            raise UsageError(f"event {quoted(name)}: {wrong}")

    @property
    def recorded(self) -> tuple[Field, ...]:
        """The fields that a record has: all."""
        return self.fields

    def _wrong(self) -> Iterator[str]:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            yield "a name is words joined by dots, such as `my_workload.moved`"
        elif self.name.partition(".")[0] in OURS:
            yield f"names that begin with {self.name.partition('.')[0]}. are those of ksmactors; begin with your own"
        if self.level not in LEVELS:
            yield f"its level is one of {', '.join(LEVELS)}, not {quoted(self.level)}"
        seen: set[str] = set()
        for field in self.fields:
            if not isinstance(field, Field):
                yield f"its fields are Field(name, type, unit, help), not {quoted(field)}"
            elif not _FIELD.fullmatch(field.name) or field.name in KEYS or field.name in seen:
                yield f"no field of its own can be called {quoted(field.name)}"
            elif field.type not in TYPES:
                yield f"field {field.name} is of a type {quoted(field.type)}; there are: {', '.join(TYPES)}"
            elif _TYPES_OF_OURS.get(field.name, field.type) != field.type:
                ours = _TYPES_OF_OURS[field.name]
                yield f"field {field.name} is {ours} in the events of ksmactors, and one column of a table; rename it"
            else:
                seen.add(field.name)


PLUGIN_EVENTS: Final[dict[str, PluginEvent]] = {}
"""The events of the classes that are in use, by name."""

_declared_by: Final[dict[str, str]] = {}


def events_of(cls: type) -> tuple[PluginEvent, ...]:
    """The events that a class declares in its attribute `events`, those of its bases included.

    Raises:
        UsageError: the attribute is something else.
    """
    found: dict[str, PluginEvent] = {}
    for owner in cls.__mro__:
        listed = vars(owner).get("events", ())
        if not isinstance(listed, tuple) or not all(isinstance(one, PluginEvent) for one in listed):
            raise UsageError(f"{owner.__qualname__}.events must be a tuple of PluginEvent")
        for event in listed:
            found.setdefault(event.name, event)
    return tuple(found.values())


def declare(cls: type, title: str) -> None:
    """Register the events of a class that is to be used.

    Args:
        cls: the class.
        title: what messages call it.

    Raises:
        UsageError: another class has declared another event of that name, or a field of another type.
    """
    for event in events_of(cls):
        known = PLUGIN_EVENTS.setdefault(event.name, event)
        if known != event:
            raise UsageError(f"{title} declares the event {event.name}, which {_declared_by[event.name]} declares, too")
        _check_types(event, title)
        _declared_by.setdefault(event.name, title)


def _check_types(event: PluginEvent, title: str) -> None:
    """Refuse a field whose type differs in another event: a table has one column for both."""
    for other in PLUGIN_EVENTS.values():
        types = {field.name: field.type for field in other.fields}
        for field in event.fields:
            if types.get(field.name, field.type) != field.type:
                del PLUGIN_EVENTS[event.name]
                raise UsageError(
                    f"{title}: field {field.name} of event {event.name} is {field.type}, and {types[field.name]} in "
                    f"{other.name} of {_declared_by[other.name]}; rename it"
                )


def checked(event: PluginEvent, fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """The fields of an event that is emitted, if they are those that it declares.

    Raises:
        ValueError: they are not, or no class in use declares it.
    """
    if PLUGIN_EVENTS.get(event.name) != event:
        raise ValueError(f"event {event.name} is not declared: list it in the attribute `events` of your class")
    if len(fields) != len(event.fields):
        names = ", ".join(field.name for field in event.fields)
        raise ValueError(
            f"event {event.name} has {quantity(len(event.fields), 'field')} ({names}), not {len(fields)}: "
            f"{quoted(fields)}"
        )
    for field, value in zip(event.fields, fields, strict=True):
        if type(value) not in TYPES[field.type]:
            raise ValueError(f"event {event.name}: field {field.name} is {field.type}, not {quoted(value)}")
        if type(value) is int and not -_INT_END <= value < _INT_END:
            raise ValueError(f"event {event.name}: field {field.name} is beyond 64 bits: {value}")
        if type(value) is str and not _is_utf8(value):
            raise ValueError(f"event {event.name}: field {field.name} is no text of UTF-8: {quoted(value)}")
    return fields


def all_events() -> list[Event | PluginEvent]:
    """The catalogue, and the events of plug-ins in use."""
    return [*CATALOGUE, *PLUGIN_EVENTS.values()]


def event_of(record: Sequence[Any]) -> tuple[Event | PluginEvent, list[Any]]:
    """The event of a record, and the values of its fields."""
    code, _, _, _, *values = record
    if code == DECLARED:
        return PLUGIN_EVENTS[values[0]], values[1:]
    return CATALOGUE[code], values


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
