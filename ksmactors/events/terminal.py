"""Events in a form for people: step, virtual time, actor, event, fields; one aligned line each, coloured by actor."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

from ksmactors.aside import stdout
from ksmactors.escaping import escaped
from ksmactors.events.bridge import Processor
from ksmactors.events.catalogue import CATALOGUE, RACE_COUNTS
from ksmactors.events.colors import color_allowed
from ksmactors.events.logs import ALWAYS, LogWriter

_UNITS: Final = {field.name: field.unit for event in CATALOGUE for field in event.fields}
_FOLLOWS: Final = (*ALWAYS, "object", "cost", *(field.name for field in RACE_COUNTS))
"""Keys that a line about a race does not show: they follow from the others, see `list events`."""

_EVENT_WIDTH: Final = 23
"""Enough for all names but one, which moves its own fields to the right."""
NOTHING: Final = "-"
"""Stands for a field without a value or with an unknown one; the line leaves it out."""

_PALETTE: Final = (36, 32, 35, 34, 33, 96, 92, 95, 94, 93)
_DIM: Final = 2
_STYLES: Final = {"warning": (1, 33), "error": (1, 31)}
_RACE: Final = (1, 33)


class PersonForm:
    """Renders an event as a line for people; the last processor of structlog.

    Colours and column width of actors are assigned in order of appearance, so equal schedules look equal.
    """

    def __init__(self, *, color: bool = False) -> None:
        self._color = color
        self._styles: dict[str, tuple[int, ...]] = {}
        self._width = 14

    def __call__(self, logger: Any, level: str, event: Any, /) -> bytes:
        return (self.line(level, event) + "\n").encode(errors="replace")

    def line(self, level: str, event: dict[str, Any]) -> str:
        """Return the line without its newline; `event` has the keys of a JSON line."""
        actor, name = escaped(str(event["actor"])), escaped(str(event["event"]))
        style = self._styles.setdefault(actor, (_PALETTE[len(self._styles) % len(_PALETTE)],))
        self._width = max(self._width, len(actor))
        loud = _STYLES.get(level) or (_RACE if name.startswith("race.") else style)
        hidden = _FOLLOWS if name.startswith("race.") else ALWAYS
        texts = [(key, value_text(key, value)) for key, value in event.items() if key not in hidden]
        fields = " ".join(f"{self._paint(key + '=', (_DIM,))}{text}" for key, text in texts if text != NOTHING)
        return (
            f"{event['step']:>8} {milliseconds(event['now']):>13} "
            f"{self._paint(f'{actor:<{self._width}}', style)}  {self._paint(f'{name:<{_EVENT_WIDTH}}', loud)} {fields}"
        ).rstrip()

    def _paint(self, text: str, style: tuple[int, ...]) -> str:
        return f"\x1b[{';'.join(map(str, style))}m{text}\x1b[0m" if self._color else text


def milliseconds(ns: int) -> str:
    """Return virtual time as `1.234 ms`, truncated to microseconds."""
    return f"{ns // 1_000_000}.{ns // 1_000 % 1_000:03} ms"


def value_text(name: str, value: object) -> str:
    """Return a field's value for people: addresses in hex, errnos by name, `-` for no value."""
    unit = _UNITS.get(name, "")
    if value is None or (value == -1 and unit in ("page frame number", "node")):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if unit == "bytes":
            return hex(value)
        if unit == "-errno" and -value in errno.errorcode:
            return f"-{errno.errorcode[-value]}"
        return str(value)
    text = str(value)
    return text if text.isprintable() and text and " " not in text and text != NOTHING else repr(text)


def terminal_log(
    stream: BinaryIO | None = None, *, color: str = "auto", level: str = "info", processors: Sequence[Processor] = ()
) -> LogWriter:
    """A log in the person's form on `stream`, by default standard output."""
    allowed = color_allowed(stdout(), color)
    return LogWriter(
        stream or stdout().buffer, "standard output", PersonForm(color=allowed), level=level, processors=processors
    )
