"""The tree of an older commit, unpacked beside this one, so that both run alternately and the machine cancels out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

COMMIT: Final = "99b55bc"
"""What the speed of this version is compared with."""

HERE: Final = Path(__file__).resolve().parents[2]

RENAMED: Final = {"eventual": "convergence", "economy": "wasted_work"}
"""Watchers of that commit that have another name now."""


class NoBaseline(Exception):
    """The older tree cannot be had here."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of the project's files, whose commands can be run."""

    root: Path

    def probe(self, warm: list[str], words: list[str]) -> dict[str, Any]:
        """What a `stress` command takes in a process of its own: schedules, steps, digest, and seconds of CPU time."""
        command = [sys.executable, str(Path(__file__).with_name("probe.py")), *warm, "--", *words]
        answer: dict[str, Any] = json.loads(self._run(command))
        return answer

    def names(self, what: str) -> list[str]:
        """What `list WHAT` names."""
        listed = self._run([sys.executable, "-m", "ksmactors", "list", what, "--json"])
        return [one["name"] for one in json.loads(listed)]

    def _run(self, command: list[str]) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout


CURRENT: Final = Tree(HERE)


@contextmanager
def unpacked(commit: str = COMMIT) -> Iterator[Tree]:
    """The tree of a commit, in a temporary directory.

    Raises:
        NoBaseline: this is no repository, or it lacks the commit.
    """
    packed = subprocess.run(["git", "archive", commit], cwd=HERE, capture_output=True, check=False)
    if packed.returncode:
        raise NoBaseline(f"git archive {commit}: {packed.stderr.decode(errors='replace').strip()}")
    with TemporaryDirectory(prefix="ksmactors-bench-") as directory:
        root = Path(directory)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
            tar.extractall(root, filter="data")
        _describe(root)
        yield Tree(root)


def _describe(root: Path) -> None:
    """Write the metadata that installing the tree would: its own entry points hide those of the installed version."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    info = root / f"ksmactors-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ksmactors\nVersion: {project['version']}\n")
    lines: list[str] = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
