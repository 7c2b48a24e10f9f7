"""The conductor: gives the turn to one actor at a time, and records why.

All actors are trio tasks, but only the one that has the turn is ever runnable; the others are parked in
`trio.lowlevel.wait_task_rescheduled`. So the order in which trio runs a batch of tasks cannot matter, and the same
choices give the same run on any machine. The actor that gives the turn away picks its successor and wakes it itself.

A point at which the turn stays must be cheap, since there are hundreds for each page that ksmd looks at. It decrements
one counter, `_left`. The counter reaches zero where somebody has to think: where the strategy wants to be asked, where
a sleeper is due, where the schedule has run too long. `_arm` computes how far that is, and whatever changes the answer
(an actor becomes ready, blocks, ends) arms the counter anew. Virtual time goes on by `STEP_NS` a point, and jumps to
the next sleeper when nobody is ready.

A schedule is over when its last foreground actor ends or something fails. From then on every operation raises
`ScheduleOver`: an actor that swallows errors cannot go on. The coroutines left are closed in the order of their actors.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from operator import attrgetter, itemgetter
from types import coroutine
from typing import Any, Final

import trio
from sortedcontainers import SortedList

from ksmactors.errors import EmulatorBug, KsmActorsError, ReplayDiverged
from ksmactors.interleave import reports
from ksmactors.interleave.actor import ACQUIRE, YIELD, Actor
from ksmactors.interleave.stay import STAY
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.tape import Tape

STEP_NS: Final = 1_000
"""What a point costs in virtual time: of the order of an uncontended atomic operation with its surroundings."""

DEFAULT_MAX_STEPS: Final = 5_000_000
"""Far above any built-in workload; a schedule that gets here is a livelock or wants another budget."""


class ScheduleOver(BaseException):
    """Ends an actor that moves after its schedule is over. Control flow only: nobody catches it."""


def _always_cancellable(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


class Conductor:
    """One schedule: its actors, its virtual clock, its strategy and its tape.

    Args:
        strategy: who moves next; asked only where two or more actors are ready.
        tape: where choices and draws are recorded, or replayed from.
        max_steps: points after which the schedule is given up (StepLimit).
    """

    def __init__(self, strategy: Strategy, tape: Tape, *, max_steps: int = DEFAULT_MAX_STEPS) -> None:
        self.strategy = strategy
        self.tape = tape
        self.max_steps = max_steps
        strategy.stage = tape.stage = self
        self.actors: list[Actor] = []
        self.ready: list[Actor] = []
        self.turn: Actor = None  # type: ignore[assignment]  # nobody before the first spawn
        self.over = False
        self.failure: BaseException | None = None
        self.places: dict[int, str] = {}
        """After a failure: by number, the function in which each actor was parked that had not ended."""
        self.stuck: list[Actor] = []
        """After a deadlock: the actors that wait for each other."""
        self.contention: Callable[[object, Actor, Actor | None], None] | None = None
        """Called when an actor finds a lock taken: (lock, who waits, who holds)."""
        self._mask = 0
        self._goal = 1
        self._left = 1
        self._armed = 1
        self._jumped_ns = 0
        self._sleepers: SortedList[tuple[int, int, Actor]] = SortedList(key=itemgetter(0, 1))
        self._naps = 0
        self._foreground = 0
        self._handing = False
        self._nursery: trio.Nursery | None = None

    # -- what everybody may ask ---------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Points passed so far."""
        return self._goal - self._left

    @property
    def now(self) -> int:
        """Virtual time, ns."""
        return self._jumped_ns + (self._goal - self._left) * STEP_NS

    def stamp(self) -> tuple[int, int, int]:
        """Step, virtual time in ns and number of the actor that has the turn: what an event is recorded with."""
        step = self._goal - self._left
        return step, self._jumped_ns + step * STEP_NS, self.turn.number

    @property
    def alone(self) -> bool:
        """Whether nobody but the actor that has the turn could move: then a longer and a shorter way are one."""
        return len(self.ready) == 1

    def draw(self, label: str, n: int) -> int:
        """Draw a number in 0..n-1 through the tape; `label` says what for."""
        if self.over:
            raise ScheduleOver
        try:
            return self.tape.draw(label, n)
        except ReplayDiverged as diverged:
            raise self._failed(diverged) from None

    # -- points -------------------------------------------------------------------------------------------

    def point(self, kind: int, obj: object, field: object = "") -> Awaitable[None]:
        """Declare an operation (`kind` of access to `field` of `obj`); others may move before it is done.

        The caller awaits the result and then does the operation without a further await.
        """
        left = self._left - 1
        self._left = left
        if left > 0:
            return STAY
        return self._decide(kind, obj, field)

    def _decide(self, kind: int, obj: object, field: object) -> Awaitable[None]:
        if self.over:
            self._left = 1
            raise ScheduleOver
        me = self.turn
        me.op = (kind, obj, field)
        self._settle(self._armed - 1)
        if self._goal >= self.max_steps:
            raise self._failed(reports.no_end(self.max_steps))
        self._wake_due()
        if len(self.ready) > 1:
            chosen = self._choose(me)
            if chosen is not me:
                return self._pass(chosen)
        self._arm()
        return STAY

    async def relax(self, obj: object = None) -> None:
        """cpu_relax, in a loop that waits for what another actor is about to do: let somebody else move."""
        if self.over:
            raise ScheduleOver
        me = self.turn
        self._left -= 1
        self._settle(self._armed - self._left - 1)
        me.op = (YIELD, obj, "")
        if self.step >= self.max_steps:
            raise self._failed(reports.no_end(self.max_steps, spinner=me))
        self._wake_due()
        if self.alone and self._sleepers:
            self._jump()
        if self.alone:
            self._arm()
            return
        self._remove(me)
        self.strategy.yielded(me)
        chosen = self._next()
        self._add(me)
        await self._pass(chosen)

    # -- blocking, waking, sleeping -----------------------------------------------------------------------

    async def block(self, on: object) -> None:
        """Wait until somebody calls `wake`: the caller has put the actor where that somebody will find it."""
        if self.turn.spin_depth:
            raise self._failed(reports.sleeping_under_spinlock(self.turn, on))
        await self.park(on)

    async def park(self, on: object) -> None:
        """`block` for spinlocks: the rule about them does not hold."""
        if self.over:
            raise ScheduleOver
        me = self.turn
        me.waiting_on = on
        me.op = (ACQUIRE, on, "")
        self._settle(self._armed - self._left)
        stuck = reports.circle(me)
        if stuck:
            raise self._deadlocked(stuck)
        self._remove(me)
        chosen = self._next()
        if chosen is me:
            self._arm()
        else:
            await self._pass(chosen)

    def wake(self, actor: Actor) -> None:
        """Make a blocked actor ready. It does not move before the strategy gives it the turn."""
        if self.over:
            return
        self._settle(self._armed - self._left)
        self._add(actor)
        self._ask_at_next_point()

    async def sleep(self, ns: int) -> None:
        """Sleep for virtual nanoseconds; 0 or less only lets the others move."""
        if ns <= 0:
            await self.relax()
            return
        self._naps += 1
        if self._naps > self.max_steps:  # who sleeps in a loop and is alone takes no steps
            raise self._failed(reports.no_end(self.max_steps, spinner=self.turn))
        self._sleepers.add(nap := (self.now + ns, self._naps, self.turn))
        await self.block(nap)

    def freeze(self, actor: Actor, ns: int) -> None:
        """Let a ready actor, other than the one that has the turn, not move for so long, whatever it holds."""
        self._settle(self._armed - self._left)
        self._naps += 1
        self._sleepers.add(nap := (self.now + ns, self._naps, actor))
        self._remove(actor)
        actor.waiting_on = nap
        self._ask_at_next_point()

    def wake_sleeper(self, actor: Actor) -> bool:
        """End an actor's sleep early; False if it does not sleep."""
        nap = actor.waiting_on
        if not isinstance(nap, tuple):
            return False
        self._sleepers.remove(nap)
        self.wake(actor)
        return True

    # -- the life of a schedule ---------------------------------------------------------------------------

    def spawn(
        self, name: str, coro: Coroutine[Any, Any, None], *, cpu: int = 0, node: int = 0, daemon: bool = False
    ) -> Actor:
        """Add an actor, ready to run. The schedule ends when the last one that is no daemon has ended."""
        if self.over:
            coro.close()
            raise ScheduleOver
        if self._nursery is None:
            raise EmulatorBug("spawn before run")
        actor = Actor(len(self.actors), name, cpu, node, daemon, coro)
        self.actors.append(actor)
        self._foreground += not daemon
        if self.turn is None:
            self.turn = actor
        self.wake(actor)
        self._nursery.start_soon(self._live, actor, name=name)
        return actor

    async def run(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a schedule whose first actor is `main`; raise what an actor raised, if one did."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.spawn(name, main())
        finally:
            self._nursery = None
            for actor in self.actors:
                with suppress(Exception, ScheduleOver):  # the verdict is in; cleaning up cannot change it
                    actor.coroutine.close()
        if self.failure is not None:
            raise self.failure

    async def _live(self, actor: Actor) -> None:
        actor.task = trio.lowlevel.current_task()
        try:
            if self.turn is not actor:
                await trio.lowlevel.wait_task_rescheduled(_always_cancellable)
            await self._supervised(actor.coroutine)
            if not self.over:
                self._leave(actor)
        except trio.Cancelled:
            self._end(None)  # if it is not over yet, somebody outside has cancelled the schedule
            raise
        except BaseException as failure:  # whatever it is, `run` raises it again outside the nursery
            self._end(failure)

    def _leave(self, actor: Actor) -> None:
        self._settle(self._armed - self._left)
        self._remove(actor)
        self._foreground -= not actor.daemon
        if self._foreground == 0:
            self._end(None)
            return
        self.turn = self._next()
        self._arm()
        if self.turn.task is not None:
            trio.lowlevel.reschedule(self.turn.task)

    def _end(self, failure: BaseException | None) -> None:
        if not self.over:
            self._settle(self._armed - self._left)
            self._ask_at_next_point()
            self.over = True
            self.failure = failure
            if failure is not None:
                self.places = {
                    a.number: names[-1] for a in self.actors if a is not self.turn and (names := a.functions())
                }
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()

    def _failed(self, failure: KsmActorsError) -> KsmActorsError:
        """End the schedule now: nothing that the actor catches or does on its way out can hide the failure."""
        self._end(failure)
        return failure

    def _deadlocked(self, stuck: list[Actor]) -> KsmActorsError:
        self.stuck = stuck
        return self._failed(reports.deadlock(stuck, self.turn))

    @coroutine
    def _supervised(self, coro: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Drive an actor's coroutine; whatever it yields to trio must have come from the conductor."""
        try:
            message = coro.send(None)
            while True:
                if not self._handing and not self.over:
                    message = coro.throw(reports.foreign_await(self.turn))
                    continue
                self._handing = False
                outcome = yield message
                if hasattr(outcome, "error"):  # cancelled: goes past the actor, which `run` closes in its order
                    outcome.unwrap()
                message = coro.send(outcome)
        except StopIteration:
            return

    # -- inside -------------------------------------------------------------------------------------------

    def _pass(self, chosen: Actor) -> Awaitable[None]:
        """Give the turn away; to be awaited at once, until it comes back."""
        self.turn = chosen
        self._arm()
        if chosen.task is not None:  # a task that has not started yet looks at `turn` when it does
            trio.lowlevel.reschedule(chosen.task)
        self._handing = True
        return trio.lowlevel.wait_task_rescheduled(_always_cancellable)  # noqa: ASYNC105  # saves the callers a frame

    def _choose(self, current: Actor | None) -> Actor:
        try:
            chosen = self.strategy.choose(self.ready, current)
        except ReplayDiverged as diverged:
            raise self._failed(diverged) from None
        if not self._mask >> chosen.number & 1:
            raise self._failed(EmulatorBug(f"the strategy {self.strategy.name} chose {chosen.name}, who is not ready"))
        self.tape.turn(self._mask, chosen.number)
        return chosen

    def _next(self) -> Actor:
        """Who goes on when the one that has the turn cannot."""
        self._wake_due()
        while not self.ready:
            if not self._sleepers:
                raise self._deadlocked([a for a in self.actors if a.waiting_on is not None and not reports.idle(a)])
            self._jump()
        return self._choose(None) if len(self.ready) > 1 else self.ready[0]

    def _arm(self) -> None:
        step = self._goal - self._left
        points = self.max_steps - step
        if len(self.ready) > 1:
            points = min(points, self.strategy.horizon(self.ready, self.turn))
        if self._sleepers:
            points = min(points, -((self.now - self._sleepers[0][0]) // STEP_NS))  # rounded up
        points = max(points, 1)
        self._goal, self._left, self._armed = step + points, points, points

    def _ask_at_next_point(self) -> None:
        """After `_settle`: whatever was armed does not hold any more."""
        self._goal, self._left, self._armed = self._goal + 1, 1, 1

    def _settle(self, stayed: int) -> None:
        """Put on the tape the points at which the turn stayed since the counter was armed."""
        if stayed > 0 and len(self.ready) > 1:
            self.tape.stayed(self._mask, self.turn.number, stayed)
            self.strategy.stayed(stayed)
        self._goal, self._left, self._armed = self._goal - self._left, 0, 0

    def _add(self, actor: Actor) -> None:
        if self._mask >> actor.number & 1:
            raise EmulatorBug(f"{actor.name} is made ready twice")
        actor.waiting_on = None
        insort(self.ready, actor, key=attrgetter("number"))
        self._mask |= 1 << actor.number

    def _remove(self, actor: Actor) -> None:
        self.ready.remove(actor)
        self._mask &= ~(1 << actor.number)

    def _wake_due(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self.now:
            self._add(self._sleepers.pop(0)[2])

    def _jump(self) -> None:
        self._jumped_ns += max(0, self._sleepers[0][0] - self.now)
        self._wake_due()
