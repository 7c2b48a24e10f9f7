"""Livelock and starvation are told from a schedule that is just too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from ksmactors.errors import Finding, StepLimit
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex, WaitQueue
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.watch import progress
from tests.helpers import broken, plays
from tests.helpers.directed import Stage, perform

ENOUGH = 500
MAX_STEPS = 2 * ENOUGH


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STEPS_MIN", ENOUGH)


class Unfair(Strategy):
    """Chooses the actor called "victim" only if nobody else is ready."""

    name: ClassVar[str] = "unfair"
    summary: ClassVar[str] = "starves somebody"

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return next((actor for actor in ready if actor.name != "victim"), ready[0])


async def busy(s: Stage) -> None:
    """Two actors write for ever, each to its own page; a third one would like to write once."""
    procs = [await s.process(name, 1) for name in "AB"]

    async def write(number: int) -> None:
        token = 2
        while True:
            await s.write(procs[number], 0, token)
            await s.kernel.madvise(procs[number].mm, procs[number].start, 4096, 12)
            token += 1

    async def once() -> None:
        await s.write(procs[0], 0, 1)

    s.conductor.spawn("victim", once())
    for number in (0, 1):
        s.conductor.spawn(f"writer/{number}", write(number))
    await s.conductor.sleep(10**12)


def test_starvation() -> None:
    """An actor that was ready at every choice of half a schedule and never chosen is starved, and named; the one that
    has the turn is in a function of its own."""
    conductors: list[Conductor] = []

    async def play(s: Stage) -> None:
        conductors.append(s.conductor)
        await busy(s)

    with pytest.raises(Finding) as found:
        perform(play, strategy=Unfair(), watchers=("progress",), max_steps=MAX_STEPS)
    assert found.value.signature == "progress/starvation@once"
    assert found.value.message.startswith("victim ")
    (conductor,) = conductors
    assert conductor.turn.name.startswith("writer/")
    assert conductor.places[conductor.turn.number] == "user_write"


def test_too_long() -> None:
    """A schedule in which things are done and everybody has turns, but that does not end, is inconclusive."""

    class Fair(Unfair):
        def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
            return ready[self.stage.step % len(ready)]

    with pytest.raises(StepLimit):
        perform(busy, strategy=Fair(), watchers=("progress",), max_steps=MAX_STEPS)


def test_scans_without_effect() -> None:
    """Full scans over and over that change nothing are no progress."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 1)
        while True:
            await s.scan()

    with pytest.raises(Finding) as found:
        perform(play, watchers=("progress",), max_steps=MAX_STEPS * 2)
    assert found.value.signature.startswith("progress/livelock@")


def test_a_few_steps_prove_nothing() -> None:
    """With a budget of fewer steps than a livelock must last, a spinning kernel is inconclusive."""
    with pytest.raises(StepLimit):
        perform(plays.twins, layer=broken.SpinsForEver, watchers=("progress",), max_steps=ENOUGH)


def test_hung_tasks_beside_a_daemon() -> None:
    """Actors wait for a wake-up that does not come, and one goes on for ever: a finding about those that wait, and not
    inconclusive."""
    conductors: list[Conductor] = []

    async def play(s: Stage) -> None:
        conductors.append(s.conductor)
        queue = WaitQueue(s.conductor, "a wake-up")

        async def wait() -> None:
            await queue.wait()

        async def go_on() -> None:
            proc = await s.process("A", 1)
            while True:
                await s.kernel.madvise(proc.mm, proc.start, 4096, 12)

        s.conductor.spawn("waiter", wait())
        s.conductor.spawn("daemon", go_on(), daemon=True)
        await queue.wait()

    with pytest.raises(Finding) as found:
        perform(play, watchers=("progress",), max_steps=MAX_STEPS)
    assert found.value.kind == "hung_task"
    assert "waiter waits for a wake-up" in found.value.message
    assert "daemon" not in found.value.message
    assert [actor.name for actor in conductors[0].stuck] == ["test", "waiter"]


def test_a_wait_for_a_daemon_without_work_hangs() -> None:
    """An actor hangs that waits for a daemon which gets no work; another daemon goes on for ever."""

    async def play(s: Stage) -> None:
        queue = WaitQueue(s.conductor, "the end of offlining")
        work = WaitQueue(s.conductor, "work", idle=True)

        async def take() -> None:
            queue.waker = s.conductor.turn
            await work.wait()

        async def go_on() -> None:
            proc = await s.process("A", 1)
            while True:
                await s.kernel.madvise(proc.mm, proc.start, 4096, 12)

        s.conductor.spawn("hotplug", take(), daemon=True)
        s.conductor.spawn("daemon", go_on(), daemon=True)
        await s.conductor.sleep(50_000)
        await queue.wait()

    with pytest.raises(Finding, match="test waits for the end of offlining") as found:
        perform(play, watchers=("progress",), max_steps=MAX_STEPS)
    assert found.value.kind == "hung_task"


def test_a_wait_for_one_that_goes_on_is_no_hung_task() -> None:
    """An actor that waits for a lock whose holder is busy does not hang."""

    async def play(s: Stage) -> None:
        lock = Mutex(s.conductor, "a lock")

        async def hold() -> None:
            await lock.lock()
            proc = await s.process("A", 1)
            while True:
                await s.kernel.madvise(proc.mm, proc.start, 4096, 12)

        s.conductor.spawn("holder", hold())
        await s.conductor.sleep(50_000)
        await lock.lock()

    with pytest.raises(StepLimit):
        perform(play, watchers=("progress",), max_steps=MAX_STEPS)
