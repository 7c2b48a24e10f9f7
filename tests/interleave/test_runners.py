"""Runners: a schedule is the same whether each actor has a trio task of its own or one task runs all of them."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial

import pytest
import trio
import trio.testing

from ksmactors.errors import Finding, ForeignAwait
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex, WaitQueue
from ksmactors.interleave.runners import HAND_OVERS_PER_TRIP
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.interleave.task_pool import open_task_pool
from tests.interleave.conftest import Play

Run = Callable[[Play], Awaitable[Conductor]]


@pytest.fixture(params=[True, False], ids=["own tasks", "one task"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a schedule, to be awaited in trio; gives its conductor, and raises what it raises."""

    async def run_it(play: Play, seed: int = 0, strategy: str = "round_robin") -> Conductor:
        chooser = parse(strategy)
        chooser.begin(strategy_rng(seed))
        conductor = Conductor(chooser, Tape(seed))
        await conductor.run("main", lambda: play(conductor), own_tasks=request.param)
        return conductor

    return run_it


async def relax(conductor: Conductor, closed: list[str], name: str) -> None:
    """Hand the turn over for ever."""
    try:
        while True:
            await conductor.relax()
    finally:
        closed.append(name)


def test_the_turns_are_the_same() -> None:
    """Locks, sleeps and spawns give the same turns and draws, whatever runs the actors."""

    async def worker(conductor: Conductor, lock: Mutex, depth: int) -> None:
        await lock.lock()
        await conductor.sleep(1 + conductor.draw("nap", 5))
        await lock.unlock()
        if depth:
            for child in range(2):
                conductor.spawn(f"w{depth}{child}", worker(conductor, lock, depth - 1))
        await conductor.relax()

    async def one(seed: int, own_tasks: bool) -> tuple[object, ...]:
        chooser = parse("random")
        chooser.begin(strategy_rng(seed))
        conductor = Conductor(chooser, Tape(seed))
        lock = Mutex(conductor, "lock")
        await conductor.run("main", lambda: worker(conductor, lock, 3), own_tasks=own_tasks)
        return conductor.tape.turns, conductor.tape.draws, conductor.step, conductor.now

    for seed in range(20):
        expected, got = (trio.run(one, seed, own_tasks) for own_tasks in (True, False))
        assert expected == got


def test_a_cancelled_schedule_ends(run: Run) -> None:
    """A scope that an actor cancels ends the schedule and closes its actors, and trio stays usable."""
    closed: list[str] = []

    async def main() -> str:
        async def play(conductor: Conductor) -> None:
            conductor.spawn("other", relax(conductor, closed, "other"))
            await conductor.relax()
            scope.cancel()
            await relax(conductor, closed, "main")

        with trio.CancelScope() as scope:
            await run(play)
            pytest.fail("it was not cancelled")
        await trio.lowlevel.checkpoint()
        return "alive"

    assert trio.run(main) == "alive"
    assert closed == ["main", "other"]


def test_a_deadline_ends_a_schedule(run: Run) -> None:
    """A deadline that passes while an actor runs ends the schedule at the next hand-over."""
    clock = trio.testing.MockClock()
    closed: list[str] = []

    async def main() -> int:
        async def play(conductor: Conductor) -> None:
            made.append(conductor)
            conductor.spawn("other", relax(conductor, closed, "other"))
            clock.jump(2)
            await relax(conductor, closed, "main")

        made: list[Conductor] = []
        with trio.move_on_after(1) as scope:
            await run(play)
        assert scope.cancelled_caught
        return made[0].step

    assert trio.run(main, clock=clock) <= 2
    assert closed == ["main"]  # the other had not begun


def test_a_deadline_that_is_set_after_the_pool_was_opened() -> None:
    """It ends a schedule at the next trip through trio, which makes the pool take note of it."""
    clock = trio.testing.MockClock()
    closed: list[str] = []

    async def main() -> int:
        async def play(conductor: Conductor) -> None:
            conductor.spawn("other", relax(conductor, closed, "other"))
            clock.jump(2)
            await relax(conductor, closed, "main")

        chooser = parse("round_robin")
        chooser.begin(strategy_rng(0))
        conductor = Conductor(chooser, Tape(0))
        async with open_task_pool() as pool:
            with trio.move_on_after(1) as scope:
                await conductor.run("main", lambda: play(conductor), pool, own_tasks=False)
            assert scope.cancelled_caught
        return conductor.step

    assert trio.run(main, clock=clock) <= HAND_OVERS_PER_TRIP
    assert closed == ["main", "other"]


