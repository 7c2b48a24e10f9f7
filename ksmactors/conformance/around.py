"""A scenario with holds as a directed schedule that is stressed around: the same holds, everything else drawn.

Tasks stop where the scenario holds them. Whatever is not held runs when the strategy says so: tasks in the background
go on while later lines of the scenario are performed. Results are not compared; watchers look, and checks must read
what was written.
"""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.conformance.background import everybody
from ksmactors.conformance.emulator_driver import EmulatorDriver
from ksmactors.conformance.language import Operation
from ksmactors.conformance.transcript import WHOLE_SCAN, Batch
from ksmactors.interleave.actor import Actor
from ksmactors.machine import Machine
from ksmactors.program import SETTLING_SCANS

LOOKING: Final = frozenset({"counters", "frames", "trees", "shared", "procstat", "where", "get", "ktrace"})
"""Operations that only look; what they would say depends on what was drawn."""


class AroundDriver(EmulatorDriver):
    """Performs a scenario without waiting for what is not held. Afterwards the watchers are asked for their verdict."""

    machine: Machine

    @override
    async def run(self) -> None:
        self.tasks.awaited = self._is_awaited
        await super().run()
        await self._end_tasks()
        await self._settle_ksm()
        for watcher in self.machine.watchers:
            watcher.at_quiescence()
        await self._shut_down()
        for watcher in self.machine.watchers:
            watcher.at_exit()

    @override
    async def _settled(self) -> list[str]:
        """Half of the time wait for everybody, as the scenario has it; else only for those who are to be held."""
        self.tasks.awaited = everybody if self.conductor.draw("scenario.settle", 2) else self._is_awaited
        news = await super()._settled()
        self.tasks.awaited = self._is_awaited
        return news

    def _is_awaited(self, actor: Actor) -> bool:
        """Whether the scenario goes on only when an actor can go no further: its hold has not been met yet."""
        return bool(self.tasks.holding.pending.get(actor.name))

    @override
    async def perform(self, operation: Operation) -> list[str]:
        if operation.name in LOOKING:
            return []
        return await self.operation(operation)

    @override
    async def batch(self, pages: int) -> Batch:
        begun = await self.ksmd.begin(pages)
        if not begun.idle:
            await self._until_rested()
        return await self.ksmd.end(begun)

    @override
    async def before(self, operation: Operation) -> None:
        """A task does one thing after the other."""
        name = self.tasks.needed_by(operation)
        while name is not None and name in self.tasks.running and name not in self.tasks.holding.held:
            if self.tasks.running[name].ended() or not await self.tasks.pass_on():
                await self.tasks.news()
                break

    async def _until_rested(self) -> None:
        while not self.ksmd.resting and await self.tasks.pass_on():
            pass

    async def _end_tasks(self) -> None:
        """Let everybody go who is held, until all have ended."""
        holding = self.tasks.holding
        holding.pending.clear()
        self.tasks.awaited = everybody
        await super()._settled()
        while holding.held:
            for name in list(holding.held):
                self.tasks.release(name)
            await super()._settled()

    async def _settle_ksm(self) -> None:
        """Let ksmd make some full scans with nobody in its way."""
        await self._store("run", "1")
        for _ in range(SETTLING_SCANS + 2):
            await self.batch(WHOLE_SCAN)
        await self._store("run", "0")

    async def _shut_down(self) -> None:
        """End the processes that are left, and let ksmd let go of them."""
        for pinned in self.pins.values():
            while pinned:
                await pinned.pop().put()
        for process in self.census.living:
            process.exited = True
            await self.kernel.mmput(process.mm)
        await self.kernel.lru_add_drain_all()
        await self.kernel.try_to_free_pages(range(self.nodes), self.nodes * self.kernel.frames_per_node)
        await self._store("run", "1")
        while self.kernel.ksmd_should_run() and not (await self.batch(WHOLE_SCAN)).idle:
            pass
        await self._store("run", "0")

    async def _store(self, knob: str, value: str) -> None:
        await self.kernel.sysfs_store(knob, value)
        await self.ksmd.rest()
