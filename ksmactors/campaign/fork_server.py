"""The process that a campaign's workers are forked from.

It has imported what they need, so a worker starts within milliseconds. It has one thread and no file but its socket.
When its parent ends, however that happens, it ends all workers, even one that is stuck in C code.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import spawn
from time import sleep
from typing import Final, NoReturn

from ksmactors.aside import own_fds
from ksmactors.campaign import workers
from ksmactors.campaign.open_files import flush_open_files

_START: Final = "from ksmactors.campaign.fork_server import main; main({fd})"
"""What a server does that is no fork."""

_LENGTH: Final = 8
"""Bytes of the length of what a new interpreter has to know."""

END_SECONDS: Final = 1.0
"""How long workers may take to write what their files hold, once their parent has gone."""

PAUSE_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class ForkServer:
    """A fork server as its parent has it. Made by `forked` or `started`.

    Attributes:
        control: takes the sockets of new workers, each with a byte.
        pid: of the process.
    """

    control: socket.socket
    pid: int

    def fork(self, connection: socket.socket) -> None:
        """Have a worker forked that serves at a socket.

        Raises:
            OSError: the server has ended.
        """
        socket.send_fds(self.control, [b"w"], [connection.fileno()])

    @property
    def has_ended(self) -> bool:
        """Whether it has died."""
        control = select.poll()
        control.register(self.control, 0)
        return bool(control.poll(0))

    def close(self) -> None:
        """End it and all its workers, and wait until they have ended."""
        self.control.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def forked() -> ForkServer:
    """Start a fork server: as a fork of this process, or with a new interpreter if this one has several threads. No
    event loop may be running.

    Raises:
        OSError: no process can be started.
    """
    if threading.active_count() > 1:
        return started()
    flush_open_files()
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            try:
                ours.close()
                _serve(theirs)
            finally:  # nothing of the parent's may run here
                os._exit(1)
    return ForkServer(ours, pid)


def started() -> ForkServer:
    """Start a fork server with a new interpreter, which is told what a process of `multiprocessing` is told.

    Raises:
        OSError: no process can be started.
    """
    ours, theirs = socket.socketpair()
    data = preparation()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _START.format(fd=theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
    process.returncode = 0  # `close` waits for it
    with suppress(OSError):  # it has ended; so `fork` will say
        ours.sendall(data)
    return ForkServer(ours, process.pid)


def preparation() -> bytes:
    """Return what `main` reads first from its socket: what a process of `multiprocessing` is told of this one."""
    known = spawn.get_preparation_data("ksmactors worker")
    known.pop("authkey", None)  # it cannot be pickled here, and nobody asks for it
    data = pickle.dumps(known)
    return len(data).to_bytes(_LENGTH, "big") + data


def main(fd: int) -> NoReturn:
    """Serve at a socket, in a new interpreter."""
    control = socket.socket(fileno=fd)
    size = int.from_bytes(control.recv(_LENGTH, socket.MSG_WAITALL), "big")
    spawn.prepare(pickle.loads(control.recv(size, socket.MSG_WAITALL)))
    _serve(control)


def _serve(control: socket.socket) -> NoReturn:
    """Fork a worker for each socket that comes, until the parent has closed its end."""
    workers.leave_interruptions_to_parent()
    _leave_streams_alone()
    gc.freeze()
    children: set[int] = set()
    while (connection := _received(control)) is not None:
        with connection:
            children -= set(_ended(children))
            with suppress(OSError):  # no more processes: the worker is gone before it says a word
                pid = os.fork()
                if pid == 0:
                    _work(control, connection)
                children.add(pid)
    for _ in range(round(END_SECONDS / PAUSE_SECONDS)):  # they end by themselves, and write their files first
        children -= set(_ended(children))
        if not children:
            break
        sleep(PAUSE_SECONDS)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os._exit(0)


def _work(control: socket.socket, connection: socket.socket) -> NoReturn:
    try:
        control.close()
        workers.serve(connection)
    finally:
        workers.end_worker()


def _received(control: socket.socket) -> socket.socket | None:
    """The next socket; None if there are no more."""
    with suppress(OSError):
        _, fds, _, _ = socket.recv_fds(control, 1, 1)
        return socket.socket(fileno=fds[0]) if fds else None
    return None


def _ended(children: set[int]) -> list[int]:
    return [child for child in children if os.waitpid(child, os.WNOHANG)[0]]


def _leave_streams_alone() -> None:
    """Read and write nothing that is the parent's: workloads print into what goes to it by the socket."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (*range(3), *own_fds()):
        os.dup2(nowhere, fd)
    os.close(nowhere)
