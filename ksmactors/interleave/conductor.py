"""The conductor: gives the turn to one actor at a time and runs a schedule from start to end.

Trio tasks run the actors (`task_pool`), but only the task of the actor with the turn is ever runnable; the others wait
in `trio.lowlevel.wait_task_rescheduled`. The order in which trio runs a batch of tasks therefore cannot matter, and the
same choices give the same run on any machine. The actor that gives the turn away picks its successor and wakes it
itself.

A schedule is over when its last foreground actor ends or something fails. From then on every operation raises
`ScheduleOver`, so that an actor that swallows errors cannot continue. The remaining coroutines are closed in the order
of their actors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from types import coroutine
from typing import Any, Final

import trio
from typing_extensions import override

from ksmactors.errors import CutShort, EmulatorBug, KsmActorsError
from ksmactors.interleave import reports
from ksmactors.interleave.actor import DONE, Actor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.tape import Tape
from ksmactors.interleave.task_pool import TaskPool, open_task_pool
from ksmactors.interleave.turns import DEFAULT_MAX_STEPS, STEP_NS, ScheduleOver, Turns
from ksmactors.seams import is_passed_over

__all__ = ["DEFAULT_MAX_STEPS", "STEP_NS", "Conductor", "ScheduleOver"]


CONTROL_FLOW: Final = (KeyboardInterrupt, GeneratorExit, ScheduleOver, trio.Cancelled)
"""Exceptions that pass through an actor's code without being a failure of it."""


_running: Final[list[Conductor]] = []
"""The conductor of the schedule under way, if one is."""


def current_conductor() -> Conductor | None:
    """Return the conductor of the schedule under way: at most one is at a time. None: no schedule is."""
    return _running[-1] if _running else None


