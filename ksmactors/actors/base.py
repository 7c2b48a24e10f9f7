"""What the kernel's own actors have in common: a mailbox, and one `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.mailbox import Mailbox, PendingCall, call
from ksmactors.machine import Machine

CPUS_PER_NODE: Final = 4
"""CPUs are labels: node N has CPUs 4N to 4N+3."""


def cpu_of(node: int, count: int) -> int:
    """The CPU of the `count`-th actor (from 0) of a node, dealt in turn."""
    return node * CPUS_PER_NODE + count % CPUS_PER_NODE


class Daemon(ABC):
    """An actor that the workload does not wait for: starts when it is made, ends with the schedule."""

    def __init__(self, machine: Machine, name: str, *, node: int = 0, cpu: int = 0) -> None:
        self.machine = machine
        self.kernel = machine.kernel
        self.conductor = machine.conductor
        self.mailbox: Mailbox[PendingCall] = Mailbox(machine.conductor, name)
        self.actor: Actor = machine.conductor.spawn(name, self.run(), cpu=cpu, node=node, daemon=True)

    @abstractmethod
    async def run(self) -> None:
        """What the actor does, for ever."""


class Server(Daemon):
    """A daemon that takes one request after the other out of its mailbox and answers each."""

    @override
    async def run(self) -> None:
        while True:
            await self.serve(await self.mailbox.receive())

    async def serve(self, request: PendingCall) -> None:
        """Do one request and answer it."""
        request.reply(await self.handle(request.what))

    @abstractmethod
    async def handle(self, what: Any) -> Any:
        """Do one request; the result is the answer."""

    async def ask(self, what: Any) -> Any:
        """Called by other actors: send a request and wait for its answer."""
        return await call(self.mailbox, what)
