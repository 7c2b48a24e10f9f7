"""What foreign code in a worker writes into files of its own is there when the campaign has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KEEPING = """
import os
here = open("loaded.txt", "w")
here.write("loaded\\n")

class Keep:
    def __init__(self):
        self.mine = open(f"worker-{os.getpid()}.txt", "a")
    def __call__(self, logger, name, event):
        self.mine.write("mine\\n")
        here.write("here\\n")
        return event

def processors():
    return [Keep()]
"""


def test_what_a_processor_writes_into_its_own_files_is_kept(tmp_path: Path) -> None:
    """Workers end at once, and write first what is held by files: their own, and those that they came with."""
    (tmp_path / "keeping.py").write_text(KEEPING)

    command = "stress exit_race --seeds 4 --jobs 2 --log log --log-config keeping.py:processors --out out --quiet"
    subprocess.run([sys.executable, "-m", "ksmactors", *command.split()], cwd=tmp_path, check=True)

    events = len((tmp_path / "log").read_text().splitlines())
    own = [path.read_text() for path in tmp_path.glob("worker-*.txt")]
    assert sum(text.count("mine\n") for text in own) == events
    loaded = (tmp_path / "loaded.txt").read_text()
    assert loaded.count("loaded\n") == 1
    assert loaded.count("here\n") == events
