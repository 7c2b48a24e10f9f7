"""The story of a finding: the last events before it, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ksmactors.events.declared import event_of
from ksmactors.events.terminal import PersonForm
from ksmactors.events.trace import Record
from ksmactors.interleave.actor import Actor

STORY: Final = 30
"""Events shown before a finding: about what fits a screen."""


def is_shown(record: Record) -> bool:
    """Whether a story has an event: not if its level is debug."""
    return event_of(record)[0].level != "debug"


def rendered(record: Record, actors: list[Actor]) -> tuple[str, dict[str, Any]]:
    """Return the arguments of the form for people: the level, and the keys of a log line."""
    _, step, now, number, *_ = record
    event, values = event_of(record)
    fields = dict(zip((field.name for field in event.recorded), values, strict=True))
    return event.level, {"event": event.name, "step": step, "now": now, "actor": actors[number].name, **fields}


def story(records: Iterable[Record], actors: list[Actor]) -> tuple[str, ...]:
    """Return the last of the records that are shown, as lines."""
    form = PersonForm()
    shown = [record for record in records if is_shown(record)][-STORY:]
    return tuple(form.line(*rendered(record, actors)) for record in shown)
