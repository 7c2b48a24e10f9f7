"""Memory channels with trio's semantics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from trio import BrokenResourceError, ClosedResourceError, EndOfChannel, MemoryChannelStatistics, WouldBlock
from typing_extensions import override

from ksmactors.trio.locks import SharedObject
from ksmactors.trio.tasks import (
    ScopedTask,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    park,
    tables,
    tell,
    unpark,
)

T = TypeVar("T")


class MemoryChannel(SharedObject, Generic[T]):
    """What both ends of a channel share: the buffer, and the tasks that wait, each with its end and its value."""

    kind = "channel"

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = most
        self.data: deque[T] = deque()
        self.peak = self.open_send = self.open_receive = 0
        self.senders: dict[ScopedTask, tuple[_ChannelEnd[T], T]] = {}
        self.receivers: dict[ScopedTask, _ChannelEnd[T]] = {}

    def statistics(self) -> MemoryChannelStatistics:
        """As trio's."""
        return MemoryChannelStatistics(
            current_buffer_used=len(self.data),
            max_buffer_size=self.most,
            open_send_channels=self.open_send,
            open_receive_channels=self.open_receive,
            tasks_waiting_send=len(self.senders),
            tasks_waiting_receive=len(self.receivers),
            peak_buffer_used=self.peak,
        )


class _ChannelEnd(ABC, Generic[T]):
    """One end: closed on its own, and the channel with the last one of its side."""

    def __init__(self, channel: MemoryChannel[T]) -> None:
        self._channel, self._closed = channel, False

    def statistics(self) -> MemoryChannelStatistics:
        """As trio's."""
        return self._channel.statistics()

    def clone(self) -> Self:
        """Another end of the same side."""
        self._check_open()
        return type(self)(self._channel)

    def close(self) -> None:
        """Close this end; no checkpoint."""
        if not self._closed:
            self._closed = True
            self._close()

    async def aclose(self) -> None:
        """Close this end; a checkpoint."""
        self.close()
        await checkpoint()

    @abstractmethod
    def _close(self) -> None:
        """Take this end out of the channel."""

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class TrioSendChannel(_ChannelEnd[T]):
    """As trio.MemorySendChannel."""

    def __init__(self, channel: MemoryChannel[T]) -> None:
        super().__init__(channel)
        channel.open_send += 1

    def send_nowait(self, value: T) -> None:
        """Hand a value to the first receiver, or put it into the buffer.

        Raises:
            WouldBlock: the buffer is full.
            BrokenResourceError: all receiving ends are closed.
            ClosedResourceError: this end is.
        """
        channel = self._channel
        self._check_open()
        if channel.open_receive == 0:
            raise BrokenResourceError
        if channel.receivers:
            task = next(iter(channel.receivers))
            del channel.receivers[task]
            tell(channel, f"sends to {task.name} by {channel.name}")
            unpark(task, value)
        elif len(channel.data) < channel.most:
            channel.data.append(value)
            channel.peak = max(channel.peak, len(channel.data))
            tell(channel, f"sends to {channel.name}")
        else:
            raise WouldBlock

    async def send(self, value: T) -> None:
        """Send a value; blocks while the buffer is full."""
        await checkpoint_if_cancelled()
        try:
            self.send_nowait(value)
        except WouldBlock:
            pass
        else:
            await cancel_shielded_checkpoint()
            return
        task, senders = tables().current(), self._channel.senders
        senders[task] = self, value

        def abort() -> bool:
            del senders[task]
            return True

        await park(self._channel, abort)

    @override
    def _close(self) -> None:
        channel = self._channel
        channel.open_send -= 1
        tell(channel, f"closes its end of {channel.name}")
        for task, (end, _) in list(channel.senders.items()):
            if end is self:
                del channel.senders[task]
                unpark(task, error=ClosedResourceError())
        if channel.open_send == 0:
            waiting, channel.receivers = channel.receivers, {}
            for task in waiting:
                unpark(task, error=EndOfChannel())


class TrioReceiveChannel(_ChannelEnd[T]):
    """As trio.MemoryReceiveChannel."""

    def __init__(self, channel: MemoryChannel[T]) -> None:
        super().__init__(channel)
        channel.open_receive += 1

    def receive_nowait(self) -> T:
        """Take the oldest value.

        Raises:
            WouldBlock: there is none.
            EndOfChannel: there is none, and all sending ends are closed.
            ClosedResourceError: this end is.
        """
        channel = self._channel
        self._check_open()
        if channel.senders:
            task, (_, value) = next(iter(channel.senders.items()))
            del channel.senders[task]
            channel.data.append(value)
            unpark(task)
        if channel.data:
            tell(channel, f"receives from {channel.name}")
            return channel.data.popleft()
        if not channel.open_send:
            raise EndOfChannel
        raise WouldBlock

    async def receive(self) -> T:
        """Take the oldest value; blocks until there is one."""
        await checkpoint_if_cancelled()
        try:
            value = self.receive_nowait()
        except WouldBlock:
            pass
        else:
            await cancel_shielded_checkpoint()
            return value
        task = tables().current()
        self._channel.receivers[task] = self

        def abort() -> bool:
            del self._channel.receivers[task]
            return True

        value = await park(self._channel, abort)
        tell(self._channel, f"receives from {self._channel.name}")
        return value

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None

    @override
    def _close(self) -> None:
        channel = self._channel
        channel.open_receive -= 1
        tell(channel, f"closes its end of {channel.name}")
        for task, end in list(channel.receivers.items()):
            if end is self:
                del channel.receivers[task]
                unpark(task, error=ClosedResourceError())
        if channel.open_receive == 0:
            waiting, channel.senders = channel.senders, {}
            for task in waiting:
                unpark(task, error=BrokenResourceError())
            channel.data.clear()


class open_memory_channel(tuple[TrioSendChannel[T], TrioReceiveChannel[T]]):  # noqa: N801, SLOT001  # trio's name
    """As trio.open_memory_channel: a sending and a receiving end; `open_memory_channel[int](1)` works, too."""

    def __new__(cls, max_buffer_size: float) -> tuple[TrioSendChannel[T], TrioReceiveChannel[T]]:  # type: ignore[misc]
        """Make a channel whose buffer has so many places (an int, or inf)."""
        if max_buffer_size != inf and not isinstance(max_buffer_size, int):
            raise TypeError("max_buffer_size must be an integer or math.inf")
        if max_buffer_size < 0:
            raise ValueError("max_buffer_size must be >= 0")
        channel: MemoryChannel[Any] = MemoryChannel(max_buffer_size)
        return TrioSendChannel(channel), TrioReceiveChannel(channel)
