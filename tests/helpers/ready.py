"""How a test starts `ksmactors` in a process of its own, without half a second of imports each time.

The process is a fork of one that has imported everything (`ready_server`), which each process of tests starts when it
is first needed. Tests of the start itself, of an installed package, or of what a process does to others of its session
start a new interpreter.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent


def ksmactors_line(*words: str) -> list[str]:
    """The command line of `ksmactors WORDS...`."""
    return [sys.executable, "-I", "-S", str(HERE / "ready_client.py"), _server(os.getpid()), *words]


@cache
def _server(_pid: int) -> str:
    """The socket of this process's server."""
    directory = tempfile.mkdtemp(prefix="ksmactors-ready-")
    door = f"{directory}/door"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, "-P", str(HERE / "ready_server.py"), door],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/",
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(process.wait, 60)
    atexit.register(process.stdin.close)
    assert process.stdout.read(5) == b"ready"
    return door
