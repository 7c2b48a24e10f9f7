"""The document `log`: its catalogue of events is generated, and it explains every key."""

from __future__ import annotations

import os

from ksmactors.events.logs import ALWAYS
from ksmactors.events.page import BEGIN, events_as_markdown
from tests.docs.examples import PAGES

PAGE = PAGES["log.md"]


def test_the_catalogue_is_up_to_date() -> None:
    """What stands below the mark is what the catalogue says now (UPDATE_README=1 renews it)."""
    text, mark, catalogue = PAGE.read_text().partition(f"{BEGIN}\n")
    assert mark
    if os.environ.get("UPDATE_README"):
        PAGE.write_text(text + mark + events_as_markdown())
        return
    assert catalogue == events_as_markdown()


def test_every_key_is_explained() -> None:
    """The keys that every line has are in the table of keys, in their order."""
    rows = [line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows[: len(ALWAYS)] == list(ALWAYS)
