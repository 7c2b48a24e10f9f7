"""Actors that a schedule ends before they begin: nothing that they were to run is left behind, never awaited."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from ksmactors.actors.process import Process
from ksmactors.errors import KsmActorsError
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.conductor import Conductor, ScheduleOver
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.workload import Host
from tests.helpers.directed import Stage
from tests.helpers.directed import perform as direct

Perform = Callable[..., Host]


class Enough(KsmActorsError):
    """What ends a schedule."""


class Kept(Strategy):
    """Whoever has the turn keeps it for as long as it can."""

    name = "kept"
    summary = "keeps the turn"

    def choose(self, ready: Any, current: Any) -> Any:
        return current if current is not None else ready[0]


def silent(run: Callable[[], object]) -> None:
    """Have `run` end by `Enough`, and fail if Python warns of a coroutine that was never awaited."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(Enough):
            run()
        gc.collect()
    assert [str(one.message) for one in warned] == []


def test_a_device(perform: Perform) -> None:
    """A page is pinned, and the schedule ends before the device moves."""

    async def play(host: Host) -> None:
        process = host.process("A", node=0)
        region = await process.map(1)
        await process.write(region, 0, 7)
        await process.pin(region, 0, write=True)
        raise Enough

    silent(lambda: perform(play, strategy=Kept()))


def test_killers_and_freezers(perform: Perform) -> None:
    """The same for those who kill and freeze."""

    async def play(host: Host) -> None:
        process: Process = host.process("A", node=0)
        kthreads = process.kthreads
        kthreads.spawn("killer/1", kthreads.nemesis.kill, "A", process.kill)
        kthreads.spawn("freezer/1", kthreads.nemesis.freeze)
        raise Enough

    silent(lambda: perform(play, strategy=Kept()))


def test_a_thread(perform: Perform) -> None:
    """A thread's body is not called before the thread moves."""

    async def body(process: Process) -> None:
        raise AssertionError("it never moves")

    async def play(host: Host) -> None:
        host.process("A", node=0).spawn(body)
        raise Enough

    silent(lambda: perform(play, strategy=Kept()))


async def part(conductor: Conductor) -> None:
    """A part of a meeting that has something to do."""
    await conductor.relax()


async def ends_it(conductor: Conductor) -> None:
    """A part that ends the schedule."""
    raise Enough


def conducted(play: Callable[[Conductor], Coroutine[Any, Any, None]]) -> None:
    """One schedule, of bare actors."""
    chooser = parse("round_robin")
    chooser.begin(strategy_rng(0))
    conductor = Conductor(chooser, Tape(0))
    trio.run(conductor.run, "main", lambda: play(conductor))


def test_a_meeting() -> None:
    """One part ends the schedule before the others begin."""

    async def play(conductor: Conductor) -> None:
        await run_concurrently(conductor, {"a": ends_it(conductor), "b": part(conductor), "c": part(conductor)})

    silent(lambda: conducted(play))


def test_a_meeting_after_the_end() -> None:
    """An actor that goes on after the schedule has ended calls for a meeting: none of its parts is left behind."""

    async def play(conductor: Conductor) -> None:
        conductor.spawn("other", ends_it(conductor))
        try:
            await conductor.relax()
        finally:
            with pytest.raises(ScheduleOver):
                await run_concurrently(conductor, {"b": part(conductor), "c": part(conductor)})

    silent(lambda: conducted(play))


def test_a_puppet_that_never_moves() -> None:
    """The same in a schedule that a test directs."""

    async def play(s: Stage) -> None:
        s.start("puppet", part(s.conductor))
        raise Enough

    silent(lambda: direct(play))
