"""The policy of garbage collection in processes that are ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COPIED = """
file = open("copy", "w")

def copy(logger, method, event):
    print(event["event"], file=file)
    return event

def processors():
    return [copy]
"""


def printed(code: str) -> str:
    """What a Python process of its own prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_command_line_collects_seldom() -> None:
    """A process of the command line has the thresholds; one that imports ksmactors keeps its own."""
    ours = "import gc, sys; sys.argv[1:] = ['--version']; from ksmactors.__main__ import main; main()"
    assert printed(f"{ours}; print(gc.get_threshold())").splitlines()[-1] == "(200000, 20, 20)"
    assert (
        printed("import gc; before = gc.get_threshold(); import ksmactors; print(gc.get_threshold() == before)")
        == "True\n"
    )


def test_files_that_a_plugin_has_left_open_are_written(tmp_path: Path) -> None:
    """What code of others has written is not lost if only the collector closes the file."""
    (tmp_path / "copied.py").write_text(COPIED)
    line = [sys.executable, "-m", "ksmactors", "run", "litmus.scan_meets_exit", "--quiet"]
    subprocess.run([*line, "--log", "log", "--log-config", "copied.py:processors"], cwd=tmp_path, check=True)
    events = (tmp_path / "copy").read_text().splitlines()
    assert len(events) == len((tmp_path / "log").read_text().splitlines()) > 0


def test_nothing_is_looked_for_at_the_end() -> None:
    """All that is left when the command line ends is out of the collector's sight."""
    ours = "import gc, sys; sys.argv[1:] = ['--version']; from ksmactors.__main__ import main; main()"
    assert printed(f"{ours}; print(gc.isenabled(), gc.get_objects() == [])").splitlines()[-1] == "False True"
