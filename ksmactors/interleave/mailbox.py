"""Mailboxes: requests from one actor to another."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.interleave.locks import WaitQueue

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor

T = TypeVar("T")


class Mailbox(Generic[T]):
    """An unbounded queue of messages to one actor (or to several that share the work)."""

    __slots__ = ("arrived", "conductor", "messages", "name")

    def __init__(self, conductor: Conductor, name: str) -> None:
        self.conductor, self.name = conductor, name
        self.messages: deque[T] = deque()
        self.arrived = WaitQueue(conductor, f"mail for {name}", idle=True)

    def label(self, field: object) -> str:
        """Return the label that strategies use: `mailbox/NAME`."""
        return f"mailbox/{self.name}"

    async def send(self, message: T) -> None:
        """Append a message; never blocks. Other actors may run before it is appended."""
        await self.conductor.point(WRITE, self)
        self.messages.append(message)
        self.arrived.wake_all()

    async def receive(self) -> T:
        """Take the oldest message; blocks until there is one."""
        await self.conductor.point(READ, self)
        while not self.messages:
            await self.arrived.wait()
        return self.messages.popleft()


class PendingCall:
    """A message that its sender waits for: the receiver answers with `reply`."""

    __slots__ = ("answer", "answered", "done", "what")

    def __init__(self, conductor: Conductor, what: Any, name: str) -> None:
        self.what = what
        self.answer: Any = None
        self.answered = False
        self.done = WaitQueue(conductor, f"an answer from {name}")

    def reply(self, answer: Any) -> None:
        """Set the answer and wake the sender."""
        self.answer, self.answered = answer, True
        self.done.conductor.touch(RELEASE, self, "answer")
        self.done.wake_all()

    async def result(self) -> Any:
        """Wait for the answer."""
        while not self.answered:
            await self.done.wait()
        self.done.conductor.touch(ACQUIRE, self, "answer")
        return self.answer


async def call(mailbox: Mailbox[PendingCall], what: Any) -> Any:
    """Send a request and wait for its answer."""
    request = PendingCall(mailbox.conductor, what, mailbox.name)
    await mailbox.send(request)
    return await request.result()
