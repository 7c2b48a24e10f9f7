"""Weak memory: what others may see of an actor's stores, with barriers and without."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from ksmactors.campaign.api import stress
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import SpinLock
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.mm.store_buffer import StoreBuffer

SCHEDULES = 150


class Memory:
    """Two fields in weak memory."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.buffer = StoreBuffer(conductor)
        self.lock = SpinLock(conductor, "lock")
        self.values = {"x": 0, "y": 0}

    async def store(self, field: str, value: int) -> None:
        await self.conductor.point(WRITE, self, field)
        old, self.values[field] = self.values[field], value
        self.buffer.stored(self, field, old)

    async def load(self, field: str) -> int:
        await self.conductor.point(READ, self, field)
        return self.buffer.load(self, field, self.values[field])

    async def linger(self) -> None:
        """The end of an actor is a barrier: let it not end just yet."""
        await self.conductor.point(READ, None)

    async def atomic(self) -> None:
        await self.conductor.point(WRITE, self, "refcount")
        self.buffer.full_barrier()


Part = Callable[[Memory], object]


def outcomes(*parts: Part, until: tuple[object, ...] | None = None) -> set[tuple[object, ...]]:
    """What some actors returned, over many random schedules, or until something is among it."""
    found = set()
    for seed in range(SCHEDULES):
        strategy = RandomWalk()
        strategy.begin(strategy_rng(seed))
        conductor = Conductor(strategy, Tape(seed))
        memory = Memory(conductor)
        result: dict[str, object] = {}

        async def main(
            conductor: Conductor = conductor, memory: Memory = memory, result: dict[str, object] = result
        ) -> None:
            result |= await run_concurrently(conductor, {str(n): part(memory) for n, part in enumerate(parts)})  # type: ignore[misc]

        trio.run(conductor.run, "host", main)
        found.add(tuple(result.values()))
        if until in found:
            break
    return found


def writer(*, barrier: bool) -> Part:
    async def write(memory: Memory) -> None:
        await memory.store("x", 1)
        if barrier:
            memory.buffer.write_barrier()
        await memory.store("y", 1)
        await memory.linger()

    return write


def reader(*, barrier: bool) -> Part:
    async def read(memory: Memory) -> tuple[int, int, int]:
        before = await memory.load("x")
        y = await memory.load("y")
        if barrier:
            memory.buffer.read_barrier()
        return before, y, await memory.load("x")

    return read


STALE = (None, (0, 1, 0))
"""y is seen new, and x, which was stored before it, is seen old: twice, so that the second look may have been early."""


def test_both_barriers() -> None:
    """Who has seen the second store and passes a read barrier sees the first: message passing works."""
    found = outcomes(writer(barrier=True), reader(barrier=True))

    assert STALE not in found
    assert (None, (0, 1, 1)) in found


@pytest.mark.parametrize(("write", "read"), [(False, True), (True, False), (False, False)])
def test_a_barrier_is_missing(write: bool, read: bool) -> None:
    """Without either barrier the second store may be seen, and the first not."""
    assert STALE in outcomes(writer(barrier=write), reader(barrier=read), until=STALE)


def test_own_stores_are_seen() -> None:
    """An actor sees what it has stored, whoever else does not yet."""

    async def alone(memory: Memory) -> int:
        await memory.store("x", 1)
        return await memory.load("x")

    assert {one for one, _ in outcomes(alone, reader(barrier=True))} == {1}


def test_stores_to_one_field_keep_their_order() -> None:
    """Nobody who has seen a newer value of a field sees an older one behind a read barrier."""

    async def twice(memory: Memory) -> None:
        await memory.store("x", 1)
        await memory.store("x", 2)

    async def read(memory: Memory) -> tuple[int, int]:
        first = await memory.load("x")
        memory.buffer.read_barrier()
        return first, await memory.load("x")

    found = {pair for _, pair in outcomes(twice, read)}

    assert all(first <= second for first, second in found)  # type: ignore[misc, has-type]
    assert (0, 2) in found


@pytest.mark.parametrize("full", ["atomic", "lock"])
def test_full_barriers(full: str) -> None:
    """Atomics and locks are barriers for whoever does them: what was stored before is seen by all."""

    async def publish(memory: Memory) -> None:
        await memory.store("x", 1)
        if full == "atomic":
            await memory.atomic()
        else:
            await memory.lock.lock()
            await memory.lock.unlock()
        await memory.store("y", 1)

    found = outcomes(publish, reader(barrier=True))

    assert STALE not in found


def test_store_buffering() -> None:
    """Two actors that each store one field and load the other may both see the old values: no lock, no order."""

    def side(mine: str, other: str) -> Part:
        async def go(memory: Memory) -> int:
            await memory.store(mine, 1)
            seen = await memory.load(other)
            await memory.linger()
            return seen

        return go

    assert (0, 0) in outcomes(side("x", "y"), side("y", "x"), until=(0, 0))


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["litmus.scan_meets_migration"])
def test_the_protocol_holds_in_weak_memory(workload: str) -> None:
    """With its barriers, the protocol of series needs no luck: nothing is found."""
    tally = stress(workload, seeds=30, with_=["weak-memory"])

    assert tally.found == {}
    assert tally.crash is None