def test_a_schedule_that_ends_in_time_is_not_cancelled(run: Run) -> None:
    """A cancellation by the last operation of a schedule changes nothing about its end."""

    async def main() -> None:
        async def play(conductor: Conductor) -> None:
            await conductor.relax()
            scope.cancel()

        with trio.CancelScope() as scope:
            conductor = await run(play)
            assert conductor.over
            assert conductor.failure is None

    trio.run(main)


def test_another_task_can_cancel_it(run: Run) -> None:
    """Other tasks of trio get to run while a schedule does, and one of them can end it."""
    closed: list[str] = []

    async def main() -> None:
        async def play(conductor: Conductor) -> None:
            conductor.spawn("other", relax(conductor, closed, "other"))
            await relax(conductor, closed, "main")

        async def cancel() -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            nursery.start_soon(run, play)

    trio.run(main)
    assert closed == ["main", "other"]


@pytest.mark.parametrize("after", [0, 1, HAND_OVERS_PER_TRIP])
def test_ctrl_c_is_raised_in_the_running_actor(run: Run, after: int) -> None:
    """Ctrl-C comes out of the schedule, which is over, through the actor that runs; the others are closed."""
    closed: list[str] = []
    seen: list[str] = []

    async def interrupted(conductor: Conductor) -> None:
        for _ in range(after):
            await conductor.relax()
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            seen.append("here")
            raise

    async def main() -> None:
        async def play(conductor: Conductor) -> None:
            made.append(conductor)
            conductor.spawn("interrupted", interrupted(conductor))
            await relax(conductor, closed, "main")

        made: list[Conductor] = []
        with pytest.raises(KeyboardInterrupt):
            await run(play)
        assert made[0].over
        await trio.lowlevel.checkpoint()

    trio.run(main)
    assert (seen, closed) == (["here"], ["main"])


def test_ctrl_c_in_between_ends_it(run: Run) -> None:
    """Ctrl-C that arrives where trio holds it back ends the schedule all the same."""
    closed: list[str] = []

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async def play(conductor: Conductor) -> None:
            conductor.spawn("other", relax(conductor, closed, "other"))
            await conductor.relax()
            interrupt()
            await relax(conductor, closed, "main")

        await run(play)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert closed == ["main", "other"]


def test_a_foreign_await_is_refused(run: Run) -> None:
    """An actor that awaits trio is told so, with the call and its function, whatever runs it."""

    async def naps() -> None:
        await trio.sleep(0.01)

    async def play(conductor: Conductor) -> None:
        conductor.spawn("sleeper", naps())
        await conductor.relax()
        await conductor.relax()

    with pytest.raises(ForeignAwait, match=r"sleeper awaits sleep in .*naps"):
        trio.run(run, play)


def test_a_deadlock_is_found(run: Run) -> None:
    """Actors that wait for nothing are a deadlock that names their functions."""

    async def waits(conductor: Conductor) -> None:
        await WaitQueue(conductor, "nothing").wait()

    async def play(conductor: Conductor) -> None:
        conductor.spawn("other", waits(conductor))
        await waits(conductor)

    with pytest.raises(Finding, match="deadlock") as caught:
        trio.run(run, play)
    assert caught.value.where == "waits"


def test_context_variables_are_an_actors_own(run: Run) -> None:
    """An actor does not see what others set after it was spawned."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: dict[str, str] = {}

    async def actor(conductor: Conductor, name: str) -> None:
        variable.set(name)
        await conductor.relax()
        seen[name] = variable.get()

    async def play(conductor: Conductor) -> None:
        variable.set("main")
        for name in "ab":
            conductor.spawn(name, actor(conductor, name))
        await conductor.relax()
        await conductor.relax()
        assert variable.get() == "main"

    trio.run(partial(run, play))
    assert seen == {"a": "a", "b": "b"}
