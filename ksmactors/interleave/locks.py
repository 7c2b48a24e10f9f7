"""The kernel's locks, with the kernel's semantics.

Each operation passes one scheduling point, then acts. A contended sleeping lock blocks its actor; the waits-for graph
of a deadlock is read from `waiting_on` and `owner`. There is no `async with`: kernel code unlocks in orders that no
scope can express, and after a finding the locks must keep their state for the report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ksmactors.interleave import reports
from ksmactors.interleave.actor import ACQUIRE, RELEASE, Actor
from ksmactors.interleave.observer_hub import unobserved

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor


def contended(conductor: Conductor, lock: object, owner: Actor | None) -> None:
    """Notify listeners that the running actor found `lock` taken."""
    if conductor.contention is not None:
        conductor.contention(lock, conductor.turn, owner)


def would_wait(actor: Actor) -> bool:
    """Whether a ready actor is about to take a mutex or spinlock that another actor holds.

    Given the turn, it would only block. Returns False for locks with a trylock and for fair queues: there, the order of
    arrival matters even while the lock is held.
    """
    kind, lock, _ = actor.op
    return kind == ACQUIRE and isinstance(lock, _Lock) and lock.owner is not None and lock.owner is not actor


class _Lock:
    """Owner and queue, common to mutex and spinlock. A woken waiter tries again and may find the lock taken by a later
    arrival, as in the kernel."""

    __slots__ = ("conductor", "name", "owner", "waiters")

    def __init__(self, conductor: Conductor, name: str) -> None:
        self.conductor, self.name = conductor, name
        self.owner: Actor | None = None
        self.waiters: deque[Actor] = deque()

    def _release(self) -> None:
        conductor = self.conductor
        if self.owner is not conductor.turn:
            raise reports.not_owner(conductor.turn, self)
        self.owner = None
        if conductor.observers is not None:
            conductor.observers.released(conductor.turn, self)
        if self.waiters:
            conductor.wake(self.waiters.popleft())


class Mutex(_Lock):
    """struct mutex: sleeping, one owner. `before_unlock` is called at each release while it is still held; no observer
    is notified of what it reads."""

    __slots__ = ("before_unlock",)

    def __init__(self, conductor: Conductor, name: str) -> None:
        super().__init__(conductor, name)
        self.before_unlock: list[Callable[[], None]] = []

    async def lock(self) -> None:
        """mutex_lock. May block; other actors may run before it is taken."""
        conductor = self.conductor
        conductor.might_sleep(self)
        await conductor.point(ACQUIRE, self)
        me = conductor.turn
        while self.owner is not None:
            contended(conductor, self, self.owner)
            self.waiters.append(me)
            await conductor.block(self)
        self.owner = me
        me.held.append(self)
        if conductor.observers is not None:
            conductor.observers.acquired(me, self)

    async def unlock(self) -> None:
        """mutex_unlock. Wakes the first waiter."""
        conductor = self.conductor
        if self.before_unlock:
            with unobserved(conductor):
                for listener in self.before_unlock:
                    listener()
        await conductor.point(RELEASE, self)
        conductor.turn.held.remove(self)
        self._release()


class SpinLock(_Lock):
    """spinlock_t: its holder must not sleep. An actor that finds it taken waits for its release."""

    __slots__ = ("last_owner",)

    def __init__(self, conductor: Conductor, name: str) -> None:
        super().__init__(conductor, name)
        self.last_owner: Actor | None = None

    async def lock(self) -> None:
        """spin_lock. Other actors may run before it is taken, and while it is held."""
        conductor = self.conductor
        await conductor.point(ACQUIRE, self)
        me = conductor.turn
        while self.owner is not None:
            contended(conductor, self, self.owner)
            self.waiters.append(me)
            await conductor.park(self)
        self.owner = me
        me.spin_depth += 1
        if conductor.observers is not None:
            conductor.observers.acquired(me, self)

    async def unlock(self) -> None:
        """spin_unlock."""
        conductor = self.conductor
        await conductor.point(RELEASE, self)
        conductor.turn.spin_depth -= 1
        self.last_owner = self.owner
        self._release()


class RwSem:
    """struct rw_semaphore, writer-fair: readers and writers queue behind a waiting writer."""

    __slots__ = ("conductor", "guard", "name", "owner", "queue", "readers")

    vital: ClassVar[str] = "life"
    """Name of the pseudo-field that stands for the lifetime of the object that contains the lock."""

    def __init__(self, conductor: Conductor, name: str, *, guard: Callable[[], None] | None = None) -> None:
        self.conductor, self.name = conductor, name
        self.guard = guard
        """Called before each use, to report use after free of the object that contains the lock."""
        self.owner: Actor | None = None
        self.readers: list[Actor] = []
        self.queue: deque[tuple[Actor, bool]] = deque()

    async def down_read(self) -> None:
        """Take it shared. Blocks while a writer holds it or waits for it."""
        conductor = self.conductor
        conductor.might_sleep(self)
        await conductor.point(ACQUIRE, self)
        guard = self.guard
        if guard is not None:
            guard()
        me = conductor.turn
        if self.owner is None and not self.queue:
            self.readers.append(me)
        else:
            await self._wait(me, False)
        me.held.append(self)
        if conductor.observers is not None:
            conductor.observers.acquired(me, self, True)

    async def down_read_trylock(self) -> bool:
        """Take it shared if no writer holds it or waits for it."""
        conductor = self.conductor
        await conductor.point(ACQUIRE, self)
        guard = self.guard
        if guard is not None:
            guard()
        if self.owner is not None or self.queue:
            return False
        me = conductor.turn
        self.readers.append(me)
        me.held.append(self)
        if conductor.observers is not None:
            conductor.observers.acquired(me, self, True, True)
        return True

    async def down_write(self) -> None:
        """Take it exclusively."""
        conductor = self.conductor
        conductor.might_sleep(self)
        await conductor.point(ACQUIRE, self)
        guard = self.guard
        if guard is not None:
            guard()
        me = conductor.turn
        if self.owner is None and not self.readers and not self.queue:
            self.owner = me
        else:
            await self._wait(me, True)
        me.held.append(self)
        if conductor.observers is not None:
            conductor.observers.acquired(me, self)

    async def up_read(self) -> None:
        """Release a shared hold."""
        conductor = self.conductor
        await conductor.point(RELEASE, self)
        guard = self.guard
        if guard is not None:
            guard()
        me = conductor.turn
        if me not in self.readers:
            raise reports.not_owner(me, self)
        self.readers.remove(me)
        me.held.remove(self)
        if conductor.observers is not None:
            conductor.observers.released(me, self, True)
        if self.queue:
            self._grant()

    async def up_write(self) -> None:
        """Release the exclusive hold."""
        conductor = self.conductor
        await conductor.point(RELEASE, self)
        guard = self.guard
        if guard is not None:
            guard()
        me = conductor.turn
        if self.owner is not me:
            raise reports.not_owner(me, self)
        self.owner = None
        me.held.remove(self)
        if conductor.observers is not None:
            conductor.observers.released(me, self)
        if self.queue:
            self._grant()

    async def _wait(self, me: Actor, write: bool) -> None:
        contended(self.conductor, self, self.owner or (self.readers[0] if self.readers else None))
        self.queue.append((me, write))
        await self.conductor.block(self)

    def _grant(self) -> None:
        if self.owner is not None:
            return
        if self.queue and self.queue[0][1]:
            if not self.readers:
                self.owner, _ = self.queue.popleft()
                self.conductor.wake(self.owner)
            return
        while self.queue and not self.queue[0][1]:
            reader, _ = self.queue.popleft()
            self.readers.append(reader)
            self.conductor.wake(reader)


class WaitQueue:
    """wait_queue_head_t. The caller tests its condition; there is no scheduling point between the test and the wait.

    `waker` is the actor that will wake the waiters, where that is known: then a wait cycle through the queue is found.
    """

    __slots__ = ("conductor", "idle", "name", "waiters", "waker")

    def __init__(self, conductor: Conductor, name: str, *, idle: bool = False) -> None:
        self.conductor, self.name, self.idle = conductor, name, idle
        self.waker: Actor | None = None
        self.waiters: deque[Actor] = deque()

    def label(self, field: object) -> str:
        """Return "": a wait queue is not shared memory, and the order in which two actors begin to wait does not
        matter."""
        return ""

    async def wait(self) -> None:
        """Wait for the next wake-up."""
        self.waiters.append(self.conductor.turn)
        await self.conductor.block(self)

    def wake_all(self) -> None:
        """Make all waiters ready."""
        while self.waiters:
            self.conductor.wake(self.waiters.popleft())