class Conductor(Turns):
    """One schedule, run on trio."""

    def __init__(self, strategy: Strategy, tape: Tape, *, max_steps: int = DEFAULT_MAX_STEPS) -> None:
        super().__init__(strategy, tape, max_steps=max_steps)
        self._foreground = 0
        self._handing = False
        self._task_pool: TaskPool | None = None
        self._waiting: trio.lowlevel.Task | None = None
        self._ungiven = False
        """Whether an actor has been chosen but not woken yet."""
        self._cancelled = False
        """Whether trio has cancelled a task of the schedule."""

    def end_by(self, steps: int) -> None:
        """Set, before the start, the number of points after which a replay has diverged."""
        self.limit = min(self.limit, steps)

    def cut_short(self, why: str) -> KsmActorsError:
        """End the schedule now, without a verdict. For an observer, which raises what is returned."""
        return self._failed(CutShort(why))

    @property
    def spent(self) -> int:
        """Return what counts against the step limit: points passed, or sleeps if there were more."""
        return max(self.step, self._timers_set)

    # -- the life of a schedule ---------------------------------------------------------------------------

    def spawn(
        self, name: str, coro: Coroutine[Any, Any, None], *, cpu: int = 0, node: int = 0, daemon: bool = False
    ) -> Actor:
        """Add a ready actor. The schedule ends when the last actor that is not a daemon has ended."""
        if self.over:
            coro.close()
            raise ScheduleOver
        if self._task_pool is None:
            coro.close()
            raise EmulatorBug("spawn before run")
        actor = Actor(len(self.actors), name, cpu, node, daemon, coro)
        self.actors.append(actor)
        self._foreground += not daemon
        if self.observers is not None:
            self.observers.spawned(self.turn, actor)
        if self.turn is None:
            self.turn = actor
        self._make_ready(actor)
        return actor

    async def run(
        self, name: str, main: Callable[[], Coroutine[Any, Any, None]], task_pool: TaskPool | None = None
    ) -> None:
        """Run a schedule whose first actor is `main`; re-raise what an actor raised.

        Args:
            name: of the first actor, which the awaiting task runs.
            main: makes its coroutine.
            task_pool: runs the other actors; without it, a pool is opened for this schedule alone.

        Raises:
            trio.Cancelled: a cancel scope around the caller was cancelled before the schedule ended.
        """
        if task_pool is None:
            async with open_task_pool() as task_pool:
                return await self.run(name, main, task_pool)
        await trio.lowlevel.checkpoint_if_cancelled()  # a schedule of one actor has no other checkpoint
        self._task_pool = task_pool
        _running.append(self)
        try:
            await self._run_actor(self.spawn(name, main()))
            if not self.over:
                self._waiting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(partial(self._cut_off, None))
        finally:
            self._task_pool = None
            for actor in self.actors:
                with suppress(Exception, ScheduleOver):  # the verdict is fixed; cleaning up cannot change it
                    actor.coroutine.close()
            _running.remove(self)
        if self.failure is not None:
            raise self.failure
        if self._cancelled:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise EmulatorBug("the tasks of a schedule were cancelled, but not the task that runs it")
        return None

    @trio.lowlevel.disable_ki_protection
    async def _run_actor(self, actor: Actor) -> None:
        """Run an actor until it or the schedule ends."""
        if self.over:  # the schedule ended before the task started
            return
        actor.task = trio.lowlevel.current_task()
        try:
            await self._supervised(actor.coroutine)
            if not self.over:
                self._leave(actor)
        except trio.Cancelled:
            raise
        except KeyboardInterrupt as failure:
            self._end(failure)
            self.failure = failure  # where trio woke the main task for it, `_cut_off` has ended it without one
        except BaseException as failure:  # whatever it is, `run` raises it again
            self._end(failure)

    def _leave(self, actor: Actor) -> None:
        if self.observers is not None:
            self.observers.ended(actor)
        actor.op = DONE  # no operation is pending any more
        self._settle(self._armed - self._left)
        self._remove(actor)
        self._foreground -= not actor.daemon
        if self._foreground == 0:
            self._end(None)
            return
        actor.task = None
        self._ungiven = True
        chosen = self._next()
        if self.observers is not None:
            self.observers.passed(actor, chosen)
        self._take_turn(chosen)
        self._give()

    @override
    def _end(self, failure: BaseException | None) -> None:
        if not self.over:
            self._settle(self._armed - self._left)
            self._ask_at_next_point()
            self.over = True
            self.failure = failure
            self._dismiss_audience()
            if failure is not None:
                self.places = {
                    a.number: next((name for name in reversed(names) if not is_passed_over(name)), names[-1])
                    for a in self.actors
                    if a is not self.turn and (names := a.functions())
                }
            parked = [a.task for a in self.actors if a is not self.turn or self._ungiven]
            running = _running_task()
            for task in (self._waiting, *parked):
                if task is not None and task is not running:
                    trio.lowlevel.reschedule(task)  # `_supervised` lets go of the actor; `run` closes it in its order

    @coroutine
    def _supervised(self, coro: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Drive an actor's coroutine; only the conductor may yield to trio."""
        try:
            message = coro.send(None)
            while True:
                if not self._handing:
                    foreign = ScheduleOver() if self.over else self._failed(reports.foreign_await(self.turn))
                    message = coro.throw(foreign)
                    continue
                self._handing = False
                outcome = yield message
                if hasattr(outcome, "error"):  # cancelled: goes past the actor, which `run` closes in its order
                    outcome.unwrap()
                if self.over:
                    return
                message = coro.send(outcome)
        except StopIteration:
            return

    @override
    def _pass(self, chosen: Actor) -> Awaitable[None]:
        """Give the turn away. The caller awaits the result at once; it returns when the turn comes back."""
        me = self.turn
        if self.observers is not None:
            self.observers.passed(me, chosen)
        self._ungiven = True  # Ctrl-C may arrive before it is woken
        self._take_turn(chosen)
        self._give()
        self._handing = True
        return trio.lowlevel.wait_task_rescheduled(partial(self._cut_off, me))  # noqa: ASYNC105  # saves the callers a frame

    def _give(self) -> None:
        """Wake the actor that has been given the turn, or start it in the task pool."""
        actor = self.turn
        self._ungiven = False
        if actor.task is not None:
            trio.lowlevel.reschedule(actor.task)
        elif self._task_pool is not None:
            self._task_pool.submit(partial(self._run_actor, actor))

    def _cut_off(self, actor: Actor | None, _: object = None) -> trio.lowlevel.Abort:
        """Abort function of parked tasks: the schedule is cancelled from outside, and with it a parked actor or the
        waiting task."""
        if actor is None:
            self._waiting = None
        else:
            actor.task = None  # trio wakes it
        self._cancelled = True
        self._end(None)
        return trio.lowlevel.Abort.SUCCEEDED


def _running_task() -> trio.lowlevel.Task | None:
    """Return the running task, or None between two tasks, where trio cancels a scope whose deadline has passed."""
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None
