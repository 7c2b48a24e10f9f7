"""A finding of S5e, shrunk, for tests that walk through it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import ksmactors
from ksmactors.cli import main

S5E = ("litmus.search_meets_migration", "--with", "s5e-no-lock-cycle")
SIGNATURE = "lifetime/null_dereference@stable_tree_append"


def shrunk_finding(directory: Path) -> Path:
    """The finding file of S5e with one departure from the default order, in a directory."""
    name, content = _shrunk()
    (directory / name).write_bytes(content)
    return directory / name


@cache
def _shrunk() -> tuple[str, bytes]:
    """The name and content of that file, made once for all tests of this process."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        assert main(["stress", *S5E, "--seeds", "18:19", "--quiet", "--out", str(directory / "found")]) == 1
        (found,) = (directory / "found").glob("*.json")
        assert main(["shrink", str(found), "--no-cause", "--quiet", "--out", str(directory / "shrunk")]) == 1
        (shrunk,) = (directory / "shrunk").glob("*.json")
        return shrunk.name, shrunk.read_bytes()


def environment(directory: Path, **more: str) -> dict[str, str]:
    """The environment of a command that must not touch the user's state."""
    ours = {"XDG_STATE_HOME": str(directory / "state"), "PYTHONPATH": str(Path(ksmactors.__file__).parents[1])}
    return {**os.environ, **ours, **more}
