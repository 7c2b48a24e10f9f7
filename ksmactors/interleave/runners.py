"""What runs the actors of a schedule: a trio task for each of them, or one task for all.

By default each actor runs in a trio task of its own (`TaskRunner`), and a hand-over of the turn is a trip through
trio's run loop. If the actors use nothing that trio keeps for each task, the task that runs the schedule can run all of
them (`DirectRunner`): that saves the trip, which costs more than most operations do.

Either way a cancelled schedule ends at the next hand-over, Ctrl-C is raised in the running actor, and an actor can
await nothing but the conductor. The choices are the same, too. `DirectRunner` sees a deadline that was set after the
task pool was opened at its next trip, which is at most HAND_OVERS_PER_TRIP away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from math import inf
from types import coroutine
from typing import Any, Final, Protocol, cast

import trio
from outcome import Value
from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.task_pool import TaskPool

HAND_OVERS_PER_TRIP: Final = 64
"""Direct hand-overs between two trips through trio's run loop, in which other tasks run: a millisecond or less."""


_GO: Final = Value(None)
"""What `_driven` gets from trio when its actor is to run on. It is never unwrapped, so one object serves all."""


class _ToTheRunner(tuple[str]):
    """Suspends the actor that awaits it, each time."""

    __slots__ = ()
    __await__ = tuple.__iter__


TO_THE_RUNNER: Final = cast("Awaitable[None]", _ToTheRunner(("the turn has passed",)))  # an iterator is enough
"""What an actor awaits that has given the turn away, until it has it again."""


class ConductorState(Protocol):
    """What a runner needs of the conductor."""

    turn: Actor
    over: bool
    actors: list[Actor]

    def _supervised(self, coro: Coroutine[Any, Any, None]) -> object:
        """Run an actor's coroutine until it gives the turn away. Returns what it yields; None if it has ended."""
        ...

    def _leave(self, actor: Actor) -> None:
        """End an actor whose code has come to its end, and choose the next one."""
        ...

    def _fail(self, failure: BaseException) -> None:
        """End the schedule with what the running actor raised."""
        ...

    def _cancel(self) -> None:
        """End the schedule, since trio has cancelled a task of it."""
        ...


class ActorRunner(ABC):
    """Runs the actors of one schedule."""

    def __init__(self, conductor: ConductorState, task_pool: TaskPool) -> None:
        self._conductor, self._task_pool = conductor, task_pool

    @abstractmethod
    async def run(self, first: Actor) -> None:
        """Run the actors until the schedule is over, the first one in the awaiting task."""

    def adopt(self, actor: Actor) -> None:
        """Note a new actor, in the context of the one that spawned it."""

    @abstractmethod
    def give(self, actor: Actor) -> None:
        """Have an actor run that has the turn now, after one that has ended or is about to await TO_THE_RUNNER."""

    @abstractmethod
    def let_go(self) -> None:
        """Let no actor wait any longer: the schedule is over."""


class TaskRunner(ActorRunner):
    """Each actor in a trio task, of which only that of the actor with the turn is runnable."""

    def __init__(self, conductor: ConductorState, task_pool: TaskPool) -> None:
        super().__init__(conductor, task_pool)
        self._awake: Actor | None = None
        """The actor whose task is running or about to."""
        self._waiting: trio.lowlevel.Task | None = None
        """The task that runs the schedule, once its actor has ended."""

    @override
    async def run(self, first: Actor) -> None:
        self._awake = first
        await self._run_actor(first)
        if not self._conductor.over:
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(partial(self._cut_off, None))

    @trio.lowlevel.disable_ki_protection
    async def _run_actor(self, actor: Actor) -> None:
        """Run an actor until it or the schedule ends."""
        conductor = self._conductor
        if conductor.over:  # the schedule ended before the task started
            return
        actor.task = trio.lowlevel.current_task()
        try:
            await self._driven(actor)
            if not conductor.over:
                conductor._leave(actor)
        except trio.Cancelled:
            raise
        except BaseException as failure:  # whatever it is, `Conductor.run` raises it again
            conductor._fail(failure)

    @coroutine
    def _driven(self, actor: Actor) -> Generator[Any, Any, None]:
        """Run an actor's coroutine; its task waits in trio while another actor has the turn."""
        conductor, coro, wait = self._conductor, actor.coroutine, _message(partial(self._cut_off, actor))
        while conductor._supervised(coro) is not None:
            outcome = yield wait
            if outcome is not _GO:  # cancelled: goes past the actor, which `run` closes in its order
                outcome.unwrap()
            if conductor.over:
                return

    @override
    @trio.lowlevel.enable_ki_protection  # Ctrl-C must find the actor woken, or not
    def give(self, actor: Actor) -> None:
        self._awake = actor
        if actor.task is not None:
            trio.lowlevel.reschedule(actor.task, _GO)
        else:
            self._task_pool.submit(partial(self._run_actor, actor))

    @override
    def let_go(self) -> None:
        running = _running_task()
        if self._waiting is not None and self._waiting is not running:
            trio.lowlevel.reschedule(self._waiting)
        parked = [actor.task for actor in self._conductor.actors if actor is not self._awake]
        for task in parked:
            if task is not None and task is not running:
                trio.lowlevel.reschedule(task, _GO)  # `_driven` lets go of it; the conductor closes it in its order

    def _cut_off(self, actor: Actor | None, _: object = None) -> trio.lowlevel.Abort:
        """Abort function of parked tasks: the schedule is cancelled from outside, and with it a parked actor or the
        waiting task."""
        if actor is None:
            self._waiting = None
        else:
            actor.task = None  # trio wakes it
        self._conductor._cancel()
        return trio.lowlevel.Abort.SUCCEEDED


class DirectRunner(ActorRunner):
    """All actors in the task that runs the schedule, each with context variables of its own."""

    @override
    @trio.lowlevel.disable_ki_protection
    async def run(self, first: Actor) -> None:
        conductor, pool = self._conductor, self._task_pool
        try:
            while True:
                actor = conductor.turn
                if actor.context.run(conductor._supervised, actor.coroutine) is None and not conductor.over:
                    conductor._leave(actor)
                if conductor.over:
                    return
                pool.hand_overs += 1
                is_due = pool.deadline != inf and pool.deadline <= trio.current_time()
                if pool.hand_overs % HAND_OVERS_PER_TRIP and not is_due:
                    await trio.lowlevel.checkpoint_if_cancelled()
                else:
                    await trio.lowlevel.checkpoint()
                    pool.deadline = trio.current_effective_deadline()
        except trio.Cancelled:
            conductor._cancel()
            raise
        except BaseException as failure:  # whatever it is, `Conductor.run` raises it again
            conductor._fail(failure)

    @override
    def adopt(self, actor: Actor) -> None:
        actor.context = copy_context()

    @override
    def give(self, actor: Actor) -> None:
        """Do nothing: the loop of `run` goes on with the actor that has the turn."""

    @override
    def let_go(self) -> None:
        """Do nothing: the loop of `run` ends."""


def _message(abort: Callable[[Any], trio.lowlevel.Abort]) -> object:
    """Return what `wait_task_rescheduled` yields to trio. The same serves a task each time that it waits, since only
    the abort function is in it; what comes back is an outcome."""
    waiting = trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105
    message = waiting.send(None)
    waiting.close()
    return message


def _running_task() -> trio.lowlevel.Task | None:
    """Return the running task, or None between two tasks, where trio cancels a scope whose deadline has passed."""
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None
