"""The part of trio's API under schedules: what it convicts and acquits, and what trio's documentation promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio as real

import ksmactors
from ksmactors.campaign.summary import Summary
from ksmactors.model import Model, Table, trio

Body = Callable[[], Awaitable[object]]


def explored(body: Body) -> Summary:
    """All orders of an async function."""

    class Explored(Model):
        """the function"""

        async def run(self, table: Table) -> None:
            await body()

    return ksmactors.explore(Explored)


def kinds_of(body: Body) -> tuple[str, list[str]]:
    """The verdict of an exploration, and the kinds of what it finds; a crash with its message."""
    tally = explored(body)
    crashes = [tally.crash.defect.message] if tally.crash is not None else []
    return tally.verdict, [found.defect.kind for found in tally.found.values()] + crashes


class Queue:
    """A bounded queue with one condition for both sides. `wake` is `notify` or `notify_all`."""

    def __init__(self, wake: str) -> None:
        self.items: list[int] = []
        self.changed = trio.Condition()
        self.wake: Callable[[], None] = getattr(self.changed, wake)

    async def put(self) -> None:
        async with self.changed:
            while self.items:
                await self.changed.wait()
            self.items.append(1)
            self.wake()

    async def get(self) -> None:
        async with self.changed:
            while not self.items:
                await self.changed.wait()
            self.items.pop()
            self.wake()


@pytest.mark.parametrize(("wake", "found"), [("notify", ["deadlock"]), ("notify_all", [])])
def test_a_lost_wake_up(wake: str, found: list[str]) -> None:
    """`notify` may wake one of the wrong side: two producers and two consumers deadlock. `notify_all` never does."""

    async def body() -> None:
        queue = Queue(wake)
        async with trio.open_nursery() as nursery:
            for side in (queue.put, queue.get) * 2:
                nursery.start_soon(side)

    verdict, kinds = kinds_of(body)
    assert kinds == found
    assert verdict == ("finding" if found else "exhausted")


@pytest.mark.parametrize(("crossed", "found"), [(True, ["deadlock"]), (False, [])])
def test_two_locks(crossed: bool, found: list[str]) -> None:
    """Taken in two orders they deadlock in some schedule; in one order, in none."""

    async def both(first: Any, second: Any) -> None:
        async with first, second:
            pass

    async def body() -> None:
        one = trio.Lock()
        other = trio.Lock()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both, one, other)
            nursery.start_soon(both, *((other, one) if crossed else (one, other)))

    assert kinds_of(body)[1] == found


def test_a_deadlock_names_what_its_tasks_wait_for() -> None:
    """Tasks are named after functions, locks after the variables that they are assigned to, and owners are said."""

    async def body() -> None:
        left = trio.Lock()
        right = trio.Lock()

        async def takes(first: Any, second: Any) -> None:
            async with first, second:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(takes, left, right)
            nursery.start_soon(takes, right, left)

    (found,) = explored(body).found.values()
    assert sorted(found.defect.message.removeprefix("no actor can run: ").split("; ")) == [
        "takes waits for right held by takes/2",
        "takes/2 waits for left held by takes",
    ]


@pytest.mark.parametrize(("shield", "found"), [(False, ["AssertionError"]), (True, [])])
def test_cancelled_in_the_middle(shield: bool, found: list[str]) -> None:
    """A task that is cancelled between two changes leaves half of them; a shield keeps them together."""

    async def body() -> None:
        money = [10, 0]

        async def transfer() -> None:
            with trio.CancelScope(shield=shield):
                money[0] -= 5
                await trio.lowlevel.checkpoint()
                money[1] += 5

        async with trio.open_nursery() as nursery:
            nursery.start_soon(transfer)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert sum(money) == 10

    tally = explored(body)
    crashed = tally.crash is not None and "AssertionError" in tally.crash.defect.message
    assert crashed == bool(found)
    assert tally.verdict == ("inconclusive" if found else "exhausted")


def test_a_check_and_the_wait_after_it_are_one_step() -> None:
    """No task runs between a condition and the wait that follows it without a checkpoint, as in trio: code that relies
    on this is acquitted."""

    async def body() -> None:
        ready: list[int] = []
        event = trio.Event()

        async def waits() -> None:
            if not ready:
                await event.wait()
            assert ready

        async def makes() -> None:
            ready.append(1)
            event.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            nursery.start_soon(makes)

    assert kinds_of(body) == ("exhausted", [])


def test_an_acquire_that_does_not_wait_passes_a_checkpoint() -> None:
    """Others may run between an acquire and what follows it: trio has a checkpoint there."""

    async def body() -> None:
        seen: list[str] = []
        lock = trio.Lock()

        async def takes() -> None:
            async with lock:
                seen.append("taken")

        async def other() -> None:
            assert not (lock.locked() and not seen), "between"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(takes)
            nursery.start_soon(other)

    assert "between" in kinds_of(body)[1][0]


def test_what_a_nursery_raises() -> None:
    """A child that fails cancels the others; what is raised comes in a group, without the cancelled."""
    seen = set()

    async def body() -> None:
        async def fails() -> None:
            await trio.lowlevel.checkpoint()
            raise KeyError("no")

        async def waits() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                seen.add("cancelled")
                raise

        async def both() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                nursery.start_soon(fails)

        with pytest.raises(BaseExceptionGroup) as raised:
            await both()
        assert [type(error) for error in raised.value.exceptions] == [KeyError]

    assert kinds_of(body) == ("exhausted", [])
    assert seen == {"cancelled"}


def test_start_waits_for_started() -> None:
    """`start` returns what the child passes to `started`, raises what it raises before, and the child goes on."""

    async def body() -> None:
        done: list[int] = []

        async def serves(*, task_status: Any) -> None:
            await trio.lowlevel.checkpoint()
            task_status.started(7)
            await trio.lowlevel.checkpoint()
            done.append(1)

        async def fails(*, task_status: Any) -> None:
            raise KeyError("early")

        async def ends(*, task_status: Any) -> None: ...

        async with trio.open_nursery() as nursery:
            assert await nursery.start(serves) == 7
            with pytest.raises(KeyError, match="early"):
                await nursery.start(fails)
            with pytest.raises(RuntimeError, match="without calling"):
                await nursery.start(ends)
        assert done == [1]

    assert kinds_of(body) == ("exhausted", [])


def test_timeouts() -> None:
    """Time is virtual, and jumps when all wait: a timeout that is longer than the sleep in it never fires."""

    async def body() -> None:
        begun = trio.current_time()
        with trio.move_on_after(10) as slow:
            await trio.sleep(3600)
        assert slow.cancelled_caught
        assert 10 <= trio.current_time() - begun < 10.1
        with trio.fail_after(10):
            await trio.sleep(1)
        with pytest.raises(real.TooSlowError), trio.fail_after(1):
            await trio.Event().wait()
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        assert scope.cancelled_caught

    assert kinds_of(body)[1] == []


def test_a_lock_whose_owner_has_ended() -> None:
    """A waiter gets BrokenResourceError, as in trio."""

    async def body() -> None:
        lock = trio.Lock()

        async def leaves() -> None:
            await lock.acquire()

        async def waits() -> None:
            await trio.sleep(1)
            with pytest.raises(real.BrokenResourceError):
                await lock.acquire()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leaves)
            nursery.start_soon(waits)

    assert kinds_of(body)[1] == []


WRONG: list[tuple[Callable[[], Any], type[Exception]]] = [
    (lambda: trio.Lock().release(), RuntimeError),
    (lambda: trio.Condition().notify(), RuntimeError),
    (lambda: trio.Semaphore(-1), ValueError),
    (lambda: trio.Semaphore(2, max_value=1), ValueError),
    (lambda: trio.Semaphore(1, max_value=1).release(), ValueError),
    (lambda: trio.CapacityLimiter(1.5), TypeError),
    (lambda: trio.CapacityLimiter(1).release(), RuntimeError),
    (lambda: trio.open_memory_channel(-1), ValueError),
    (lambda: trio.open_memory_channel(0)[0].send_nowait(1), real.WouldBlock),
    (lambda: trio.open_memory_channel(0)[1].receive_nowait(), real.WouldBlock),
    (lambda: bool(trio.Event()), NotImplementedError),
    (lambda: trio.move_on_after(-1), ValueError),
    (lambda: trio.move_on_at(float("nan")), ValueError),
]
"""Wrong uses, and what trio raises for them."""


def test_wrong_uses() -> None:
    """A wrong use raises what trio raises for it."""

    async def body() -> None:
        for wrong, expected in WRONG:
            with pytest.raises(expected):
                wrong()

    assert kinds_of(body) == ("exhausted", [])


def test_what_is_not_there() -> None:
    """A name of trio's that has no meaning under a schedule is refused with those that there are."""
    with pytest.raises(AttributeError, match=r"has no 'open_file'.*open_nursery"):
        trio.open_file  # noqa: B018  # the look-up itself


def test_outside_of_a_schedule() -> None:
    """Objects can be made anywhere; operations need a schedule, and say so."""
    event = trio.Event()
    event.set()
    with pytest.raises(RuntimeError, match="needs a schedule under way"):
        trio.current_time()
