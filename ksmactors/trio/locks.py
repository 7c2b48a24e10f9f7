"""Events, locks, conditions and semaphores with trio's semantics.

A lock is handed to the first waiter by its release. `set`, `notify` and `release` pass no checkpoint. An `acquire` that
does not wait passes one after it has acted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from types import TracebackType
from typing import ClassVar, Literal

from trio import BrokenResourceError, ConditionStatistics, EventStatistics, LockStatistics, WouldBlock
from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.labels import NamedOperation
from ksmactors.trio.names import name_of_new
from ksmactors.trio.scopes import PASSING, CancelScope
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


class SharedObject:
    """Something that tasks share. `name` is what its author calls it."""

    kind: ClassVar[str] = ""

    def __init__(self) -> None:
        self.name = name_of_new(self.kind)

    def label(self, field: object) -> str:
        """Return its name, for an operation that says itself what was done; "" for a wait, which touches nothing."""
        return self.name.replace(" ", "/") if isinstance(field, NamedOperation) else ""


class ParkingLot(SharedObject):
    """A queue of blocked tasks, as trio.lowlevel.ParkingLot.

    Args:
        stands_for: the object that reports say its tasks wait for; default: itself.
    """

    kind = "parking_lot"

    def __init__(self, stands_for: SharedObject | None = None) -> None:
        if stands_for is None:
            super().__init__()
        self._of: SharedObject = self if stands_for is None else stands_for
        self._parked: dict[ScopedTask, None] = {}
        self._broken = False

    def __len__(self) -> int:
        return len(self._parked)

    def __bool__(self) -> bool:
        return bool(self._parked)

    async def park(self) -> None:
        """Block until woken by `unpark`.

        Raises:
            BrokenResourceError: `break_lot` was called, before or meanwhile.
        """
        if self._broken:
            raise BrokenResourceError
        task = tables().current()
        self._take_in(task)

        def abort() -> bool:
            del task.lot._parked[task]
            return True

        await park(self._of, abort)

    def unpark(self, *, count: float = 1) -> list[ScopedTask]:
        """Wake the first `count` tasks (inf: all); return them."""
        tasks = self._pop(count)
        for task in tasks:
            unpark(task)
        return tasks

    def unpark_all(self) -> list[ScopedTask]:
        """Wake all tasks; return them."""
        return self.unpark(count=inf)

    def repark(self, new_lot: ParkingLot, *, count: float = 1) -> None:
        """Move the first `count` tasks to another lot without waking them."""
        for task in self._pop(count):
            new_lot._take_in(task)
            if not isinstance(task.actor.waiting_on, tuple):
                task.actor.waiting_on = new_lot._of

    def repark_all(self, new_lot: ParkingLot) -> None:
        """Move all tasks to another lot without waking them."""
        self.repark(new_lot, count=inf)

    def break_lot(self) -> None:
        """Have `park` raise an error in all tasks, now and later."""
        self._broken = True
        for task in self._pop(inf):
            unpark(task, error=BrokenResourceError())

    def _take_in(self, task: ScopedTask) -> None:
        self._parked[task] = None
        task.lot = self

    def _pop(self, count: float) -> list[ScopedTask]:
        tasks = list(self._parked)[: len(self._parked) if count == inf else int(count)]
        for task in tasks:
            del self._parked[task]
        return tasks


class TrioEvent(SharedObject):
    """As trio.Event."""

    kind = "event"

    def __init__(self) -> None:
        super().__init__()
        self._flag = False
        self._lot = ParkingLot(self)

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._flag

    def set(self) -> None:
        """Set it, and wake all waiters."""
        if not self._flag:
            self._flag = True
            tell(self, f"sets {self.name}")
            self._lot.unpark_all()

    async def wait(self) -> None:
        """Block until it is set; a checkpoint if it is."""
        if self._flag:
            await checkpoint()
        else:
            await self._lot.park()

    def statistics(self) -> EventStatistics:
        """As trio's."""
        return EventStatistics(tasks_waiting=len(self._lot))

    def __bool__(self) -> Literal[True]:
        raise NotImplementedError("an event has no truth value; use is_set()")


