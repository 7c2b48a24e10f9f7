"""A walk through a replay: on to a goal, and back.

A walk stops in the middle of the schedule and asks there what to do next. It asks from an observer, which blocks the
run loop as long as it takes: only the actor that has the turn could run anyway, virtual time stands still, no step is
spent, and a schedule has no limit of wall-clock time. An answer that takes no time gives the same schedule. Going back
is a new replay to an earlier moment, since a replay is exact.

This module knows nothing of input and output.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable
from functools import partial
from types import FrameType
from typing import Final, NamedTuple, TypeAlias

from typing_extensions import override

from ksmactors.call_stack import callers, is_kernels
from ksmactors.diagnose.explain import BELOW, explain
from ksmactors.diagnose.moments import Goal, ScheduleMoment
from ksmactors.diagnose.objects import name_of_object
from ksmactors.diagnose.replaying import Recorded
from ksmactors.errors import CutShort
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.declared import DECLARED
from ksmactors.events.trace import Record
from ksmactors.interleave.actor import DONE, NOTHING, Actor, Operation
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.observer_hub import unobserved
from ksmactors.interleave.reports import name_of
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.tape import Tape
from ksmactors.machine import Machine
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.seams import PASSED_OVER

RECENT: Final = 1_000
"""Moments that are kept, the latest."""

_MACHINERY: Final = ("ksmactors.", "trio.")
"""Modules whose functions are no part of what an actor does, unless they are the kernel's."""


class Back(NamedTuple):
    """Start the replay again, and go to a goal."""

    goal: Goal


class Quit(NamedTuple):
    """End the walk."""


Answer: TypeAlias = Goal | Back | Quit


