"""Numbers agree with their nouns, in all texts for people."""

from __future__ import annotations

import re

import pytest

from ksmactors.quantity import quantity
from tests.test_house import modules

COUNTED = re.compile(r"\{[^{}]*[a-z][^{}]*\} (schedules|seeds|findings|events|references|mappings|departures|items)\b")
"""A number in a text before a noun in the plural, whatever the number. Constants are not 1."""


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries"), (1000, "1,000 entries")]
)
def test_a_number_with_its_noun(count: int, text: str) -> None:
    """One is singular; a plural may be irregular."""
    assert quantity(count, "entry", "entries") == text
    assert quantity(count, "schedule") == text.replace("entry", "schedule").replace("entries", "schedules")


def test_no_text_has_a_plural_for_any_number() -> None:
    """`quantity` makes all of them. Findings and warnings of the kernel stay: recorded digests have them."""
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in modules()
        if path.parent.name not in ("watch", "mm", "ksm", "later")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if COUNTED.search(line) and re.search(r'\bf["\']', line)
    ]
    assert found == []
