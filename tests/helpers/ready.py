"""How a test starts `ksmactors` in a process of its own, without half a second of imports each time.

The process is a fork of one that has imported everything (`ready_server`), which each process of tests starts when it
is first needed. Tests of the start itself, of an installed package, or of what a process does to others of its session
start a new interpreter.
"""

from __future__ import annotations

import atexit
import marshal
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from typing_extensions import override

from ksmactors.campaign import fork_server

HERE: Final = Path(__file__).parent

LENGTH: Final = 8
"""Bytes of a number."""

NOT_OURS: Final = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")

ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
"""That of the server: as it is before a test changes anything, since a fork obeys no other variables of Python."""


def ksmactors_line(*words: str) -> list[str]:
    """The command line of `ksmactors WORDS...`."""
    return [sys.executable, "-I", "-S", str(HERE / "ready_client.py"), _server(os.getpid()), *words]


@dataclass(frozen=True)
class ReadyForkServer(fork_server.ForkServer):
    """A campaign's fork server that is no child of this process. `reaper` says when it has ended."""

    reaper: socket.socket

    @override
    def close(self) -> None:
        self.control.close()
        with suppress(ConnectionError):
            self.reaper.recv(LENGTH, socket.MSG_WAITALL)
        self.reaper.close()


def ready_fork_server() -> fork_server.ForkServer:
    """Do what `fork_server.started` does, with a fork in the place of a new interpreter."""
    reaper = socket.socket(socket.AF_UNIX)
    reaper.connect(_server(os.getpid()))
    ours, theirs = socket.socketpair()
    with theirs, Path(os.devnull).open("r+b", buffering=0) as nothing:
        files = [nothing.fileno(), nothing.fileno(), 2, theirs.fileno()]
        request = marshal.dumps((None, os.fsencode(Path.cwd()), dict(os.environb), []))
        socket.send_fds(reaper, [len(request).to_bytes(LENGTH, "big")], files)
        reaper.sendall(request)
    pid = int.from_bytes(reaper.recv(LENGTH, socket.MSG_WAITALL), "big")
    if pid == 0:
        ours.close()
        reaper.close()
        return NEW_INTERPRETER()
    ours.sendall(fork_server.preparation())
    return ReadyForkServer(ours, pid, reaper)


NEW_INTERPRETER: Final = fork_server.started
"""The one of ksmactors itself."""


@cache
def _server(_pid: int) -> str:
    """The socket of this process's server."""
    directory = tempfile.mkdtemp(prefix="ksmactors-ready-")
    door = f"{directory}/door"
    process = subprocess.Popen(
        [sys.executable, "-P", str(HERE / "ready_server.py"), door],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, cwd="/", start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(process.wait, 60)
    atexit.register(process.stdin.close)
    assert process.stdout.read(5) == b"ready"
    return door
