"""The examples of the README and of the documents: each command runs, and says what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
DOCUMENTS = README.parent / "ksmactors" / "docs"

PAGES = {"README.md": (README, 5), "findings.md": (DOCUMENTS / "findings.md", 2)}
"""Pages with examples, and how many each has at least."""

EXAMPLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)

VARYING = ((re.compile(r"\d+\.\d s\b"), "0.0 s"),)
"""What differs between two runs of a command: how long it took."""

UPDATE = bool(os.environ.get("UPDATE_README"))


def same_but_for_time(text: str) -> str:
    """A text without what differs between two runs."""
    for pattern, constant in VARYING:
        text = pattern.sub(constant, text)
    return text


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A directory to run examples in: with the command in the search path, and the README's own workload."""
    text = README.read_text()
    workload = re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert workload is not None
    (tmp_path / "twins.py").write_text(workload[1])
    (tmp_path / "tests").symlink_to(README.parent / "tests")
    command = tmp_path / "bin" / "ksmactors"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ksmactors "$@"\n')
    command.chmod(0o755)
    return tmp_path


def output_of(command: str, directory: Path) -> str:
    """What a shell command prints on both streams, in `directory`."""
    environment = os.environ | {
        "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(README.parent),
        "XDG_STATE_HOME": str(directory / "state"),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=directory, env=environment, text=True, timeout=100, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_examples_say_what_the_page_shows(shell: Path, name: str) -> None:
    """Every `$ command` of a page prints what stands below it (UPDATE_README=1 renews the page)."""
    page, at_least = PAGES[name]
    text = page.read_text()
    examples = EXAMPLE.findall(text)
    assert len(examples) >= at_least
    renewed = {}
    for example in examples:
        commands = [line.removeprefix("$ ") for line in example.splitlines() if line.startswith("$ ")]
        assert all(command.startswith("ksmactors ") for command in commands)
        renewed[example] = "".join(f"$ {command}\n{output_of(command, shell)}" for command in commands)
    if UPDATE:
        page.write_text(EXAMPLE.sub(lambda match: f"```console\n{renewed[match[1]]}```", text))
        return
    for example, now in renewed.items():
        assert same_but_for_time(example) == same_but_for_time(now)


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
