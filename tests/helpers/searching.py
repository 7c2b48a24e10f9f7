"""Small random programs, and searches run to their end over them: what was reached, and in how many schedules."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from ksmactors.errors import CutShort, Finding, StepLimit
from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD, Actor, Operation
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock, WaitQueue
from ksmactors.interleave.mailbox import Mailbox
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.search.base import Search
from ksmactors.interleave.search.execution_order import ExecutionOrder, touches
from ksmactors.interleave.tape import strategy_rng
from ksmactors.interleave.task_pool import open_task_pool

Play = Callable[[Conductor], Coroutine[Any, Any, object]]
"""The first actor of a schedule; what it returns is how the schedule ended."""


@dataclass
class Searched:
    """A search at its end: each way in which schedules ended, with how many did; how many were cut short; the number
    of the first schedule that found something; the whole histories, if they were asked for."""

    ends: dict[object, int] = field(default_factory=dict)
    schedules: int = 0
    cut: int = 0
    first_finding_at: int | None = None


class Traces(Observer):
    """Listens to schedules for their Mazurkiewicz traces: who did what, and after what of all others."""

    def __init__(self) -> None:
        self.seen: dict[object, int] = {}
        self.begin()

    def begin(self) -> None:
        """A new schedule."""
        self._happened = ExecutionOrder(patient=False)
        self._labels: list[str] = []

    def end(self) -> None:
        """The schedule came to its end."""
        happened = self._happened
        trace = frozenset(zip(happened.actors, self._labels, map(tuple, happened.clocks), strict=True))
        self.seen[trace] = self.seen.get(trace, 0) + 1

    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self._happened.start(None if actor is None else actor.number)

    def did(self, actor: Actor, op: Operation) -> None:
        self._happened.add(actor.number, op, touches(op), -1)
        self._labels.append(f"{op[0]} {label_of(op)}")


def searched(
    play: Play, search: Search, *, most: int = 100_000, max_steps: int = 10_000, traces: Traces | None = None
) -> Searched:
    """Run a search over a program to its end."""
    came = Searched()

    async def campaign() -> None:
        async with open_task_pool() as task_pool:
            while True:
                search.begin(strategy_rng(0))
                conductor = Conductor(search, search.tape(0), max_steps=max_steps)
                if search.observer is not None:
                    conductor.observe(search.observer)
                if traces is not None:
                    traces.begin()
                    conductor.observe(traces)
                ends: list[object] = []

                async def main(conductor: Conductor = conductor, ends: list[object] = ends) -> None:
                    ends.append(await play(conductor))

                try:
                    await conductor.run("main", main, task_pool)
                except CutShort:
                    pass
                except Finding as finding:
                    ends.append(finding.signature)
                except StepLimit:
                    ends.append("no end")
                _count(came, ends, fresh=search.fresh)
                if traces is not None and search.fresh:
                    traces.end()
                if not search.advance():
                    return
                assert came.schedules + came.cut < most, "the search has no end"

    trio.run(campaign)
    return came


def _count(came: Searched, ends: list[object], *, fresh: bool) -> None:
    if not fresh:
        came.cut += 1
        return
    came.schedules += 1
    came.ends[ends[0]] = came.ends.get(ends[0], 0) + 1
    if isinstance(ends[0], str) and came.first_finding_at is None:
        came.first_finding_at = came.schedules


class Board:
    """What is also touched in passing, field by field."""

    name = "board"

    def __init__(self) -> None:
        self.notes = {"x": 0, "y": 0}
        self.left = 2


class World:
    """What the actors of a random program share."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.values = {"x": 0, "y": 0}
        self.cells = {name: [name] for name in self.values}  # a list: an object without a hash
        self.mutexes = [Mutex(conductor, "m0"), Mutex(conductor, "m1")]
        self.spinlock = SpinLock(conductor, "s")
        self.rwsem = RwSem(conductor, "r")
        self.mailbox: Mailbox[int] = Mailbox(conductor, "mail")
        self.queue = WaitQueue(conductor, "queue")
        self.board = Board()
        self.flag = False
        self.seen: dict[int, list[object]] = {}

    async def act(self, number: int, program: list[tuple[Any, ...]]) -> None:
        """An actor: does the operations of a program one by one, and remembers what it saw."""
        seen = self.seen[number] = []
        for what, *operands in program:
            await getattr(self, what)(seen, *operands)

    async def read(self, seen: list[object], name: str) -> None:
        await self.conductor.point(READ, self.cells[name])
        seen.append(self.values[name])

    async def write(self, seen: list[object], name: str, value: int) -> None:
        await self.conductor.point(WRITE, self.cells[name])
        self.values[name] = value

    async def add(self, seen: list[object], name: str) -> None:
        """What was read last and one more."""
        await self.conductor.point(WRITE, self.cells[name])
        last = seen[-1] if seen else 0
        self.values[name] = last + 1 if isinstance(last, int) else 0

    async def swap(self, seen: list[object], name: str, value: int) -> None:
        await self.conductor.point(WRITE, self.cells[name])
        seen.append(self.values[name])
        self.values[name] = value

    async def check(self, seen: list[object], name: str, value: int) -> None:
        """A finding if the value is this one."""
        await self.conductor.point(READ, self.cells[name])
        if self.values[name] == value:
            raise Finding("test", f"{name}_is_{value}", "check", "")
        seen.append(self.values[name])

    async def lock(self, seen: list[object], which: int) -> None:
        await self.mutexes[which].lock()

    async def unlock(self, seen: list[object], which: int) -> None:
        await self.mutexes[which].unlock()

    async def spin_lock(self, seen: list[object]) -> None:
        await self.spinlock.lock()

    async def spin_unlock(self, seen: list[object]) -> None:
        await self.spinlock.unlock()

    async def down_read(self, seen: list[object]) -> None:
        await self.rwsem.down_read()

    async def up_read(self, seen: list[object]) -> None:
        await self.rwsem.up_read()

    async def down_write(self, seen: list[object]) -> None:
        await self.rwsem.down_write()

    async def up_write(self, seen: list[object]) -> None:
        await self.rwsem.up_write()

    async def trylock(self, seen: list[object]) -> None:
        got = await self.rwsem.down_read_trylock()
        seen.append(got)
        if got:
            await self.rwsem.up_read()

    async def send(self, seen: list[object], message: int) -> None:
        await self.mailbox.send(message)

    async def receive(self, seen: list[object]) -> None:
        seen.append(await self.mailbox.receive())

    async def wait(self, seen: list[object]) -> None:
        await self.conductor.point(READ, self.queue, "flag")
        while not self.flag:
            await self.queue.wait()
        seen.append("up")

    async def raise_flag(self, seen: list[object]) -> None:
        await self.conductor.point(WRITE, self.queue, "flag")
        self.flag = True
        self.queue.wake_all()

    async def post(self, seen: list[object], name: str, value: int) -> None:
        await self.conductor.point(WRITE, self.board, name)
        seen.append(self.board.notes[name])
        self.board.notes[name] = value

    async def post_aside(self, seen: list[object], name: str, value: int) -> None:
        """As a part of something else."""
        await self.conductor.point(WRITE, seen)
        self.conductor.touch(RELEASE, self.board, name)
        self.board.notes[name] = value

    async def glance(self, seen: list[object], name: str) -> None:
        await self.conductor.point(READ, seen)
        self.conductor.touch(YIELD, self.board, name)
        seen.append(self.board.notes[name])

    async def count_down(self, seen: list[object], name: str, value: int) -> None:
        """The one that comes to 0 posts, too."""
        await self.conductor.point(WRITE, self.board, "left")
        self.board.left -= 1
        if self.board.left == 0:
            self.conductor.touch(RELEASE, self.board, name)
            self.board.notes[name] = value

    async def draw(self, seen: list[object], n: int) -> None:
        seen.append(self.conductor.draw("value", n))

    async def spin(self, seen: list[object], name: str) -> None:
        """Wait in a loop until the value is not 0."""
        await self.conductor.point(READ, self.cells[name])
        while self.values[name] == 0:
            await self.conductor.relax(self.cells[name])
            await self.conductor.point(READ, self.cells[name])
        seen.append(self.values[name])


