"""The examples of README and of the documents: each command runs, and prints what the page shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.examples import COMMANDS, PAGES, Example, examples, performed, same_but_for_time

UPDATE = bool(os.environ.get("UPDATE_README"))

LONG = {("compare.md", 0), ("compare.md", 1), ("findings.md", 2), ("log.md", 2)}
"""Examples that take some seconds of CPU time each, and show what other tests show: page and number. What stands below
the commands of `findings` is compared by `test_replay_explain`."""


def marked() -> Iterator[Any]:
    """All examples; long ones are nightly."""
    for example in examples():
        long = (example.page, example.number) in LONG and not UPDATE
        yield pytest.param(example, marks=[pytest.mark.nightly] if long else [])


@pytest.mark.slow
@pytest.mark.parametrize("example", list(marked()), ids=lambda example: f"{example.page}-{example.number}")
def test_an_example_prints_what_the_page_shows(tmp_path: Path, example: Example) -> None:
    """Every `$ command` prints what stands below it (UPDATE_README=1 with -n 0 renews the page)."""
    assert example.commands
    assert all(command.removeprefix("COLUMNS=80 ").split(" ")[0] in COMMANDS for command in example.commands)
    printed = performed(example, tmp_path)
    now = "".join(f"$ {command}\n{text}" for command, text in zip(example.commands, printed, strict=True))
    if UPDATE:
        page = PAGES[example.page]
        page.write_text(page.read_text().replace(f"```console\n{example.text}```", f"```console\n{now}```"))
        return
    assert same_but_for_time(example.text) == same_but_for_time(now)


@pytest.mark.parametrize(
    ("page", "at_least"),
    [
        ("README.md", 7),
        ("findings.md", 2),
        ("plugins.md", 5),
        ("log.md", 4),
        ("scenario.md", 2),
        ("compare.md", 3),
        ("costs.md", 0),
        ("testing.md", 4),
        ("ci.md", 1),
        ("guests.md", 1),
    ],
)
def test_pages_have_examples(page: str, at_least: int) -> None:
    """The search for examples sees those that are there."""
    assert sum(example.page == page for example in examples()) >= at_least
