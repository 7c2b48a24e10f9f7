"""Random small programs in trio's API, run on trio itself and under schedules."""

from __future__ import annotations

from random import Random
from types import ModuleType
from typing import Any

Outcome = tuple[str, ...]


class TrioProgram:
    """A few tasks with a few operations each on a lock, an event, a condition, a semaphore, a limiter and a channel.

    Args:
        seed: where the operations come from.

    `run` returns what the tasks have seen, in order: two runs with the same interleaving return the same.
    """

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self.kinds = rng.sample(sorted(OPERATIONS), 2)
        names = [name for kind in self.kinds for name in OPERATIONS[kind]]
        self.tasks = [[rng.choice(names) for _ in range(rng.randint(1, 2))] for _ in range(3)]

    async def run(self, trio: ModuleType, seen: list[str]) -> None:
        """Run it with that module as `trio`; what was seen is appended to `seen`, also if it does not end."""
        shared = Shared(trio)
        async with trio.open_nursery() as nursery:
            shared.scopes.append(nursery.cancel_scope)
            for number, names in enumerate(self.tasks):
                nursery.start_soon(self._task, trio, shared, seen, number, names)

    async def _task(self, trio: ModuleType, shared: Shared, seen: list[str], number: int, names: list[str]) -> None:
        for name in names:
            try:
                result = await getattr(shared, name)(number)
            except trio.Cancelled:
                seen.append(f"{number} {name} cancelled")
                raise
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel, trio.WouldBlock) as error:
                result = type(error).__name__
            except (RuntimeError, ValueError) as error:
                result = type(error).__name__
            seen.append(f"{number} {name} {result}")


OPERATIONS = {
    "lock": ("locked", "tried", "left"),
    "event": ("waits", "sets"),
    "condition": ("awaits", "notifies", "notifies_all"),
    "semaphore": ("takes", "gives"),
    "limiter": ("borrows", "widens"),
    "channel": ("sends", "sends_now", "receives", "closes", "closes_receiving"),
    "scope": ("cancels", "times_out", "sleeps", "shielded"),
    "plain": ("steps",),
}


class Shared:
    """What the tasks share."""

    def __init__(self, trio: ModuleType) -> None:
        self.trio: Any = trio
        self.lock, self.event, self.condition = trio.Lock(), trio.Event(), trio.Condition()
        self.semaphore, self.limiter = trio.Semaphore(1, max_value=2), trio.CapacityLimiter(1)
        self.send, self.receive = trio.open_memory_channel(1)
        self.scopes: list[Any] = []
        self.count = 0

    async def locked(self, number: int) -> object:
        async with self.lock:
            before = self.count
            await self.trio.lowlevel.checkpoint()
            self.count = before + 1
        return self.count

    async def tried(self, number: int) -> object:
        self.lock.acquire_nowait()
        await self.trio.lowlevel.checkpoint()
        self.lock.release()
        return "taken"

    async def left(self, number: int) -> object:
        return self.lock.locked(), self.lock.statistics().tasks_waiting

    async def waits(self, number: int) -> object:
        return await self.event.wait()

    async def sets(self, number: int) -> object:
        before = self.event.statistics().tasks_waiting
        self.event.set()
        return before

    async def awaits(self, number: int) -> object:
        async with self.condition:
            before = self.count
            await self.condition.wait()
            return self.count - before

    async def notifies(self, number: int) -> object:
        async with self.condition:
            self.count += 1
            waiting = self.condition.statistics().tasks_waiting
            self.condition.notify()
            return waiting

    async def notifies_all(self, number: int) -> object:
        async with self.condition:
            self.count += 1
            self.condition.notify_all()
            return self.condition.statistics().lock_statistics.tasks_waiting

    async def takes(self, number: int) -> object:
        await self.semaphore.acquire()
        return self.semaphore.value

    async def gives(self, number: int) -> object:
        self.semaphore.release()
        return self.semaphore.value

    async def borrows(self, number: int) -> object:
        async with self.limiter:
            await self.trio.lowlevel.checkpoint()
            return self.limiter.borrowed_tokens

    async def widens(self, number: int) -> object:
        self.limiter.total_tokens = 2
        return self.limiter.statistics().tasks_waiting

    async def sends(self, number: int) -> object:
        await self.send.send(number)
        return self.send.statistics().current_buffer_used

    async def sends_now(self, number: int) -> object:
        self.send.send_nowait(number)
        return self.send.statistics().tasks_waiting_receive

    async def receives(self, number: int) -> object:
        return await self.receive.receive()

    async def closes(self, number: int) -> object:
        await self.send.aclose()
        return self.send.statistics().open_send_channels

    async def closes_receiving(self, number: int) -> object:
        self.receive.close()
        return self.receive.statistics().tasks_waiting_send

    async def cancels(self, number: int) -> object:
        self.scopes[0].cancel()
        return "called"

    async def times_out(self, number: int) -> object:
        with self.trio.move_on_after(1) as scope:
            async with self.lock:
                await self.trio.sleep(2)
        return scope.cancelled_caught

    async def sleeps(self, number: int) -> object:
        await self.trio.sleep(number + 0.5)
        return "woke"

    async def shielded(self, number: int) -> object:
        with self.trio.CancelScope(shield=True):
            await self.trio.lowlevel.checkpoint()
        return "passed"

    async def steps(self, number: int) -> object:
        await self.trio.lowlevel.checkpoint()
        self.count += 1
        return self.count
