"""The document `scenario` has every operation of the language, with its form."""

from __future__ import annotations

import re

import pytest

from ksmactors.conformance.forms import FORMS, OWN_TASKS
from ksmactors.conformance.language import parse
from ksmactors.conformance.places import places
from tests.docs.examples import FILE, PAGES

TEXT = PAGES["scenario.md"].read_text()
ROW = re.compile(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\| ", re.MULTILINE)


def test_every_operation_has_a_row_with_its_form() -> None:
    """Each operation is explained once, with its arguments as the parser has them, and no other is."""
    rows = dict(ROW.findall(TEXT))
    assert {name: form.replace(" or ", "|") for name, form in rows.items()} == FORMS


def test_what_a_process_can_do_in_the_background() -> None:
    """The list of operations that a process can do in the background is that of the parser."""
    listed = TEXT.partition("can do these in the background:")[2].partition(".\n")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == OWN_TASKS


def test_all_places_are_listed() -> None:
    """The list of places is that of the table, in its order."""
    listed = TEXT.partition("These are all places:")[2].partition("\n\n")[0]
    assert re.findall(r"`([^`]+)`", listed) == list(places())


@pytest.mark.parametrize("match", list(FILE.finditer(TEXT)), ids=lambda match: str(match["name"]))
def test_the_scenarios_can_be_parsed(match: re.Match[str]) -> None:
    """Each scenario of the page is one."""
    assert list(parse(match["text"]).operations)
