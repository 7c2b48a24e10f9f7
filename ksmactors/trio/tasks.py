"""Tasks of code under test: an actor each, its cancel scopes, and how it waits.

Trio code shares whatever it likes without saying so. Between two checkpoints a task may touch anything. So each stretch
from one checkpoint to the next is declared as one write to one object, `SharedCode`. No two stretches of different
tasks commute then, and a search that has exhausted their orders has missed none. As in trio, the turn can pass at a
checkpoint and nowhere else, and an operation that does not wait passes one after it has acted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from typing import Any, Final, Protocol

from ksmactors.call_stack import callers
from ksmactors.interleave.actor import WRITE, Actor
from ksmactors.interleave.conductor import Conductor, ScheduleOver, current_conductor
from ksmactors.interleave.labels import NamedOperation
from ksmactors.places import is_authors

NS_PER_S: Final = 1_000_000_000

TICK_NS: Final = 1_000_000
"""Timers go off at multiples of this. A checkpoint takes a thousandth of it in virtual time, in reality as long as it
likes."""


class Cancelled(BaseException):
    """A task is cancelled: raised at its checkpoints, and caught by the scope that was cancelled."""


class Cancelling(Protocol):
    """What a task asks of the scopes around it."""

    @property
    def cancel_called(self) -> bool: ...

    @property
    def shield(self) -> bool: ...

    @property
    def deadline(self) -> float: ...


class SharedCode:
    """Stands for everything that the code under test may touch between two checkpoints."""

    silent = True
    """Operations on it are not shown: they say no more than that a task goes on."""

    def label(self, field: object) -> str:
        """Return the label that strategies use."""
        return "code"


class ScopedTask:
    """A task of the code under test.

    `scopes` are its cancel scopes, innermost last, those of its nursery included. While it is blocked, `abort` takes it
    out of whatever it waits in and returns whether it may be cancelled there; otherwise it is None. `lot` is the
    parking lot it is in, and `owned` the locks it has.
    """

    __slots__ = ("abort", "actor", "error", "lot", "owned", "scopes", "value", "woken")

    def __init__(self, actor: Actor, scopes: list[Cancelling]) -> None:
        self.actor, self.scopes = actor, scopes
        self.abort: Callable[[], bool] | None = None
        self.woken = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.lot: Any = None
        self.owned: list[Any] = []

    @property
    def name(self) -> str:
        """The name of its actor."""
        return self.actor.name

    def cancelled(self) -> bool:
        """Whether a scope around it is cancelled, and no shield is in between."""
        for scope in reversed(self.scopes):
            if scope.cancel_called:
                return True
            if scope.shield:
                return False
        return False

    def deadline(self) -> float:
        """The earliest deadline of a scope that can cancel it, seconds of virtual time."""
        earliest = inf
        for scope in reversed(self.scopes):
            earliest = min(earliest, scope.deadline)
            if scope.shield:
                break
        return earliest


class TaskTable:
    """The tasks of one schedule, and the names of what they share."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.shared = SharedCode()
        self._tasks: dict[int, ScopedTask] = {}
        self._names: dict[str, int] = {}

    @property
    def now(self) -> float:
        """Virtual time, s."""
        return self.conductor.now / NS_PER_S

    def current(self) -> ScopedTask:
        """The running task. An actor that was not started by a nursery gets one without scopes."""
        actor = self.conductor.turn
        task = self._tasks.get(actor.number)
        if task is None:
            task = self._tasks[actor.number] = ScopedTask(actor, [])
        return task

    def add(self, actor: Actor, scopes: list[Cancelling]) -> ScopedTask:
        """Add the task of an actor."""
        task = self._tasks[actor.number] = ScopedTask(actor, scopes)
        return task

    def ended(self, task: ScopedTask) -> None:
        """Forget a task. Locks that it still has are broken."""
        for lock in task.owned[:]:
            lock.abandoned()
        del self._tasks[task.actor.number]

    def deliver(self) -> None:
        """Cancel blocked tasks whose scopes say so, and have others look at their deadlines again."""
        for task in list(self._tasks.values()):
            if task.abort is None:
                continue
            if task.cancelled():
                if task.abort():
                    task.abort = None
                    _wake(self.conductor, task)
            else:
                _wake(self.conductor, task)

    def numbered(self, name: str) -> str:
        """A name that no other object of the schedule has."""
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name} {count}"


