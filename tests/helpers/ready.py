"""How a test starts `ksmactors` in a process of its own, without half a second of imports each time.

The process is a fork of one that has imported everything (`ready_server`). A process of tests starts it when it is
first needed; those of pytest-xdist share the one that their parent has started. Tests of the start itself, of an
installed package, or of what a process does to others of its session start a new interpreter.
"""

from __future__ import annotations

import atexit
import marshal
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Final

from typing_extensions import override

from ksmactors.campaign import fork_server

HERE: Final = Path(__file__).parent

LENGTH: Final = 8
"""Bytes of a number."""

SECONDS_MAX: Final = 100
"""In which a command must end."""

NOT_OURS: Final = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")

SHARED: Final = "KSMACTORS_TESTS_DOOR"
"""The variable that tells processes of pytest-xdist the socket of their parent's server."""

_DOOR: Final = os.environ.pop(SHARED, None)

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
    ours, theirs = socket.socketpair()
    with theirs, Path(os.devnull).open("r+b", buffering=0) as nothing:
        pid, reaper = _fork(None, dict(os.environb), [nothing.fileno(), nothing.fileno(), 2, theirs.fileno()])
    if pid == 0:
        ours.close()
        reaper.close()
        return NEW_INTERPRETER()
    ours.sendall(fork_server.preparation())
    return ReadyForkServer(ours, pid, reaper)


NEW_INTERPRETER: Final = fork_server.started
"""The one of ksmactors itself."""


@dataclass
class ReadyProcess:
    """A command that leads a session, as `subprocess.Popen` has one, without a client in between: `pid` is its own.

    Attributes:
        streams: files that take its standard output and standard error.
        reaper: says how it has ended.
    """

    pid: int
    streams: tuple[IO[bytes], IO[bytes]]
    reaper: socket.socket
    returncode: int | None = None

    def read(self, stream: int) -> str:
        """What it has written so far, to standard output (0) or standard error (1)."""
        fd = self.streams[stream].fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def poll(self) -> int | None:
        """Its status if it has ended, else None."""
        return self._status(0)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait until it has ended; return what it has written."""
        if self._status(timeout) is None:
            raise TimeoutError(f"process {self.pid} does not end")
        return self.read(0), self.read(1)

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._status(None)

    def _status(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self.reaper.settimeout(timeout)
            with suppress(BlockingIOError, TimeoutError):
                self.returncode = os.waitstatus_to_exitcode(_number_from(self.reaper))
        return self.returncode


def run_ready(*words: str, files: Sequence[int], cwd: Path, environment: dict[str, str]) -> Callable[[], int]:
    """Start `ksmactors WORDS...` in a fork, without a client in between.

    Args:
        words: the command line.
        files: its standard streams.
        cwd: its directory.
        environment: all its variables.

    Returns:
        A function that waits until it has ended, and returns its status.
    """
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    pid, reaper = _fork(list(words), variables, list(files), directory=cwd)
    if pid == 0:
        reaper.close()
        stdin, stdout, stderr = files
        process = subprocess.Popen(
            [sys.executable, "-m", "ksmactors", *words],
            stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=environment,
        )  # fmt: skip
        return lambda: process.wait(SECONDS_MAX)

    def status() -> int:
        with reaper:
            reaper.settimeout(SECONDS_MAX)
            return os.waitstatus_to_exitcode(_number_from(reaper))

    return status


def start_ready(*words: str, environment: dict[str, str]) -> ReadyProcess:
    """Start `ksmactors WORDS...` in a fork that leads a session."""
    streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  # they are the process's
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    with Path(os.devnull).open("rb") as nothing:
        files = [nothing.fileno(), *(stream.fileno() for stream in streams)]
        pid, reaper = _fork(list(words), variables, files, leads_session=True)
    assert pid, "the environment is not that of the server"
    return ReadyProcess(pid, streams, reaper)


def _fork(
    words: list[str] | None, environment: dict[bytes, bytes], files: list[int], *, leads_session: bool = False,
    directory: Path | None = None,
) -> tuple[int, socket.socket]:  # fmt: skip
    """Have this process's server fork. Returns the fork's process, or 0, and the socket that says how it ends."""
    request = marshal.dumps((words, os.fsencode(directory or Path.cwd()), environment, [], leads_session))
    reaper = socket.socket(socket.AF_UNIX)
    reaper.connect(_server(os.getpid()))
    socket.send_fds(reaper, [len(request).to_bytes(LENGTH, "big")], files)
    reaper.sendall(request)
    return _number_from(reaper), reaper


def _number_from(reaper: socket.socket) -> int:
    return int.from_bytes(reaper.recv(LENGTH, socket.MSG_WAITALL), "big")


def share_server() -> None:
    """Start a server for this process and those that it starts from now on. It is not waited for."""
    os.environ[SHARED], _ = _started()


@cache
def _server(_pid: int) -> str:
    """The socket of this process's server, or of the one that it shares."""
    if _DOOR is not None:
        until = monotonic() + SECONDS_MAX
        while not Path(_DOOR).exists():  # it may be importing still
            assert monotonic() < until, "the parent's server does not open"
            sleep(0.05)
        return _DOOR
    door, ready = _started()
    assert ready.read(5) == b"ready"
    return door


def _started() -> tuple[str, IO[bytes]]:
    """Start a server that ends with this process. Returns its socket, and the stream on which it says that it is
    ready."""
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
    return door, process.stdout
