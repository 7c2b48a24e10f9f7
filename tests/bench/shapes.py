"""The classic models once more, for the peers: the same operations in the same order, over whatever a world offers.

A world says what precedes an operation (`pause`) and what a lock is. `holds` says afterwards whether all went well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

Actor = Callable[[], Awaitable[None]]


class Lock(Protocol):
    """A lock; taking it and giving it back are one operation each."""

    async def acquire(self) -> Any: ...
    async def release(self) -> Any: ...


class World(Protocol):
    """What a peer's runtime offers."""

    async def pause(self) -> None: ...
    def lock(self) -> Lock: ...


class Shape:
    """One schedule of a model: `actors` to be run at the same time, `holds` to be asked when all have ended."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.v = self.a = self.b = self.d1 = self.d2 = 0
        self.failed = False
        self.lock_1, self.lock_2 = world.lock(), world.lock()
        self.actors: Sequence[Actor] = ()

    def holds(self) -> bool:
        """Whether nothing went wrong."""
        return not self.failed


def lost(world: World) -> Shape:
    """Two workers count without a lock."""
    shape = Shape(world)

    async def worker() -> None:
        await world.pause()
        read = shape.v
        await world.pause()
        shape.v = read + 1
        shape.failed = shape.v == 1 and shape.a == 1
        shape.a = 1  # somebody has ended

    shape.actors = [worker, worker]
    return shape


def abba(world: World) -> Shape:
    """Two locks in opposite orders."""
    shape = Shape(world)

    def taker(first: Lock, second: Lock) -> Actor:
        async def take() -> None:
            await first.acquire()
            await second.acquire()
            await second.release()
            await first.release()

        return take

    shape.actors = [taker(shape.lock_1, shape.lock_2), taker(shape.lock_2, shape.lock_1)]
    return shape


def starve_20(world: World) -> Shape:
    """Twenty steps and a write, before a read."""
    shape = Shape(world)

    async def writer() -> None:
        for _ in range(20):
            await world.pause()
        await world.pause()
        shape.v = 1

    async def reader() -> None:
        await world.pause()
        shape.failed = shape.v == 1

    shape.actors = [writer, reader]
    return shape


def reorder(setters: int, checkers: int) -> Callable[[World], Shape]:
    """Some write a, then b; others look at both."""

    def make(world: World) -> Shape:
        shape = Shape(world)

        async def setter() -> None:
            await world.pause()
            shape.a = 1
            await world.pause()
            shape.b = -1

        async def read_a() -> int:
            await world.pause()
            return shape.a

        async def read_b() -> int:
            await world.pause()
            return shape.b

        async def checker() -> None:
            if await read_a() == 0 and await read_b() == 0:
                return
            if await read_a() == 1 and await read_b() == -1:
                return
            shape.failed = True

        shape.actors = [setter] * setters + [checker] * checkers
        return shape

    return make


def twostage(pairs: int) -> Callable[[World], Shape]:
    """Two variables under a lock each, which are one fact."""

    def make(world: World) -> Shape:
        shape = Shape(world)

        async def writer() -> None:
            await shape.lock_1.acquire()
            await world.pause()
            shape.d1 = 1
            await shape.lock_1.release()
            await shape.lock_2.acquire()
            await world.pause()
            shape.d2 = shape.d1 + 1
            await shape.lock_2.release()

        async def reader() -> None:
            await shape.lock_1.acquire()
            await world.pause()
            first = shape.d1
            await shape.lock_1.release()
            if first == 0:
                return
            await shape.lock_2.acquire()
            await world.pause()
            second = shape.d2
            await shape.lock_2.release()
            if second != first + 1:
                shape.failed = True

        shape.actors = [writer] * pairs + [reader] * pairs
        return shape

    return make


SHAPES: dict[str, Callable[[World], Shape]] = {
    "lost": lost,
    "abba": abba,
    "starve_20": starve_20,
    "reorder_3": reorder(2, 1),
    "reorder_10": reorder(9, 1),
    "reorder_20": reorder(10, 10),
    "twostage": twostage(1),
    "twostage_20": twostage(10),
    "twostage_50": twostage(25),
}
