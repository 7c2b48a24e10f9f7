"""The catalogue of events as Markdown, for the document `log`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ksmactors.events.catalogue import CATALOGUE, Event

BEGIN: Final = "<!-- events: generated, see tests/docs/test_log_page.py -->"
"""The line in the document after which the catalogue stands, to its end."""


def events_as_markdown() -> str:
    """Return a table of all events: the kernel's names first, then those of the emulator, each by name."""
    kernel = sorted((event for event in CATALOGUE if "." not in event.name), key=lambda event: event.name)
    own = sorted((event for event in CATALOGUE if "." in event.name), key=lambda event: event.name)
    lines = ["", "### Under the kernel's names", "", *_table(kernel), "", "### The emulator's own", "", *_table(own)]
    return "\n".join(lines) + "\n"


def _table(events: list[Event]) -> Iterator[str]:
    yield "| event | level | what happened | fields |"
    yield "|---|---|---|---|"
    for event in events:
        fields = "; ".join(
            f"`{field.name}` ({field.type}{f', {field.unit}' if field.unit else ''}): {field.help}"
            for field in event.fields
        )
        yield f"| `{event.name}` | {event.level} | {event.summary} | {fields} |".replace("str|null", "str or null")
