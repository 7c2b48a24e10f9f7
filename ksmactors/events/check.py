"""Checks records against the catalogue: for tests and for debugging, too slow for the hot path."""

from __future__ import annotations

from typing import Final

from ksmactors.errors import EmulatorBug
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.declared import DECLARED, PLUGIN_EVENTS, TYPES, checked
from ksmactors.events.trace import Record
from ksmactors.quantity import quantity

HEAD: Final = 4
"""Number of common fields at the start of a record: code, step, now, actor number."""


def validate(record: Record) -> None:
    """Raise EmulatorBug unless the record's fields are those of its event."""
    head, values = record[:HEAD], record[HEAD:]
    if len(head) < HEAD or any(type(number) is not int for number in head):
        raise EmulatorBug(f"a record starts with code, step, now and actor number, not {head!r}")
    if head[0] == DECLARED:
        _validate_declared(values)
        return
    if not 0 <= head[0] < len(CATALOGUE):
        raise EmulatorBug(f"there is no event with code {head[0]}")
    event = CATALOGUE[head[0]]
    if len(values) != len(event.recorded):
        names = ", ".join(field.name for field in event.recorded)
        raise EmulatorBug(
            f"event {event.name} has {quantity(len(event.recorded), 'field')} ({names}), not {len(values)}: {values!r}"
        )
    for field, value in zip(event.recorded, values, strict=True):
        if type(value) not in TYPES[field.type]:
            raise EmulatorBug(f"event {event.name}: field {field.name} is {field.type}, not {value!r}")


def _validate_declared(values: Record) -> None:
    """As `validate`, for an event of a plug-in: its name, then its fields."""
    event = PLUGIN_EVENTS.get(values[0]) if values else None
    if event is None:
        raise EmulatorBug(f"no plug-in declares an event {values[:1]!r}")
    try:
        checked(event, values[1:])
    except ValueError as error:
        raise EmulatorBug(str(error)) from error


def validate_all(records: list[Record]) -> None:
    """A sink for a Trace that validates each record."""
    for record in records:
        validate(record)
