"""The conductor: gives the turn to one actor at a time and runs a schedule from start to end.

Trio tasks run the actors, or one task for all of them (`runners`), but only that of the actor with the turn is ever
runnable; the others wait in `trio.lowlevel.wait_task_rescheduled`. The order in which trio runs a batch of tasks
therefore cannot matter, and the same choices give the same run on any machine. The actor that gives the turn away picks
its successor.

A schedule is over when its last foreground actor ends or something fails. From then on every operation raises
`ScheduleOver`, so that an actor that swallows errors cannot continue. The remaining coroutines are closed in the order
of their actors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import trio
from typing_extensions import override

from ksmactors.errors import CutShort, EmulatorBug, KsmActorsError
from ksmactors.interleave import reports
from ksmactors.interleave.actor import DONE, Actor
from ksmactors.interleave.runners import TO_THE_RUNNER, ActorRunner, DirectRunner, TaskRunner
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.tape import Tape
from ksmactors.interleave.task_pool import TaskPool, open_task_pool
from ksmactors.interleave.turns import DEFAULT_MAX_STEPS, ScheduleOver, Turns
from ksmactors.interleave.virtual_time import STEP_NS
from ksmactors.seams import PASSED_OVER

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

    __slots__ = ("_cancelled", "_foreground", "_handing", "_runner")

    def __init__(self, strategy: Strategy, tape: Tape, *, max_steps: int = DEFAULT_MAX_STEPS) -> None:
        super().__init__(strategy, tape, max_steps=max_steps)
        self._foreground = 0
        self._handing = False
        self._runner: ActorRunner | None = None
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

    def forget(self) -> None:
        """Let go of the strategy and the tape, after the schedule: both refer to the conductor.

        Without the circle a schedule's objects go when it does, which is sooner and cheaper than by a collection.
        """
        del self.strategy, self._decider, self.tape

    def forget_actors(self) -> None:
        """Let go of the actors, and of what they wait for and hold, after a schedule that is not looked at: much of it
        refers to the conductor, too (see `forget`)."""
        for actor in self.actors:
            actor.waiting_on, actor.op, actor.held, actor.locks = None, DONE, [], ()
        for some in (self.actors, self.ready, self.stuck, self.opening, self._timers):
            some.clear()
        self.contention = None

    # -- the life of a schedule ---------------------------------------------------------------------------

    def spawn(
        self, name: str, coro: Coroutine[Any, Any, None], *, cpu: int = 0, node: int = 0, daemon: bool = False
    ) -> Actor:
        """Add a ready actor. The schedule ends when the last actor that is not a daemon has ended."""
        if self.over:
            coro.close()
            raise ScheduleOver
        if self._runner is None:
            coro.close()
            raise EmulatorBug("spawn before run")
        actor = Actor(len(self.actors), name, cpu, node, daemon, coro)
        self.actors.append(actor)
        self._runner.adopt(actor)
        self._foreground += not daemon
        if self.observers is not None:
            self.observers.spawned(self.turn, actor)
        if self.turn is None:
            self.turn = actor
        self._make_ready(actor)
        return actor

    async def run(
        self,
        name: str,
        main: Callable[[], Coroutine[Any, Any, None]],
        task_pool: TaskPool | None = None,
        *,
        own_tasks: bool = True,
    ) -> None:
        """Run a schedule whose first actor is `main`; re-raise what an actor raised.

        Args:
            name: of the first actor, which the awaiting task runs.
            main: makes its coroutine.
            task_pool: runs the other actors; without it, a pool is opened for this schedule alone.
            own_tasks: whether each actor runs in a trio task of its own, or all in the awaiting one (`runners`).

        Raises:
            trio.Cancelled: a cancel scope around the caller was cancelled before the schedule ended.
        """
        if task_pool is None:
            async with open_task_pool() as task_pool:
                return await self.run(name, main, task_pool, own_tasks=own_tasks)
        await trio.lowlevel.checkpoint_if_cancelled()  # a schedule of one actor has no other checkpoint
        self._runner = (TaskRunner if own_tasks else DirectRunner)(self, task_pool)
        _running.append(self)
        try:
            await self._runner.run(self.spawn(name, main()))
        finally:
            self._runner = None
            for actor in self.actors:
                try:  # noqa: SIM105  # `suppress` takes longer than closing
                    actor.coroutine.close()
                except (Exception, ScheduleOver):  # the verdict is fixed; cleaning up cannot change it
                    pass
            _running.remove(self)
        if self.failure is not None:
            raise self.failure
        if self._cancelled:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise EmulatorBug("the tasks of a schedule were cancelled, but not the task that runs it")
        return None

    def _leave(self, actor: Actor) -> None:
        """End an actor that has done all it does, and give the turn to the next one."""
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
        chosen = self._next()
        if self.observers is not None:
            self.observers.passed(actor, chosen)
        self._take_turn(chosen)
        assert self._runner is not None
        self._runner.give(chosen)

    def _fail(self, failure: BaseException) -> None:
        """End the schedule with what the running actor raised."""
        self._end(failure)
        if isinstance(failure, KeyboardInterrupt):
            self.failure = failure  # where trio woke the main task for it, `_cancel` has ended it without one

    def _cancel(self) -> None:
        """End the schedule, since trio has cancelled a task of it."""
        self._cancelled = True
        self._end(None)

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
                    a.number: next((name for name in reversed(names) if not PASSED_OVER[name]), names[-1])
                    for a in self.actors
                    if a is not self.turn and a.op is not DONE and (names := a.functions())  # DONE: it has ended
                }
            if self._runner is not None:
                self._runner.let_go()

    def _supervised(self, coro: Coroutine[Any, Any, None]) -> object:
        """Run an actor's coroutine until it gives the turn away; only the conductor may make it yield.

        Returns what it yields, or None if it has ended.
        """
        try:
            message = coro.send(None)
            while not self._handing:
                foreign = ScheduleOver() if self.over else self._failed(reports.foreign_await(self.turn))
                message = coro.throw(foreign)
        except StopIteration:
            return None
        self._handing = False
        return message

    @override
    def _pass(self, chosen: Actor) -> Awaitable[None]:
        """Give the turn away. The caller awaits the result at once; it returns when the turn comes back."""
        if self.observers is not None:
            self.observers.passed(self.turn, chosen)
        self._take_turn(chosen)
        assert self._runner is not None
        self._runner.give(chosen)
        self._handing = True
        return TO_THE_RUNNER
