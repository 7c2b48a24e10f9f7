"""The operations of interleavings on the emulator: hold, bg, release, disarm, signal, settle."""

from __future__ import annotations

from abc import abstractmethod

from typing_extensions import override

from ksmactors.conformance.background import KSMD, Task, Tasks
from ksmactors.conformance.ksmd_stepper import Stepper
from ksmactors.conformance.language import Operation
from ksmactors.conformance.memory import MemoryOperations
from ksmactors.conformance.places import place_named
from ksmactors.conformance.transcript import WHOLE_SCAN, Batch, ScenarioEnded, unmet_line


class Interleaved(MemoryOperations):
    """Operations on background tasks."""

    tasks: Tasks
    ksmd: Stepper
    draining = True
    """Whether the pages in batches are put where they belong before what may show that they are not."""
    _scans_left = 0
    """Batches of `bg scan` that have not started."""

    @abstractmethod
    async def operation(self, operation: Operation) -> list[str]:
        """Do only the operation itself; return its result lines."""

    async def rest(self) -> None:
        """Let all actors run until none can without the next operation."""
        if self.tasks.active:
            await self.tasks.settle()
        else:
            await self.ksmd.rest()

    async def drain(self) -> None:
        """Empty the batches of all CPUs, unless the scenario wants them as they are."""
        if self.draining:
            await self.kernel.lru_add_drain_all()

    @override
    async def batch(self, pages: int) -> Batch:
        await self.drain()
        batch = await self.ksmd.batch(pages, self.rest)
        if not self.ksmd.resting:
            raise self.refused(self.current, f"ksmd {self.tasks.plight(self.ksmd.ksmd)}; start it with: bg step")
        return batch

    async def _do_hold(self, operation: Operation) -> list[str]:
        place, caller = operation.word, operation.value
        for name in (place, *([caller] if caller else [])):
            if not place_named(name).on(self.kernel):
                self.lines.append(f"= skip: no function {name} here")
                raise ScenarioEnded
        task = operation.task
        running = self.tasks.running.get(task)
        self.tasks.hold(
            task, place, after="after" in operation.flags, times=operation.number, caller=caller,
            actor=self.ksmd.ksmd if task == KSMD else None if running is None else running.actor,
        )  # fmt: skip
        return ["ok"]

    async def _do_bg(self, operation: Operation) -> list[str]:
        inner, task = operation.done, operation.task
        if inner.process:
            self._process(inner)
        if task == KSMD:
            await self._begin_batches(inner)
        else:
            self.tasks.start(task, lambda: self.operation(inner))
        return await self._settled()

    async def _begin_batches(self, operation: Operation) -> None:
        """`bg step N`; or `bg scan N`: N batches, each to the end of its scan."""
        whole = operation.name == "scan"
        begun = await self.ksmd.begin(WHOLE_SCAN if whole else operation.number)
        self._scans_left = operation.number - 1 if whole else 0

        async def finish() -> str:
            done = await self.ksmd.end(begun)
            return (f"scanned={done.scanned}" if self.counts_scanned() else "") + " idle" * done.idle

        self.tasks.add(KSMD, Task(self.ksmd.ksmd, lambda: self.ksmd.resting, finish))

    async def _do_release(self, operation: Operation) -> list[str]:
        if not self.tasks.release(operation.task):
            return ["error not held"]
        return await self._settled()

    @override
    def finish(self) -> None:
        if unmet := self.tasks.unmet:
            self.lines.append(unmet_line(unmet))

    async def _do_disarm(self, operation: Operation) -> list[str]:
        self.tasks.holding.disarm(operation.task)
        return ["ok"]

    async def _do_signal(self, operation: Operation) -> list[str]:
        self.tasks.signal(operation.task)
        return ["ok", *await self._settled()]

    async def _do_settle(self, operation: Operation) -> list[str]:
        return await self._settled()

    async def _settled(self) -> list[str]:
        await self.tasks.settle()
        while self._scans_left and self.ksmd.resting:
            self._scans_left -= 1
            await self.ksmd.begin(WHOLE_SCAN)
            await self.tasks.settle()
        self.lines += self.tasks.taken_log()
        return await self.tasks.news()
