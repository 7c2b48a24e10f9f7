"""README: the lines of shell that everything starts with, its size, and what it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import PAGES, ROOT, images

README = ROOT / "README.md"

SIZE_MAX = 13 * 1024
"""Bytes. What is longer belongs into the documents."""

LINK = re.compile(r"\]\(([^)#]+)\)")


def test_the_two_lines_of_shell_are_there() -> None:
    """One line installs and runs the main job, one line installs and runs the tests; nothing else is needed."""
    lines = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].endswith("ksmactors stress")
    assert "'.[test]'" in lines[1]
    assert lines[1].endswith("-m pytest -q -n auto --dist worksteal")


def test_the_readme_names_only_what_there_is() -> None:
    """Every `ksmactors COMMAND` in the README is a command of this version, and none is missing."""
    from ksmactors.cli import COMMANDS

    named = set(re.findall(r"`ksmactors (\w+)", README.read_text()))
    assert named == set(COMMANDS)


@pytest.mark.parametrize("page", ["README.md", "estimate.md"])
def test_the_images_of_the_example_can_be_made(page: str, tmp_path: Path) -> None:
    """The line in the page makes those that the example is run with."""
    (line,) = [line for line in PAGES[page].read_text().splitlines() if line.startswith("python3 -c")]
    _, option, program = shlex.split(line)
    subprocess.run([sys.executable, option, program], cwd=tmp_path, check=True)
    for name, content in images().items():
        assert (tmp_path / name).read_bytes() == content


def test_the_readme_is_short() -> None:
    """README stays what can be read in one go."""
    assert len(README.read_bytes()) <= SIZE_MAX


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each link to a file of the repository leads to one that exists."""
    path = PAGES[page]
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