def random_program(rng: Random, actors: int, length: int, kinds: str) -> list[list[tuple[Any, ...]]]:
    """Programs for some actors, each of about so many operations of some of these kinds: v(alues), c(hecks), l(ocks),
    s(pinlock), r(wsem), m(ail), w(ait queue), t(ouches), d(raws), p (spinning)."""
    return [_program(rng, number, length, kinds) for number in range(actors)]


def _program(rng: Random, number: int, length: int, kinds: str) -> list[tuple[Any, ...]]:
    done: list[tuple[Any, ...]] = []
    while len(done) < length:
        done += _piece(rng, number, len(done), rng.choice(kinds))
    return done


def _piece(rng: Random, number: int, at: int, kind: str) -> list[tuple[Any, ...]]:
    name, value = rng.choice("xy"), 10 * number + at + 1
    access: list[tuple[Any, ...]] = [
        rng.choice([("read", name), ("write", name, value), ("add", name), ("swap", name, value)])
    ]
    if kind == "v":
        return access
    if kind == "c":
        return [("check", name, rng.choice([0, 1, 11, 21]))]
    if kind == "l":
        first = rng.randrange(2)
        if rng.random() < 0.3:
            return [("lock", first), ("lock", 1 - first), ("unlock", 1 - first), ("unlock", first)]
        return [("lock", first), *access, ("unlock", first)]
    if kind == "s":
        return [("spin_lock",), *access, ("spin_unlock",)]
    if kind == "r":
        if rng.random() < 0.3:
            return [("trylock",)]
        side = rng.choice(["read", "write"])
        return [(f"down_{side}",), *access, (f"up_{side}",)]
    if kind == "m":
        return [("send", value) if rng.random() < 0.5 else ("receive",)]
    if kind == "t":
        return [
            rng.choice(
                [("post", name, value), ("post_aside", name, value), ("glance", name), ("count_down", name, value)]
            )
        ]
    if kind == "w":
        return [("wait",) if rng.random() < 0.5 else ("raise_flag",)]
    if kind == "d":
        return [("draw", 2)]
    return [("spin", name) if rng.random() < 0.5 else ("write", name, value)]


def played(programs: list[list[tuple[Any, ...]]]) -> Play:
    """A schedule of these actors; it ends in what each has seen, and in what is left."""

    async def play(conductor: Conductor) -> object:
        world = World(conductor)
        await run_concurrently(conductor, {f"a{n}": world.act(n, program) for n, program in enumerate(programs)})
        seen = tuple(tuple(world.seen[n]) for n in range(len(programs)))
        left = tuple(world.values.values()), tuple(world.board.notes.values()), tuple(world.mailbox.messages)
        return seen, left

    return play
