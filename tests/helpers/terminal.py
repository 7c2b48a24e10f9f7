"""A pseudo-terminal to run commands on."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import ksmactors
from tests.helpers.ready import run_ready


def on_terminal(*args: str, cwd: Path, typed: str = "", **environment: str) -> tuple[int, str]:
    """Run a command whose standard streams are a terminal, without colour and of 200 columns unless `environment` says
    otherwise; returns its status and all that the terminal got. `typed` is what the user types, at once."""
    ours, theirs = pty.openpty()
    variables = {
        **os.environ,
        "NO_COLOR": "1",
        "TERM": "xterm",
        "COLUMNS": "200",
        "XDG_STATE_HOME": str(cwd / "state"),
        "PYTHONPATH": str(Path(ksmactors.__file__).parents[1]),
        **environment,
    }
    status = run_ready(*args, files=[theirs] * 3, cwd=cwd, environment=variables)
    os.close(theirs)
    os.write(ours, typed.encode())
    got = bytearray()
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # EIO: nobody has the other end open
            break
        if not part:
            break
        got += part
    os.close(ours)
    return status(), got.decode().replace("\r\n", "\n")
