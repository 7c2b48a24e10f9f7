"""The trio tasks that run actors, reused from schedule to schedule.

A task and a nursery for each actor and schedule would cost more than a short schedule itself. A task whose actor has
ended waits for the next actor, of any schedule.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import outcome
import trio

Part = Callable[[], Awaitable[None]]


class TaskPool:
    """Tasks of one nursery that run coroutines. Made by `open_task_pool`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._idle: list[trio.lowlevel.Task] = []
        self.hand_overs = 0
        """Hand-overs that `runners.DirectRunner` did without a task of the pool."""
        self.deadline = trio.current_effective_deadline()
        """The deadline for what uses the pool, as it was after the last trip of a `DirectRunner` through trio."""

    def submit(self, part: Part) -> None:
        """Have a task run a coroutine as soon as the caller lets trio go on."""
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop(), outcome.Value(part))
        else:
            self._nursery.start_soon(self._live, part)

    @trio.lowlevel.enable_ki_protection  # a part lifts it while it runs
    async def _live(self, part: Part) -> None:
        me = trio.lowlevel.current_task()
        while True:
            await part()
            self._idle.append(me)
            part = await trio.lowlevel.wait_task_rescheduled(_let_go)


def _let_go(_: Any) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


@asynccontextmanager
async def open_task_pool() -> AsyncIterator[TaskPool]:
    """Open a task pool for a block. Exceptions of the block come out as they are, not in a group. Ctrl-C in a task of
    the pool is Ctrl-C of the block."""
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield TaskPool(nursery)
            except BaseException as error:
                failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        interrupts, others = group.split(KeyboardInterrupt)
        waiting = interrupts is not None and isinstance(failure, trio.Cancelled)
        if waiting or (failure is None and others is None):  # the block waited for the task, or the tasks were leaving
            failure = KeyboardInterrupt()
        elif failure is None:
            raise
    if failure is not None:
        raise failure