_table: list[TaskTable] = []
"""Of the schedule under way, or the last one: at most one."""


def tables() -> TaskTable:
    """The tasks of the schedule under way.

    Raises:
        RuntimeError: none is.
        ScheduleOver: it has ended, and its tasks are being cleaned up.
    """
    conductor = current_conductor()
    if conductor is None:
        raise RuntimeError(
            "this needs a schedule under way: use it in a test with @pytest.mark.interleave, in Model.run, or in what "
            "they call"
        )
    if conductor.over:
        raise ScheduleOver
    if not _table or _table[0].conductor is not conductor:
        _table[:] = [TaskTable(conductor)]
    return _table[0]


def tell(obj: object, text: str) -> None:
    """Notify observers that the running task has done something to an object without a checkpoint; `text` says what, as
    a predicate."""
    conductor = current_conductor()
    if conductor is not None and conductor.observers is not None:
        inside = (frame.f_code for frame in callers(sys._getframe(1)))
        function = next((code.co_name for code in inside if is_authors(code.co_filename)), "")
        conductor.touch(WRITE, obj, NamedOperation(text, function))


async def checkpoint_if_cancelled() -> None:
    """Raise Cancelled if the task is cancelled; otherwise go on without letting others run."""
    table = tables()
    task = table.current()
    if task.scopes and _is_due(table, task):
        await cancel_shielded_checkpoint()
        raise Cancelled


async def cancel_shielded_checkpoint() -> None:
    """Let others run, even if the task is cancelled."""
    table = tables()
    await table.conductor.point(WRITE, table.shared)


async def checkpoint() -> None:
    """Let others run; raise Cancelled if the task is cancelled by then."""
    table = tables()
    await table.conductor.point(WRITE, table.shared)
    task = table.current()
    if task.scopes and _is_due(table, task):
        raise Cancelled


def _is_due(table: TaskTable, task: ScopedTask) -> bool:
    return task.cancelled() or task.deadline() <= table.now


async def park(on: object, abort: Callable[[], bool]) -> Any:
    """Block the running task until `unpark`; return its value, or raise its error.

    Args:
        on: what it waits for, for reports.
        abort: called when the task is cancelled meanwhile: takes it out of where it waits, and returns True. False: it
            goes on waiting, and has seen to it itself.

    Raises:
        Cancelled: the task is cancelled.
    """
    table = tables()
    conductor, task = table.conductor, table.current()
    task.abort, task.woken = abort, False
    if _is_due(table, task) and abort():
        task.abort = None
        await cancel_shielded_checkpoint()
        raise Cancelled
    while not task.woken:
        if task.abort is None or (_is_due(table, task) and task.abort()):
            task.abort = None
            raise Cancelled
        deadline = task.deadline()
        if deadline == inf or deadline <= table.now:
            await conductor.block(on)
        else:
            await conductor.sleep(_alarm(deadline) - conductor.now)
        conductor.touch(WRITE, table.shared)
    error, task.error = task.error, None
    value, task.value = task.value, None
    if error is not None:
        raise error
    return value


def _alarm(deadline: float) -> int:
    """When a deadline has an effect, ns: at the next tick after it, so that timers set steps apart may go off in either
    order."""
    return -(-round(deadline * NS_PER_S) // TICK_NS) * TICK_NS


def unpark(task: ScopedTask, value: Any = None, error: BaseException | None = None) -> None:
    """Wake a parked task: `park` returns the value, or raises the error."""
    task.abort, task.woken, task.value, task.error = None, True, value, error
    _wake(tables().conductor, task)


def _wake(conductor: Conductor, task: ScopedTask) -> None:
    """Make a blocked task ready, unless its alarm has done so."""
    if task.actor.waiting_on is not None and not conductor.wake_sleeper(task.actor):
        conductor.wake(task.actor)
