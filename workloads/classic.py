"""The classic models: small programs from the literature on testing concurrent code (in the shapes of SCTBench), to
judge strategies by. Each has one defect, which some orders of its operations show."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from typing_extensions import override

from ksmactors.model import Int, Model, Mutex, Table, Variable

Part = Coroutine[Any, Any, None]


def _crowd(**parts: list[Part]) -> dict[str, Part]:
    """Parts by name: those of one kind are numbered from 1, unless there is only one."""
    return {
        f"{kind}/{number}" if len(some) > 1 else kind: part
        for kind, some in parts.items()
        for number, part in enumerate(some, 1)
    }


class Lost(Model):
    """Two workers count without a lock: one count is lost if both read before either writes."""

    name = "classic.lost"
    own_tasks = False
    workers = Int(2, "workers that count once", low=2, high=1000)

    @override
    async def run(self, table: Table) -> None:
        v = table.variable("v", 0)

        async def worker() -> None:
            await v.write(await v.read() + 1)

        await table.concurrent(_crowd(worker=[worker() for _ in range(self.workers)]))
        table.check(v.value == self.workers, "lost_update", f"{self.workers} workers counted to {v.value}")


class Abba(Model):
    """Two actors take two locks in opposite orders: a deadlock if each gets its first."""

    name = "classic.abba"
    own_tasks = False

    @override
    async def run(self, table: Table) -> None:
        a, b = table.mutex("A"), table.mutex("B")

        async def take(first: Mutex, second: Mutex) -> None:
            await first.lock()
            await second.lock()
            await second.unlock()
            await first.unlock()

        await table.concurrent({"ab": take(a, b), "ba": take(b, a)})


class Starve(Model):
    """One actor must take all its steps before the other takes its only one."""

    name = "classic.starve_20"
    own_tasks = False
    steps = Int(20, "steps before the write", high=100_000)

    @override
    async def run(self, table: Table) -> None:
        x = table.variable("x", 0)

        async def writer() -> None:
            for _ in range(self.steps):
                await table.step()
            await x.write(1)

        async def reader() -> None:
            table.check(await x.read() != 1, "starved", f"the reader came after all {self.steps + 1} steps")

        await table.concurrent({"writer": writer(), "reader": reader()})


class _Reorder(Model):
    own_tasks = False
    setters = Int(2, "actors that set a, then b", low=1, high=1000)
    checkers = Int(1, "actors that look whether b went with a", low=1, high=1000)

    @override
    async def run(self, table: Table) -> None:
        a, b = table.variable("a", 0), table.variable("b", 0)

        async def setter() -> None:
            await a.write(1)
            await b.write(-1)

        async def checker() -> None:
            if await a.read() == 0 and await b.read() == 0:
                return
            if await a.read() == 1 and await b.read() == -1:
                return
            table.check(False, "reordered", f"a checker saw neither none nor both (a is {a.value}, b is {b.value})")

        setters, checkers = range(self.setters), range(self.checkers)
        await table.concurrent(_crowd(setter=[setter() for _ in setters], checker=[checker() for _ in checkers]))


class Reorder3(_Reorder):
    """Two setters write a, then b, and a checker looks at both: it may see one without the other."""

    name = "classic.reorder_3"


class Reorder10(_Reorder):
    """Nine setters and one checker, as in reorder_3."""

    name = "classic.reorder_10"
    setters = _Reorder.setters.with_default(9)


class Reorder20(_Reorder):
    """Ten setters and ten checkers, as in reorder_3."""

    name = "classic.reorder_20"
    setters = _Reorder.setters.with_default(10)
    checkers = _Reorder.checkers.with_default(10)


class _TwoStage(Model):
    own_tasks = False
    pairs = Int(1, "actors of each kind", low=1, high=1000)

    @override
    async def run(self, table: Table) -> None:
        lock_1, lock_2 = table.mutex("A"), table.mutex("B")
        d1, d2 = table.variable("d1", 0), table.variable("d2", 0)

        async def writer() -> None:
            await lock_1.lock()
            await d1.write(1)
            await lock_1.unlock()
            await lock_2.lock()
            await d2.write(d1.value + 1)
            await lock_2.unlock()

        async def reader() -> None:
            first = await _under(lock_1, d1)
            if first == 0:
                return
            second = await _under(lock_2, d2)
            table.check(second == first + 1, "half_done", f"d1 was {first}, and then d2 was {second}")

        pairs = range(self.pairs)
        await table.concurrent(_crowd(writer=[writer() for _ in pairs], reader=[reader() for _ in pairs]))


async def _under(lock: Mutex, variable: Variable[int]) -> int:
    """Read a variable under its lock."""
    await lock.lock()
    value = await variable.read()
    await lock.unlock()
    return value


class TwoStage(_TwoStage):
    """Two variables, each under its own lock, are one fact: a reader may come between the two writes."""

    name = "classic.twostage"


class TwoStage20(_TwoStage):
    """Ten writers and ten readers, as in twostage."""

    name = "classic.twostage_20"
    pairs = _TwoStage.pairs.with_default(10)


class TwoStage50(_TwoStage):
    """Twenty-five writers and as many readers, as in twostage."""

    name = "classic.twostage_50"
    pairs = _TwoStage.pairs.with_default(25)
