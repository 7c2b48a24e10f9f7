"""The part of trio's API that concurrent code is made of, under a schedule: `from ksmactors.model import trio`.

Nurseries, cancel scopes, timeouts in virtual time, events, locks, conditions, semaphores, limiters and memory channels,
with trio's semantics, names and errors. Each task is an actor, and each checkpoint a point at which the turn can pass.
Code that uses `trio.Lock` and the like runs unchanged if the name `trio` in its module is bound to this one.

Any task that can run may be next, as trio's documentation allows. Today's trio runs all tasks that are ready once
before it runs any again, so that some of these orders need a slow task or I/O there.
"""

from __future__ import annotations

from typing import Any

from trio import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfChannel,
    TooSlowError,
    WouldBlock,
)

from ksmactors.trio import lowlevel
from ksmactors.trio.channels import TrioReceiveChannel as MemoryReceiveChannel
from ksmactors.trio.channels import TrioSendChannel as MemorySendChannel
from ksmactors.trio.channels import open_memory_channel
from ksmactors.trio.limiter import TrioCapacityLimiter as CapacityLimiter
from ksmactors.trio.locks import TrioCondition as Condition
from ksmactors.trio.locks import TrioEvent as Event
from ksmactors.trio.locks import TrioLock as Lock
from ksmactors.trio.locks import TrioLock as StrictFIFOLock
from ksmactors.trio.locks import TrioSemaphore as Semaphore
from ksmactors.trio.nurseries import StartStatus as TaskStatus
from ksmactors.trio.nurseries import TaskNursery as Nursery
from ksmactors.trio.nurseries import open_nursery
from ksmactors.trio.scopes import (
    CancelScope,
    current_time,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
    sleep,
    sleep_forever,
    sleep_until,
)
from ksmactors.trio.tasks import Cancelled

__all__ = [
    "BrokenResourceError", "BusyResourceError", "CancelScope", "Cancelled", "CapacityLimiter", "ClosedResourceError",
    "Condition", "EndOfChannel", "Event", "Lock", "MemoryReceiveChannel", "MemorySendChannel", "Nursery", "Semaphore",
    "StrictFIFOLock", "TaskStatus", "TooSlowError", "WouldBlock", "current_time", "fail_after", "fail_at", "lowlevel",
    "move_on_after", "move_on_at", "open_memory_channel", "open_nursery", "sleep", "sleep_forever", "sleep_until",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"ksmactors.model.trio has no {name!r}: only what has a meaning under a schedule is here: {', '.join(__all__)}"
    )
