"""The examples of README and of the documents, and how one of them is run.

A page's files: a code block whose first line is `# NAME` or `// NAME` is the file NAME. A page's examples: each block
of `console` is one, in which a line that starts with `$ ` is a command and what follows is what it prints.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.helpers.ready import ksmactors_line

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "ksmactors" / "docs").glob("*.md")))}

CONSOLE: Final = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE: Final = re.compile(r"^```\w*\n# (?P<name>[\w-]+\.(?:py|txt|sql))\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
MADE: Final = re.compile(r"[\w./-]+\.(?:json|jsonl|out)\b")
"""What a command may need that an earlier one of its page has made."""

LOG: Final = re.compile(r"--log ([\w./-]+)")
"""What a command makes itself, or makes anew."""

VARYING: Final = (
    (re.compile(r"\d+\.\d s\b"), "0.0 s"),
    (re.compile(r"\d+\.\d%"), "0.0%"),
    (re.compile(r"\d+\.\d\ds\b"), "0.00s"),
)
"""What differs between two runs of a command: how long it took."""

COMMANDS: Final = ("ksmactors", "pytest")
"""What examples may run."""

PYTEST: Final = (
    "env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "-q", "--disable-warnings",
    "-p", "ksmactors.pytest_plugin",
)  # fmt: skip
"""Other plug-ins take half a second to import, and may add to what is printed."""

IMAGE_PAGES: Final = 16


@dataclass(frozen=True, slots=True)
class Example:
    """A block of `console`: its page, its number on that page, its text, and the texts of those before it."""

    page: str
    number: int
    text: str
    before: tuple[str, ...]

    @property
    def commands(self) -> list[str]:
        """The commands, in order."""
        return commands_of(self.text)


def commands_of(text: str) -> list[str]:
    """The commands of a block."""
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def examples() -> Iterator[Example]:
    """All examples of all pages."""
    for page, path in PAGES.items():
        texts = CONSOLE.findall(path.read_text())
        for number, text in enumerate(texts):
            yield Example(page, number, text, tuple(texts[:number]))


def prepare(example: Example, directory: Path) -> None:
    """Put into a directory what the example needs: the page's files, two memory images, and what earlier commands of
    the page have made."""
    made = made_by(example.page, tuple(needed(example)))
    if made is not None:
        shutil.copytree(made, directory, symlinks=True, dirs_exist_ok=True)
    else:
        _set_up(example.page, directory)


def performed(example: Example, directory: Path) -> list[str]:
    """Prepare a directory, and perform the commands of an example there. Returns what each of them prints."""
    prepare(example, directory)
    printed = [output_of(command, directory) for command in example.commands]
    LEFT[example.page, (*needed(example), *example.commands)] = directory
    return printed


LEFT: Final[dict[tuple[str, tuple[str, ...]], Path]] = {}
"""What commands of a page have left: those of an example, or those that several examples need."""


def made_by(page: str, commands: tuple[str, ...]) -> Path | None:
    """The directory in which some commands of a page have run, which several of its examples need; None without any."""
    if not commands:
        return None
    if (page, commands) not in LEFT:
        directory = Path(tempfile.mkdtemp(prefix="ksmactors-example-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        before = made_by(page, commands[:-1])
        if before is None:
            _set_up(page, directory)
        else:
            shutil.copytree(before, directory, symlinks=True, dirs_exist_ok=True)
        output_of(commands[-1], directory)
        LEFT[page, commands] = directory
    return LEFT[page, commands]


def images() -> dict[str, bytes]:
    """The images of the example of `estimate`, by name."""
    made = {}
    for name, own in (("guest-a.img", 20), ("guest-b.img", 30)):
        pages = [*range(1, 13), *range(own, own + IMAGE_PAGES - 12)]
        made[name] = b"".join(bytes([token]) * 4096 for token in pages)
    return made


def _set_up(page: str, directory: Path) -> None:
    for match in FILE.finditer(PAGES[page].read_text()):
        (directory / match["name"]).write_text(match["text"])
    for name, content in images().items():
        (directory / name).write_bytes(content)
    for name in ("tests", "README.md"):
        (directory / name).symlink_to(ROOT / name)
    (directory / "bin").mkdir()
    for name, line in zip(COMMANDS, (ksmactors_line(), PYTEST), strict=True):
        command = directory / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {shlex.join(line)} "$@"\n')
        command.chmod(0o755)


def needed(example: Example) -> list[str]:
    """The commands of earlier examples that make the files which this one names, in order."""
    earlier = [(text, command) for text in example.before for command in commands_of(text)]
    wanted = {name for command in example.commands for name in MADE.findall(command)}
    wanted -= {name for command in example.commands for name in LOG.findall(command)}
    chosen: set[str] = set()
    for text, command in reversed(earlier):
        made = {name for name in wanted if name in command or name in _printed(text, command)}
        if made:
            chosen.add(command)
            wanted |= set(MADE.findall(command))
    return [command for _, command in earlier if command in chosen]


def _printed(text: str, command: str) -> str:
    """What a command of a block prints."""
    return text.partition(f"$ {command}\n")[2].partition("\n$ ")[0]


def output_of(command: str, directory: Path) -> str:
    """What a shell command prints on both streams, in `directory`."""
    environment = os.environ | {
        "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(directory / "state"),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=directory, env=environment, text=True, timeout=100, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def same_but_for_time(text: str) -> str:
    """A text without what differs between two runs."""
    for pattern, constant in VARYING:
        text = pattern.sub(constant, text)
    return text
