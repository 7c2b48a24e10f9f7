"""`python -P ready_server.py SOCKET`: import all of ksmactors once, and fork a process for each command that comes.

`ready_client` is the other end. The server has one thread, runs no test, and ends when its standard input does.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NoReturn, TextIO

ROOT: Final = str(Path(__file__).parents[2])

LENGTH: Final = 8
"""Bytes of a number between client and server."""

SHAPES_INTERPRETER: Final = (b"PYTHON", b"LANG", b"LC_")
"""What the names of variables begin with that the interpreter reads when it starts."""

SET_ANEW: Final = b"PYTHONPATH"
"""Such a variable that a fork can still obey."""

RARE: Final = ("ksmactors.pytest_plugin", "ksmactors.testing", "ksmactors.campaign.dask", "ksmactors.guest")
"""What few commands import, and what has much to import itself."""

LOST_OUTPUT: Final = 120
"""The status of an interpreter that cannot write what is left in its standard streams."""

Request = tuple[list[str] | None, bytes, dict[bytes, bytes], list[int], bool]
"""Words, directory, environment, the numbers of ignored signals, and whether it leads a session. Without words, the
process is the fork server of a campaign, and its fourth file is the server's socket."""


def import_all() -> None:
    """Import what commands import, but for what needs an extra, or is a program."""
    sys.path.insert(0, ROOT)
    for package in ("ksmactors", "workloads"):
        for module in pkgutil.walk_packages([f"{ROOT}/{package}"], f"{package}."):
            if not module.name.endswith("__main__") and not module.name.startswith(RARE):
                with suppress(ImportError):
                    importlib.import_module(module.name)
    for name in (
        "anyio._backends._trio",
        "rich.live",
        "rich.table",
        "rich.progress",
        "rich._emoji_codes",
        "runpy",
        "structlog",
    ):
        importlib.import_module(name)
    sys.path.remove(ROOT)


@dataclass(frozen=True)
class Child:
    """A fork that performs a command: its process, a descriptor that becomes readable when it ends, and its client."""

    pid: int
    ending: int
    client: socket.socket


@dataclass
class Server:
    """The forks of this process: `door` takes the connections of clients."""

    door: socket.socket
    children: list[Child] = field(default_factory=list)

    def serve(self) -> Request:
        """Fork until the tests have ended, and then end. Returns only in a fork: what it has to do."""
        while True:
            poll = select.poll()
            poll.register(0, 0)
            poll.register(self.door, select.POLLIN)
            for child in self.children:
                poll.register(child.ending, select.POLLIN)
                poll.register(child.client, 0)
            ready = {fd for fd, _ in poll.poll()}
            if 0 in ready:
                self._end()
            for child in self.children[:]:
                if child.ending in ready:
                    self._reap(child)
                elif child.client.fileno() in ready:  # it was killed, and its command goes with it
                    os.kill(child.pid, signal.SIGKILL)
                    self._reap(child)
            if self.door.fileno() in ready and (request := self._accept()) is not None:
                return request

    def _accept(self) -> Request | None:
        """Take a command, and fork for it if its interpreter would be as this one is.

        Returns:
            In the fork: the command. In the server: None.
        """
        client, _ = self.door.accept()
        size, streams, _, _ = socket.recv_fds(client, LENGTH, 4)
        request: Request = marshal.loads(client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        pid = os.fork() if _can_obey(request[2]) else None
        if pid == 0:
            self._take(client, streams)
            return request
        client.send((pid or 0).to_bytes(LENGTH, "big"))
        for stream in streams:
            os.close(stream)
        if pid is None:
            client.close()
        else:
            self.children.append(Child(pid, os.pidfd_open(pid), client))
        return None

    def _take(self, client: socket.socket, streams: list[int]) -> None:
        """In a fork, take over the files of its client, and close all other files."""
        for connection in (self.door, client, *(child.client for child in self.children)):
            connection.close()
        high = [fcntl.fcntl(stream, fcntl.F_DUPFD, len(streams)) for stream in streams]
        for fd, stream in enumerate(high):
            os.dup2(stream, fd)
        os.closerange(len(streams), os.sysconf("SC_OPEN_MAX"))

    def _reap(self, child: Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        os.close(child.ending)
        with suppress(OSError):  # nobody waits for it
            child.client.send(status.to_bytes(LENGTH, "big"))
        child.client.close()
        self.children.remove(child)

    def _end(self) -> NoReturn:
        for child in self.children:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        shutil.rmtree(Path(self.door.getsockname()).parent, ignore_errors=True)  # tests that were killed leave it
        os._exit(0)


def _can_obey(environment: dict[bytes, bytes]) -> bool:
    """Whether an interpreter with this environment would be as this one is."""
    ours, theirs = (
        {name: value for name, value in variables.items() if name.startswith(SHAPES_INTERPRETER) and name != SET_ANEW}
        for variables in (os.environb, environment)
    )
    return ours == theirs


def perform(request: Request) -> None:
    """Be `python -m ksmactors`, or a campaign's fork server, in a fork."""
    words, directory, environment, ignored, leads_session = request
    if leads_session:
        os.setsid()
    os.chdir(directory)
    os.environb.clear()
    os.environb.update(environment)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(fd, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    added = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = [str(Path.cwd()), *(added.split(os.pathsep) if added else [])]
    importlib.invalidate_caches()
    if words is None:
        fork_server = importlib.import_module("ksmactors.campaign.fork_server")
        fork_server.main(3)
    sys.argv = ["ksmactors", *words]
    try:
        runpy.run_module("ksmactors", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            leave(end.code or 0)
        raise


def _stream(fd: int, ours: TextIO) -> TextIO:
    """Open a standard stream as the interpreter does; `ours` was opened with the same variables."""
    assert isinstance(ours, TextIOWrapper)
    buffer = open(fd, "wb" if fd else "rb", 0 if ours.write_through and fd else -1, closefd=False)  # noqa: SIM115
    lines = not ours.write_through and (fd == 2 or os.isatty(fd))
    return TextIOWrapper(buffer, ours.encoding, ours.errors, "\n", lines, ours.write_through)


def leave(status: int) -> NoReturn:
    """End as the interpreter does, but for freeing memory, which in a fork means to copy all of it."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = LOST_OUTPUT
    os._exit(status & 0xFF)


def main() -> None:
    """Serve at a socket; in a fork, perform a command."""
    door = socket.socket(socket.AF_UNIX)
    import_all()
    gc.freeze()
    door.bind(f"{sys.argv[1]}.new")
    door.listen(16)
    Path(f"{sys.argv[1]}.new").rename(sys.argv[1])  # who sees it can connect
    os.write(1, b"ready")
    perform(Server(door).serve())


if __name__ == "__main__":
    main()