class Walker(Observer):
    """One replay of a recorded schedule, which stops at goals.

    Attributes:
        moments: how many there have been.
        recent: the latest, earliest first.
        machine: the machine, once the workload has made it.
        outcome: what came of the replay, once it has ended.
        reached: whether the goal was reached by the very end of the schedule.
        functions: where it stops: the functions that the running actor is in, innermost first.
        seen: objects of operations by name, the freed ones too; `labels` by label.
        gone: the numbers of the actors that have ended.
    """

    def __init__(
        self, then: Recorded, goal: Goal, on_stop: Callable[[Walker], Answer], tape: Tape | None = None
    ) -> None:
        self.then, self.goal, self._on_stop = then, goal, on_stop
        self.tape = tape or ReplayTape(then.schedule)
        self.moments = 0
        self.recent: deque[ScheduleMoment] = deque(maxlen=RECENT)
        self.machine: Machine | None = None
        self.outcome: Outcome | None = None
        self.reached = False
        self.functions: tuple[str, ...] = ()
        self.seen: dict[str, object] = {}
        self.labels: dict[str, object] = {}
        self.gone: set[int] = set()
        self._answer: Answer = Quit()
        self._departures = 0
        self._op: Operation | None = None
        self._begin()

    @property
    def conductor(self) -> Conductor:
        """The conductor of the replay."""
        conductor = self.tape.stage
        assert isinstance(conductor, Conductor)
        return conductor

    @property
    def last(self) -> ScheduleMoment | None:
        """The latest moment; None before the first."""
        return self.recent[-1] if self.recent else None

    async def replay(self, deciding: Strategy | None = None, *, known: Container[str] = ()) -> Answer | None:
        """Replay until an answer ends it, which is returned; or to the end: None, and `outcome` is set.

        Args:
            deciding: who chooses; None: the recording.
            known: signatures of known findings, as `run_schedule` takes them.
        """
        then = self.then
        try:
            self.outcome = await run_schedule(
                then.subject, then.seed, then.strategy, deciding=deciding or Replay(then.schedule), tape=self.tape,
                observing=self, on_machine=self._watch, known=known,
            )  # fmt: skip
        except CutShort:
            return self._answer
        self._conclude()
        return None

    def _watch(self, machine: Machine) -> None:
        self.machine = machine
        machine.kernel.declare_fields()
        for event in CATALOGUE:
            machine.trace.listen(event.code, partial(self._recorded, event.code))
        machine.trace.listen_declared(partial(self._recorded, DECLARED))

    # -- what the replay tells ----------------------------------------------------------------------------------------

    def _recorded(self, code: int, *fields: object) -> None:
        stamp = self.conductor.stamp()
        self._records.append((code, *stamp, *fields))

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        if self._op is not None:  # an actor that spins while no other can run
            self._complete()
        conductor = self.conductor
        self._op, self._function = op, actor.doing if actor.place == BELOW else actor.place
        self._step, self._now = conductor.step, conductor.now
        self._touch(op)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self._touch((kind, obj, field))

    field = touched

    def _touch(self, op: Operation) -> None:
        self._touched.append(op)
        obj = op[1]
        if obj is not None and not isinstance(obj, tuple):
            for names, name in ((self.seen, name_of_object(obj)), (self.labels, label_of(op))):
                if name:
                    names[name] = obj

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self._news.append(f"wakes {woken.name}")

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        if actor is not None:
            self._news.append(f"starts {child.name}")

    @override
    def blocked(self, actor: Actor, on: object) -> None:
        self._news.append("sleeps" if isinstance(on, tuple) else f"waits for {name_of(on)}")
        self._complete()

    @override
    def ended(self, actor: Actor) -> None:
        self._news.append("ends")
        self.gone.add(actor.number)
        self._complete()

    @override
    def arrived(self, actor: Actor) -> None:
        if actor.op is not DONE and actor.op is not NOTHING:
            self._complete()

    @override
    def passed(self, actor: Actor, to: Actor) -> None:
        self._complete()
        if len(self.tape.departures) > self._departures:
            self._departures = len(self.tape.departures)
            conductor, departed = self.conductor, self.tape.departures[-1]
            self._keep(
                ScheduleMoment(
                    self.moments + 1, conductor.step, conductor.now, actor, None, actor.place, departed=departed
                )
            )

    # -- moments ------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._op = None
        self._function = ""
        self._step = self._now = -1
        self._touched: list[Operation] = []
        self._news: list[str] = []
        self._records: list[Record] = []

    def _complete(self) -> None:
        """The running actor has done all that it does before its next point."""
        if self._op is None and not (self._touched or self._news or self._records):
            return
        conductor = self.conductor
        if self._op is None:
            self._step, self._now = conductor.step, conductor.now
        moment = ScheduleMoment(
            self.moments + 1, self._step, self._now, conductor.turn, self._op, self._function, tuple(self._touched),
            tuple(self._news), tuple(self._records),
        )  # fmt: skip
        self._begin()
        self._keep(moment)

    def _keep(self, moment: ScheduleMoment) -> None:
        self.moments = moment.number
        self.recent.append(moment)
        if self.goal.reached(moment):
            self._stop()

    def _conclude(self) -> None:
        """The replay has ended: what was under way is the last moment."""
        conductor = self.conductor
        actor, op = conductor.turn, self._op
        if op is None and actor.number not in self.gone and actor.op is not DONE and actor.op is not NOTHING:
            op, self._function = actor.op, actor.place
        moment = ScheduleMoment(
            self.moments + 1, conductor.step, conductor.now, actor, op, self._function, tuple(self._touched),
            tuple(self._news), tuple(self._records), ends=True,
        )  # fmt: skip
        self.functions = ()
        self.moments = moment.number
        self.recent.append(moment)
        self.reached = self.goal.reached(moment)

    def _stop(self) -> None:
        conductor = self.conductor
        self.functions = functions_of(callers(sys._getframe(1)))
        with unobserved(conductor):
            self._answer = self._on_stop(self)
        if isinstance(self._answer, Back | Quit):
            raise conductor.cut_short("the walk goes on elsewhere")
        self.goal = self._answer


def functions_of(frames: Iterable[FrameType]) -> tuple[str, ...]:
    """Return the functions of frames that a reader wants to see, each once: the kernel's, and those of workloads."""
    shown = (
        frame.f_code.co_name
        for frame in frames
        if is_kernels(frame) or not frame.f_globals.get("__name__", "").startswith(_MACHINERY)
    )
    return tuple(dict.fromkeys(name for name in shown if not PASSED_OVER[name]))


async def walk(
    then: Recorded, goal: Goal, on_stop: Callable[[Walker], Answer], between: Callable[[], Awaitable[None]]
) -> Outcome | None:
    """Walk through a replay. To be awaited in trio, outside of any schedule.

    Args:
        then: what was recorded.
        goal: where to stop first.
        on_stop: called at each stop, and at the end; says what to do next. At the end, anything but a `Back` ends the
            walk.
        between: awaited between two replays, outside of any schedule.

    Returns:
        What came of the replay, explained; None if the walk was ended before its end, and never came to it.
    """
    explained: Outcome | None = None
    while True:
        walker = Walker(then, goal, on_stop)
        answer = await walker.replay()
        if answer is None and walker.outcome is not None:
            explained = walker.outcome = explained or await explain(walker.outcome, then.subject)
            answer = on_stop(walker)
        if not isinstance(answer, Back):
            return explained
        await between()
        goal = answer.goal