class _Acquired(SharedObject, ABC):
    """What `async with` acquires and releases."""

    async def acquire(self) -> None:
        """Take it; may block."""
        await checkpoint_if_cancelled()
        try:
            self.acquire_nowait()
        except WouldBlock:
            await self._wait()
        else:
            await cancel_shielded_checkpoint()

    @abstractmethod
    def acquire_nowait(self) -> None:
        """Take it.

        Raises:
            WouldBlock: it cannot be taken now.
        """

    @abstractmethod
    def release(self) -> None:
        """Give it back."""

    @abstractmethod
    async def _wait(self) -> None:
        """Take it once another task has given it back."""

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class TrioLock(_Acquired):
    """As trio.Lock and trio.StrictFIFOLock: first come, first served."""

    kind = "lock"

    def __init__(self) -> None:
        super().__init__()
        self.lot = ParkingLot(self)
        self.task: ScopedTask | None = None
        """The task that has it."""

    @property
    def owner(self) -> Actor | None:
        """The actor that has it, for reports of deadlocks."""
        return self.task.actor if self.task is not None else None

    def locked(self) -> bool:
        """Whether a task has it."""
        return self.task is not None

    @override
    def acquire_nowait(self) -> None:
        me = tables().current()
        if self.task is me:
            raise RuntimeError("attempt to re-acquire an already held Lock")
        if self.task is not None:
            raise WouldBlock
        self._given(me)
        self.taken()

    @override
    async def _wait(self) -> None:
        try:
            await self.lot.park()
        except BrokenResourceError:
            raise BrokenResourceError(f"Owner of this lock exited without releasing: {self.name}") from None
        self.taken()

    @override
    def release(self) -> None:
        me = tables().current()
        if self.task is not me:
            raise RuntimeError("can't release a Lock you don't own")
        me.owned.remove(self)
        self.task = None
        tell(self, f"releases {self.name}")
        observers = tables().conductor.observers
        if observers is not None:
            observers.released(me.actor, self)
        for first in self.lot.unpark():
            self._given(first)

    def _given(self, task: ScopedTask) -> None:
        self.task = task
        task.owned.append(self)

    def taken(self) -> None:
        """Notify observers that the running task has it now."""
        tell(self, f"takes {self.name}")
        table = tables()
        if table.conductor.observers is not None:
            table.conductor.observers.acquired(table.conductor.turn, self)

    def abandoned(self) -> None:
        """Its owner has ended without releasing it: no waiter can have it any more."""
        self.lot.break_lot()

    def statistics(self) -> LockStatistics:
        """As trio's; the owner is a task of ours."""
        return LockStatistics(locked=self.locked(), owner=self.task, tasks_waiting=len(self.lot))  # type: ignore[arg-type]


class TrioCondition(SharedObject):
    """As trio.Condition."""

    kind = "condition"

    def __init__(self, lock: TrioLock | None = None) -> None:
        super().__init__()
        self._lock = TrioLock() if lock is None else lock
        self._lot = ParkingLot(self)

    def locked(self) -> bool:
        """Whether a task has its lock."""
        return self._lock.locked()

    def acquire_nowait(self) -> None:
        """Take its lock; WouldBlock if that is taken."""
        self._lock.acquire_nowait()

    async def acquire(self) -> None:
        """Take its lock."""
        await self._lock.acquire()

    def release(self) -> None:
        """Release its lock."""
        self._lock.release()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    async def wait(self) -> None:
        """Release the lock, wait to be notified, and take the lock again, also if cancelled."""
        if self._lock.task is not tables().current():
            raise RuntimeError("must hold the lock to wait")
        self.release()
        try:
            await self._lot.park()
        except PASSING:
            raise
        except BaseException:
            with CancelScope(shield=True):
                await self.acquire()
            raise
        self._lock.taken()

    def notify(self, n: int = 1) -> None:
        """Wake so many waiters."""
        if self._lock.task is not tables().current():
            raise RuntimeError("must hold the lock to notify")
        first = list(self._lot._parked)[:n]
        who = ", ".join(task.name for task in first) or "no task"
        tell(self, f"notifies {self.name}: {who}")
        self._lot.repark(self._lock.lot, count=n)

    def notify_all(self) -> None:
        """Wake all waiters."""
        self.notify(len(self._lot))

    def statistics(self) -> ConditionStatistics:
        """As trio's."""
        return ConditionStatistics(tasks_waiting=len(self._lot), lock_statistics=self._lock.statistics())


class TrioSemaphore(_Acquired):
    """As trio.Semaphore."""

    kind = "semaphore"

    def __init__(self, initial_value: int, *, max_value: int | None = None) -> None:
        if not isinstance(initial_value, int) or (max_value is not None and not isinstance(max_value, int)):
            raise TypeError("initial_value and max_value must be ints")
        if initial_value < 0:
            raise ValueError("initial value must be >= 0")
        if max_value is not None and max_value < initial_value:
            raise ValueError("max_values must be >= initial_value")
        super().__init__()
        self._value, self._max = initial_value, max_value
        self._lot = ParkingLot(self)

    @property
    def value(self) -> int:
        """How many more can take it."""
        return self._value

    @property
    def max_value(self) -> int | None:
        """The most that `value` may become."""
        return self._max

    @override
    def acquire_nowait(self) -> None:
        if self._value == 0:
            raise WouldBlock
        self._value -= 1
        tell(self, f"takes {self.name}, {self._value} left")

    @override
    async def _wait(self) -> None:
        await self._lot.park()
        tell(self, f"takes {self.name}")

    @override
    def release(self) -> None:
        if not self._lot and self._max is not None and self._value == self._max:
            raise ValueError("semaphore released too many times")
        tell(self, f"releases {self.name}")
        if not self._lot.unpark():
            self._value += 1
