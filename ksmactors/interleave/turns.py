"""Turns: scheduling points, blocking and waking, virtual time, and the choice of the next actor.

A point at which the turn stays must be cheap, since there are hundreds for each page that ksmd scans. It only
decrements the counter `_left`. The counter reaches zero where there is something to decide: the strategy asked to be
consulted, a sleeper is due, or the step limit is reached. `_arm` computes that distance; whenever an actor becomes
ready, blocks or ends, the counter is armed again. Virtual time advances by `STEP_NS` for each point, and jumps to the
next sleeper when no actor is ready.

The subclass in `conductor` hands the turn from actor to actor, and begins and ends a schedule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Final

from ksmactors.errors import EmulatorBug, KsmActorsError, ReplayDiverged
from ksmactors.interleave import reports
from ksmactors.interleave.actor import ACQUIRE, DONE, NOTHING, YIELD, Actor, Operation
from ksmactors.interleave.no_switch import NO_SWITCH
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.observer_hub import ObserverHub
from ksmactors.interleave.strategies.base import UNREACHED, Strategy
from ksmactors.interleave.strategies.faults import wrong_answer, wrong_choice
from ksmactors.interleave.tape import Tape
from ksmactors.interleave.virtual_time import STEP_NS, VirtualTime

DEFAULT_MAX_STEPS: Final = 5_000_000
"""Far above any built-in workload; a schedule that reaches it is a livelock or needs a larger limit."""

_NUMBER: Final = attrgetter("number")


class ScheduleOver(BaseException):
    """Raised in an actor that runs after its schedule is over. Control flow only: never caught by actors."""


class Turns(VirtualTime, ABC):
    """The actors of one schedule, its virtual clock, its strategy and its tape.

    Args:
        strategy: chooses the next actor; asked only where two or more actors are ready.
        tape: where choices and draws are recorded, or replayed from.
        max_steps: points after which the schedule is given up (StepLimit).
    """

    __slots__ = (
        "__dict__", "_armed", "_decider", "_decides_until", "_mask", "_since", "actors", "contention", "failure",
        "limit", "max_steps", "observers", "opening", "over", "places", "ready", "strategy", "stuck", "tape", "turn",
    )  # fmt: skip
    """The dictionary has `point` and `touch` while there are observers, and else nothing: CPython from 3.12 on looks a
    method up at each call if an object has slots and something in its dictionary."""

    def __init__(self, strategy: Strategy, tape: Tape, *, max_steps: int = DEFAULT_MAX_STEPS) -> None:
        super().__init__()
        self.strategy = strategy
        self.tape = tape
        self.max_steps = self.limit = max_steps
        strategy.stage = tape.stage = self
        self._decider, self._decides_until = strategy.decider()
        self.actors: list[Actor] = []
        self.ready: list[Actor] = []
        self.turn: Actor = None  # type: ignore[assignment]  # unset before the first spawn
        self.over = False
        self.failure: BaseException | None = None
        self.places: dict[int, str] = {}
        """After a failure: the function in which each unfinished actor was parked, by actor number."""
        self.stuck: list[Actor] = []
        """The actors that can never go on: after a deadlock those of the wait cycle, or what a watcher says."""
        self.contention: Callable[[object, Actor, Actor | None], None] | None = None
        """Called when an actor finds a lock taken: (lock, waiter, holder)."""
        self.opening: deque[Actor] = deque()
        """Actors that run to their first operation, in this order, before the strategy is asked."""
        self._mask = 0
        self._since = 0
        self._armed = 1
        self.observers: ObserverHub | None = None

    # -- queries --------------------------------------------------------------------------------------

    @property
    def own_step(self) -> int:
        """Points that the running actor has passed in all its turns so far."""
        return self.turn.passed + self._goal - self._left - self._since

    def stamp(self) -> tuple[int, int, int]:
        """Return the time stamp of an event: step, virtual time in ns, and number of the running actor."""
        step = self._goal - self._left
        return step, self._jumped_ns + step * STEP_NS, self.turn.number

    @property
    def alone(self) -> bool:
        """Whether no other actor can run: a fast path then gives the same result. False under a thorough strategy,
        which needs every step, once there has been more than one actor."""
        return len(self.ready) == 1 and not (self.strategy.thorough and len(self.actors) > 1)

    def draw(self, label: str, n: int) -> int:
        """Draw a number in 0..n-1 through the tape; `label` names its purpose."""
        if self.over:
            raise ScheduleOver
        try:
            return self.tape.draw(label, n)
        except KsmActorsError as error:  # a replay that diverges, say
            raise self._failed(error) from None

    def expire(self) -> None:
        """Give the schedule up at the next point, as if out of steps. Any thread may call this, again if the schedule
        goes on: a point that is being passed can undo it."""
        self.max_steps = self.limit = 0
        self._left = min(self._left, 1)

    # -- observers ---------------------------------------------------------------------------------------

    def observe(self, observer: Observer) -> None:
        """Notify `observer` of every operation from now on, see `interleave.observer`."""
        if self.observers is None:
            self.observers = ObserverHub(self)
            if self.turn is not None and self.turn.op is not NOTHING:
                self.turn.op = DONE  # observers see nothing from before
        self.observers.join(observer)
        self.point = self.observers.point()  # type: ignore[method-assign]  # by `vars`, every attribute gets slower
        self.touch = self.observers.touch()  # type: ignore[method-assign]

    def touch(self, kind: int, obj: object, field: object = "") -> None:
        """Notify observers of an access without a scheduling point (see `Observer.touched`)."""

    def _dismiss_audience(self) -> None:
        """Remove the observers: the schedule is over, and the rest is cleaning up."""
        if self.observers is not None:
            self.observers = None
            del self.point, self.touch

    # -- points -------------------------------------------------------------------------------------------

    def point(self, kind: int, obj: object, field: object = "") -> Awaitable[None]:
        """Declare an operation (`kind` of access to `field` of `obj`); other actors may run before it is done.

        The caller awaits the result and then does the operation without a further await.
        """
        left = self._left - 1
        self._left = left
        if left > 0:
            return NO_SWITCH
        return self._decide((kind, obj, field))

    def _decide(self, op: Operation) -> Awaitable[None]:
        if self.over:
            self._left = 1
            raise ScheduleOver
        me = self.turn
        me.op = op
        if self._armed > 1:
            self._settle(self._armed - 1)
        self._armed = 0
        if self._goal >= self.limit:
            raise self._failed(self._no_end(None))
        if self._goal >= self._due:
            self._wake_due()
        if len(self.ready) > 1:
            chosen = self._choose(me)
            if chosen is not me:
                return self._pass(chosen)
        self._arm()
        return NO_SWITCH

    async def relax(self, obj: object = None) -> None:
        """cpu_relax, in a loop that waits for another actor: let another actor run."""
        if self.over:
            raise ScheduleOver
        me = self.turn
        if self.observers is not None:
            self.observers.settle(me)
        self._left -= 1
        self._settle(self._armed - self._left - 1)
        me.op = (YIELD, obj, "")
        if self.step >= self.limit:
            raise self._failed(self._no_end(me))
        self._wake_due()
        if len(self.ready) == 1 and self._timers:
            self._advance_clock()
        if len(self.ready) == 1:
            self._arm()
            return
        self._remove(me)
        self.strategy.yielded(me)
        chosen = self._next()
        self._add(me)
        await self._pass(chosen)

    # -- blocking, waking, sleeping -----------------------------------------------------------------------

    async def block(self, on: object) -> None:
        """Wait until another actor calls `wake`. The caller has put the actor where the waker will find it."""
        self.might_sleep(on)
        await self.park(on)

    def might_sleep(self, on: object) -> None:
        """Check that the running actor holds no spinlock where it may have to sleep, whether or not it has to this
        time."""
        if self.turn.spin_depth:
            raise self._failed(reports.sleeping_under_spinlock(self.turn, on))

    async def park(self, on: object) -> None:
        """`block` for spinlocks, without the check of `might_sleep`."""
        if self.over:
            raise ScheduleOver
        me = self.turn
        if self.observers is not None:
            self.observers.blocked(me, on)
        me.waiting_on = on
        me.op = (ACQUIRE, on, "")
        self._settle(self._armed - self._left)
        stuck = reports.wait_cycle(me)
        if stuck:
            raise self._deadlocked(stuck)
        self._remove(me)
        chosen = self._next()
        if chosen is me:
            self._arm()
        else:
            await self._pass(chosen)

    def wake(self, actor: Actor) -> None:
        """Make a blocked actor ready. It runs when the strategy gives it the turn."""
        if self.over:
            return
        if self.observers is not None:
            self.observers.woke(self.turn, actor)
        self._make_ready(actor)

    def _make_ready(self, actor: Actor) -> None:
        self._settle(self._armed - self._left)
        self._add(actor)
        self._ask_at_next_point()

    async def sleep(self, ns: int) -> None:
        """Sleep for virtual nanoseconds; 0 or less only lets other actors run."""
        if ns <= 0:
            await self.relax()
            return
        self._timers_set += 1
        if self._timers_set > self.limit:  # an actor that sleeps in a loop alone takes no steps
            raise self._failed(self._no_end(self.turn))
        await self.block(self._set_timer(ns, self.turn))

    def freeze(self, actor: Actor, ns: int) -> None:
        """Keep a ready actor other than the running one from running for `ns`, whatever it holds."""
        self._settle(self._armed - self._left)
        self._timers_set += 1
        self._remove(actor)
        actor.waiting_on = self._set_timer(ns, actor)
        self._ask_at_next_point()

    def suspend(self, actor: Actor, on: object) -> None:
        """Take a ready actor other than the running one out of the schedule until `resume`, whatever it holds. `on`
        says what it waits for; if that has an `owner`, wait cycles through it are found."""
        self._settle(self._armed - self._left)
        self._remove(actor)
        actor.waiting_on = on
        self._ask_at_next_point()

    def resume(self, actor: Actor) -> None:
        """Make a suspended actor ready. Observers are not notified: this orders nothing in the emulated machine."""
        self._make_ready(actor)

    def wake_sleeper(self, actor: Actor) -> bool:
        """End an actor's sleep early; False if it does not sleep."""
        timer = actor.waiting_on
        if not isinstance(timer, tuple):
            return False
        self._unset_timer(timer)
        self.wake(actor)
        return True

    # -- inside -------------------------------------------------------------------------------------------

    @abstractmethod
    def _pass(self, chosen: Actor) -> Awaitable[None]:
        """Give the turn away. The caller awaits the result at once; it returns when the turn comes back."""

    @abstractmethod
    def _end(self, failure: BaseException | None) -> None:
        """End the schedule; `failure` says why, None after success."""

    def _failed(self, failure: KsmActorsError) -> KsmActorsError:
        """End the schedule now, so that nothing the actor catches or does later can hide the failure."""
        self._end(failure)
        return failure

    def _no_end(self, spinner: Actor | None) -> KsmActorsError:
        if self.limit == self.max_steps:
            return reports.no_end(self.max_steps, spinner=spinner)
        return ReplayDiverged(len(self.tape.turns), self.step, f"an end before step {self.limit}", "none")

    def _deadlocked(self, stuck: list[Actor]) -> KsmActorsError:
        self.stuck = stuck
        return self._failed(reports.deadlock(stuck, self.turn))

    def _choose(self, current: Actor | None) -> Actor:
        while self.opening:
            first = self.opening.popleft()
            if first.op is NOTHING and self._mask >> first.number & 1:
                return first
        if self._goal - self._left > self._decides_until:
            self._decider, self._decides_until = self.strategy, UNREACHED
        try:
            chosen = self._decider.choose(self.ready, current)
        except KsmActorsError as error:  # a replay that diverges, a search that has seen enough
            raise self._failed(error) from None
        except Exception as error:
            self._end(error)
            raise
        try:
            is_ready = self._mask >> chosen.number & 1
        except (AttributeError, TypeError):
            is_ready = False
        if not is_ready:
            raise self._failed(wrong_choice(self._decider, self.ready, chosen))
        if chosen is not (self.ready[0] if current is None else current):
            me = self.turn
            passed = me.passed + self._goal - self._left - self._since
            self.tape.departed(me, passed, me.stops if current is None else 0, chosen)
        self.tape.turns.append((self._mask, chosen.number))
        return chosen

    def _next(self) -> Actor:
        """Return the next actor when the running one cannot continue."""
        self.turn.stop(self.own_step)
        self._wake_due()
        while not self.ready:
            if not self._timers:
                raise self._deadlocked([a for a in self.actors if a.waiting_on is not None and not reports.idle(a)])
            self._advance_clock()
        return self._choose(None) if len(self.ready) > 1 else self.ready[0]

    def _take_turn(self, chosen: Actor) -> None:
        """Move the turn from the running actor to another one."""
        step = self._goal - self._left
        self.turn.passed += step - self._since
        self._since = step
        self.turn = chosen
        self._arm()

    def _arm(self) -> None:
        step = self._goal - self._left
        asked = UNREACHED
        if len(self.ready) > 1:
            asked = 1 if self.opening else self._decider.horizon(self.ready, self.turn)
            try:
                if asked <= 1:
                    self._goal, self._left, self._armed = step + 1, 1, 1
                    return
            except TypeError:
                raise self._failed(wrong_answer(self._decider, "horizon", asked, "a number of points")) from None
            asked = min(asked, self._decides_until + 1 - step)
        end = self.limit if self.limit < self._due else self._due  # noqa: FURB136  # half the time of `min`, here
        points = end - step
        if asked < points:
            points = asked
        if points < 1:
            points = 1
        self._goal, self._left, self._armed = step + points, points, points

    def _ask_at_next_point(self) -> None:
        """Disarm the counter, after `_settle`: the strategy is asked at the next point."""
        self._goal, self._left, self._armed = self._goal + 1, 1, 1

    def _settle(self, stayed: int) -> None:
        """Record on the tape the points at which the turn stayed since the counter was armed."""
        if stayed > 0 and len(self.ready) > 1:
            self.tape.stayed(self._mask, self.turn.number, stayed)
            self._decider.stayed(stayed)
        self._goal, self._left, self._armed = self._goal - self._left, 0, 0

    def _add(self, actor: Actor) -> None:
        if self._mask >> actor.number & 1:
            raise EmulatorBug(f"{actor.name} is made ready twice")
        actor.waiting_on = None
        ready = self.ready
        if ready and ready[-1].number > actor.number:
            insort(ready, actor, key=_NUMBER)
        else:  # always at the start of a schedule
            ready.append(actor)
        self._mask |= 1 << actor.number

    def _remove(self, actor: Actor) -> None:
        self.ready.remove(actor)
        self._mask &= ~(1 << actor.number)

    def _wake_due(self) -> None:
        while timer := self._pop_timer():
            self._add(timer[2])

    def _advance_clock(self) -> None:
        self._jump()
        self._wake_due()
