"""The policy of garbage collection in processes that are ours."""

from __future__ import annotations

import subprocess
import sys


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


def test_nothing_is_looked_for_at_the_end() -> None:
    """All that is left when the command line ends is out of the collector's sight."""
    ours = "import gc, sys; sys.argv[1:] = ['--version']; from ksmactors.__main__ import main; main()"
    assert printed(f"{ours}; print(gc.isenabled(), gc.get_objects() == [])").splitlines()[-1] == "False True"
