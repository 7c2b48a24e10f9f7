"""Task pools: tasks that run one part after another."""

from __future__ import annotations

import pytest
import trio

from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.interleave.task_pool import TaskPool, open_task_pool


def conductor(seed: int = 0) -> Conductor:
    """Who moves at random."""
    strategy = parse("random")
    strategy.begin(strategy_rng(seed))
    return Conductor(strategy, Tape(seed))


async def crowd(one: Conductor, tasks: set[trio.lowlevel.Task], *, failing: bool = False) -> None:
    """Spawn two actors and a daemon that say which tasks play them, and end first."""

    async def actor(crash: bool) -> None:
        tasks.add(trio.lowlevel.current_task())
        for _ in range(3):
            await one.relax()
        if crash:
            raise ZeroDivisionError("boom")

    async def daemon() -> None:
        tasks.add(trio.lowlevel.current_task())
        while True:
            await one.sleep(1)

    one.spawn("a", actor(failing))
    one.spawn("b", actor(False))
    one.spawn("c", daemon(), daemon=True)


def test_tasks_are_used_again() -> None:
    """Many schedules, some of which fail, need no more tasks than two of them have actors."""
    tasks: set[trio.lowlevel.Task] = set()

    async def main() -> None:
        async with open_task_pool() as task_pool:
            for seed in range(30):
                one = conductor(seed)
                try:
                    await one.run(
                        "main", lambda one=one, seed=seed: crowd(one, tasks, failing=seed % 3 == 0), task_pool
                    )  # type: ignore[misc]
                except ZeroDivisionError:
                    assert seed % 3 == 0

    trio.run(main)

    assert 3 <= len(tasks) <= 6


def test_a_schedule_is_the_same_whoever_plays() -> None:
    """A troupe that has played before makes no difference to the turns."""

    async def main() -> list[list[tuple[int, int]]]:
        turns = []
        async with open_task_pool() as task_pool:
            for seed, players in ((1, task_pool), (7, task_pool), (7, None)):
                one = conductor(seed)
                await one.run("main", lambda one=one: crowd(one, set()), players)  # type: ignore[misc]
                turns.append(one.tape.turns)
        return turns

    first, second, alone = trio.run(main)

    assert first != second
    assert second == alone


def test_what_the_block_raises() -> None:
    """An exception comes out of the block as it is, not in a group, and no task is left behind."""

    one = conductor()

    async def main() -> None:
        async with open_task_pool() as task_pool:
            await one.run("main", lambda: crowd(one, set()), task_pool)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        trio.run(main)


def test_a_part_is_played_once_and_soon() -> None:
    """Parts are begun in the order in which they were given, each by a task of its own."""
    played: list[str] = []

    async def main() -> None:
        async with open_task_pool() as task_pool:
            for name in "abc":
                _give(task_pool, played, name)
                await trio.testing.wait_all_tasks_blocked()
            assert played == ["a", "b", "c"]

    trio.run(main)


def _give(task_pool: TaskPool, played: list[str], name: str) -> None:
    async def part() -> None:
        played.append(name)

    task_pool.submit(part)


def test_an_interrupt_in_a_task_is_one_of_the_block() -> None:
    """Ctrl-C in a task, while the block waits, comes out as KeyboardInterrupt, not as the cancellation of the block."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def block() -> None:
        async with open_task_pool() as pool:
            pool.submit(interrupted)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(block)
