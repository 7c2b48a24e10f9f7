"""Workers as their parent has them: each takes one block after the other, and hands in what comes of it as it comes."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from ksmactors.campaign import fork_server
from ksmactors.campaign.fork_server import ForkServer
from ksmactors.campaign.workers import HEAD, BlockAnswer
from ksmactors.errors import UsageError

_CHUNK: Final = 1 << 16
"""Bytes that are read at once."""


class WorkerDied(Exception):
    """A worker has ended before it was done."""


@dataclass(slots=True)
class _Worker:
    """A worker that is there: its socket, and what has come that is no whole message yet."""

    stream: trio.SocketStream
    came: bytearray = field(default_factory=bytearray)

    async def receive(self) -> tuple[bool, bytes]:
        """Wait for a message.

        Raises:
            WorkerDied: there will be none.
        """
        head = await self._next(HEAD.size)
        last, size = HEAD.unpack(head)
        return last, await self._next(size)

    async def _next(self, size: int) -> bytes:
        while len(self.came) < size:
            try:
                chunk = await self.stream.receive_some(_CHUNK)
            except trio.BrokenResourceError:
                chunk = b""
            if not chunk:
                raise WorkerDied
            self.came += chunk
        taken = bytes(self.came[:size])
        del self.came[:size]
        return taken

    async def send(self, message: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # it has died, as `receive` will say
            await self.stream.send_all(HEAD.pack(True, len(message)) + message)


class WorkerProcesses:
    """Processes that answer tasks, started as they are needed. To be made before the event loop runs, and before files
    are opened that no other process should have."""

    def __init__(self) -> None:
        self._server = _made(fork_server.forked)
        self._idle: list[_Worker] = []
        self._sockets: list[socket.socket] = []
        self._starting = trio.Lock()

    @property
    def server_pid(self) -> int:
        """The process that workers are forked from."""
        return self._server.pid

    async def answer(self, task: bytes, take: Callable[[BlockAnswer], None]) -> None:
        """Have a pickled BlockTask done by a worker.

        Args:
            task: what is to be done.
            take: is called with each part of the answer as it comes.

        Raises:
            WorkerDied: the worker has; what was taken so far is not all.
            UsageError: no process can be started.
        """
        worker = self._idle.pop() if self._idle else await self._new()
        try:
            await worker.send(task)
            last = False
            while not last:
                last, part = await worker.receive()
                take(pickle.loads(part))
        except WorkerDied:
            await trio.aclose_forcefully(worker.stream)
            raise
        self._idle.append(worker)

    async def _new(self) -> _Worker:
        """Start a worker; from a new server if the one there is has died."""
        async with self._starting:
            worker = await self._forked()
            if worker is None and self._server.has_ended:
                self._server.close()
                self._server = _made(fork_server.started)
                worker = await self._forked()
        if worker is None:
            raise UsageError("no more worker processes can be started (memory, ulimit -u); give fewer --jobs")
        return worker

    async def _forked(self) -> _Worker | None:
        """Start a worker; None if it has not said that it is there."""
        ours, theirs = socket.socketpair()
        self._sockets.append(ours)
        with theirs, suppress(OSError):
            self._server.fork(theirs)
        worker = _Worker(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        try:
            await worker.receive()
        except WorkerDied:
            return None
        return worker

    def close(self) -> None:
        """End all processes, and wait until they have ended."""
        for one in self._sockets:
            one.close()
        self._server.close()


def _made(make: Callable[[], ForkServer]) -> ForkServer:
    try:
        return make()
    except OSError as error:
        raise UsageError(f"no worker processes can be started ({error.strerror}); give --jobs 1") from None
