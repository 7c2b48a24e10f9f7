"""Observers: told of everything that is done, in the order in which it is done, and changing nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE, YIELD, Actor, Operation
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock, WaitQueue
from ksmactors.interleave.mailbox import Mailbox
from ksmactors.interleave.observer import Observer

Perform = Callable[..., Conductor]


class Watcher(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def did(self, actor: Actor, op: Operation) -> None:
        self.told.append(("did", actor.name, op[0], op[2]))

    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self.told.append(("acquired", actor.name, lock, shared, tried))

    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        self.told.append(("released", actor.name, lock, shared))

    def woke(self, actor: Actor, woken: Actor) -> None:
        self.told.append(("woke", actor.name, woken.name))

    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self.told.append(("spawned", actor.name if actor else None, child.name))

    def ended(self, actor: Actor) -> None:
        self.told.append(("ended", actor.name))

    def only(self, *calls: str) -> list[tuple[Any, ...]]:
        return [one for one in self.told if one[0] in calls]


class Diary(Observer):
    """Writes down what is touched, by whom and where."""

    def __init__(self) -> None:
        self.accesses: list[tuple[Any, ...]] = []

    def accessed(self, actor: Actor, op: Operation) -> None:
        self.accesses.append((actor.name, op[0], op[2], actor.doing, actor.place, len(actor.locks)))

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self.accesses.append((actor.name, kind, field, actor.doing, actor.place, len(actor.locks)))


async def put(conductor: Conductor, log: list[str], number: int) -> None:
    await conductor.point(WRITE, log, number)
    log.append(f"{conductor.turn.name}{number}")


async def puts(conductor: Conductor, log: list[str], count: int) -> None:
    for number in range(count):
        await put(conductor, log, number)


@pytest.mark.parametrize("strategy", ["random", "pos", "pct", "round_robin:quantum=2"])
@pytest.mark.parametrize("seed", range(5))
def test_order_of_execution(perform: Perform, strategy: str, seed: int) -> None:
    """Operations are told in the order in which they were done, none is left out, whoever moves when."""
    log: list[str] = []
    watcher = Watcher()

    async def play(conductor: Conductor) -> None:
        conductor.observe(watcher)
        for name in "abc":
            conductor.spawn(name, puts(conductor, log, 6))
        await puts(conductor, log, 6)
        await conductor.sleep(1_000_000)

    perform(play, strategy=strategy, seed=seed)

    told = [f"{name}{field}" for _, name, kind, field in watcher.only("did") if kind == WRITE]
    assert told == log
    assert len(told) == 24


@pytest.mark.parametrize("strategy", ["random", "pos", "pct"])
def test_nothing_changes(perform: Perform, strategy: str) -> None:
    """A schedule is the same with an observer and without."""

    def schedule(observe: bool) -> tuple[list[str], list[tuple[int, int]], int]:
        log: list[str] = []

        async def play(conductor: Conductor) -> None:
            if observe:
                conductor.observe(Watcher())
            mutex = Mutex(conductor, "mutex")
            for name in "abc":
                conductor.spawn(name, careful(conductor, mutex, log))

        conductor = perform(play, strategy=strategy, seed=3)
        return log, conductor.tape.turns, conductor.step

    assert schedule(True) == schedule(False)


async def careful(conductor: Conductor, mutex: Mutex, log: list[str]) -> None:
    for number in range(3):
        await mutex.lock()
        await put(conductor, log, number)
        await mutex.unlock()
        await conductor.relax()


def test_locks(perform: Perform) -> None:
    """Who gets a lock and who gives it back is told for every kind: shared or not, tried or waited for."""
    watcher = Watcher()

    async def play(conductor: Conductor) -> None:
        conductor.observe(watcher)
        mutex, spin, sem = Mutex(conductor, "mutex"), SpinLock(conductor, "spin"), RwSem(conductor, "sem")
        await mutex.lock()
        await spin.lock()
        await spin.unlock()
        await mutex.unlock()
        await sem.down_read()
        assert await sem.down_read_trylock()
        await sem.up_read()
        await sem.up_read()
        await sem.down_write()
        assert not await sem.down_read_trylock()
        await sem.up_write()
        seen = [(call, lock.name, *rest) for call, _, lock, *rest in watcher.only("acquired", "released")]
        assert seen == [
            ("acquired", "mutex", False, False), ("acquired", "spin", False, False),
            ("released", "spin", False), ("released", "mutex", False),
            ("acquired", "sem", True, False), ("acquired", "sem", True, True),
            ("released", "sem", True), ("released", "sem", True),
            ("acquired", "sem", False, False), ("released", "sem", False),
        ]  # fmt: skip

    perform(play)


def test_a_lock_that_is_waited_for(perform: Perform) -> None:
    """Two attempts are told for it, and one acquisition, after the release and the wake-up that led to it."""
    watcher = Watcher()

    async def play(conductor: Conductor) -> None:
        mutex = Mutex(conductor, "mutex")
        await mutex.lock()
        conductor.observe(watcher)
        conductor.spawn("waiter", mutex.lock())
        await conductor.relax()
        await conductor.relax()
        await mutex.unlock()
        await conductor.relax()

    perform(play)

    story = [(one[0], one[1]) for one in watcher.told if one[0] != "did" or one[2] in (ACQUIRE, RELEASE)]
    assert story == [
        ("spawned", "main"), ("did", "waiter"), ("did", "main"), ("released", "main"), ("woke", "main"),
        ("did", "waiter"), ("acquired", "waiter"), ("ended", "waiter"), ("ended", "main"),
    ]  # fmt: skip


def test_messages_and_events(perform: Perform) -> None:
    """Who wakes whom, by a message or an event, is told after what the waker did before."""
    watcher = Watcher()

    async def play(conductor: Conductor) -> None:
        conductor.observe(watcher)
        box: Mailbox[int] = Mailbox(conductor, "box")
        queue = WaitQueue(conductor, "queue")
        conductor.spawn("reader", receive(box))
        conductor.spawn("sleeper", queue.wait())
        for _ in range(4):
            await conductor.relax()
        await box.send(1)
        queue.wake_all()

    async def receive(box: Mailbox[int]) -> None:
        await box.receive()

    perform(play)

    kinds = [one for one in watcher.told if one[0] == "woke" or one[:3] == ("did", "main", WRITE)]
    assert kinds == [("did", "main", WRITE, ""), ("woke", "main", "reader"), ("woke", "main", "sleeper")]


def test_spinning_is_told(perform: Perform) -> None:
    """A relax is told as YIELD once it is over."""
    watcher = Watcher()

    async def play(conductor: Conductor) -> None:
        conductor.observe(watcher)
        await conductor.relax()
        await conductor.point(READ, watcher, "field")

    perform(play)

    assert watcher.only("did") == [("did", "main", YIELD, ""), ("did", "main", READ, "field")]


def test_who_where_and_with_what(perform: Perform) -> None:
    """An access is told with the operation, the function that called it and the locks held; helpers are passed over."""
    diary = Diary()

    async def play(conductor: Conductor) -> None:
        conductor.observe(diary)
        mutex = Mutex(conductor, "mutex")
        log: list[str] = []
        await mutex.lock()
        await _helper(conductor, log)
        await mutex.unlock()
        conductor.touch(READ, log, "length")

    async def _helper(conductor: Conductor, log: list[str]) -> None:
        await put(conductor, log, 7)

    perform(play)

    assert diary.accesses == [("main", WRITE, 7, "put", "play", 1), ("main", READ, "length", "play", "play", 0)]


class Detector(Observer):
    """Writes down what a selective observer may ask for."""

    selective = True

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def accessed(self, actor: Actor, op: Operation) -> None:
        self.heard.append((actor.name, op[0], op[2], actor.doing, actor.place, actor.step))

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if kind in (READ, WRITE):
            self.heard.append((actor.name, kind, field, actor.doing, actor.place, actor.step))
        elif kind != YIELD:
            self.heard.append((actor.name, kind, field))

    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        assert isinstance(lock, Mutex)
        self.heard.append((actor.name, lock.name, actor.place))


class Counting(Detector):
    """Counts looks, too."""

    looks = 0

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self.looks += kind == YIELD


@pytest.mark.parametrize("strategy", ["random", "pos", "round_robin:quantum=2"])
def test_a_selective_observer_hears_the_same_with_less_effort(perform: Perform, strategy: str) -> None:
    """Alone it is told nothing of looks, and all else as beside an observer that hears everything."""

    async def works(conductor: Conductor, mutex: Mutex, log: list[str]) -> None:
        await mutex.lock()
        conductor.touch(YIELD, log, "length")
        await put(conductor, log, 1)
        conductor.touch(READ, log, "length")
        conductor.touch(RELEASE, log, "length")
        await mutex.unlock()
        await put(conductor, log, 2)

    def heard(*others: Observer) -> tuple[list[tuple[Any, ...]], int]:
        detector, counting = Detector(), Counting()

        async def play(conductor: Conductor) -> None:
            for one in (detector, counting, *others):
                conductor.observe(one)
            mutex, log = Mutex(conductor, "mutex"), [""]
            for name in "abc":
                conductor.spawn(name, works(conductor, mutex, log))

        perform(play, strategy=strategy, seed=5)
        return detector.heard, counting.looks

    alone, looks = heard()
    beside, looks_beside = heard(Watcher())

    assert alone == beside
    assert len(alone) == 3 * 5
    assert (looks, looks_beside) == (0, 3)


def test_several_observers(perform: Perform) -> None:
    """Each is told everything from when it came, in the order in which they came."""
    order: list[str] = []

    class Named(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        def did(self, actor: Actor, op: Operation) -> None:
            order.append(f"{self.name}{op[2]}")

    async def play(conductor: Conductor) -> None:
        log: list[str] = []
        conductor.observe(Named("x"))
        await put(conductor, log, 0)
        conductor.observe(Named("y"))
        conductor.observe(Named("z"))
        await put(conductor, log, 1)

    perform(play)

    assert order == ["x0", "y0", "z0", "x1", "y1", "z1"]


def test_an_observer_may_convict(perform: Perform) -> None:
    """A finding of an observer ends the schedule at once, whatever the actor catches and does after it."""

    class Judge(Observer):
        count = 0

        def did(self, actor: Actor, op: Operation) -> None:
            self.count += 1
            if self.count == 2:
                raise Finding("judge", "second", "put", "the second one is one too many")

    judge = Judge()

    async def play(conductor: Conductor) -> None:
        conductor.observe(judge)
        with suppress(Finding):
            await puts(conductor, [], 5)
        await put(conductor, [], 9)

    with pytest.raises(Finding, match="one too many"):
        perform(play)
    assert judge.count == 2


def test_a_conductor_has_a_dictionary_only_while_it_is_observed(perform: Perform) -> None:
    """CPython from 3.12 on calls methods slowly if an object has slots and something in its dictionary."""
    seen: list[list[str]] = []

    async def play(conductor: Conductor) -> None:
        seen.append(sorted(vars(conductor)))
        conductor.observe(Watcher())
        await conductor.point(WRITE, seen)
        seen.append(sorted(vars(conductor)))

    over = perform(play)
    assert seen == [[], ["point", "touch"]]
    assert vars(over) == {}
