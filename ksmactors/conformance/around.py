"""A scenario with holds as a directed schedule with random surroundings: the same holds, everything else drawn.

Tasks stop where the scenario holds them. All others run when the strategy chooses them: background tasks continue
during later lines of the scenario. Results are not compared; watchers check the run, and checks must read what was
written.
"""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.conformance.background import every_actor
from ksmactors.conformance.emulator_driver import EmulatorDriver
from ksmactors.conformance.language import Operation
from ksmactors.conformance.transcript import WHOLE_SCAN, Batch
from ksmactors.interleave.actor import Actor
from ksmactors.machine import Machine
from ksmactors.program import SETTLING_SCANS

LOOKING: Final = frozenset({"counters", "frames", "trees", "shared", "procstat", "where", "get", "ktrace"})
"""Read-only operations; their results depend on what was drawn."""


class AroundDriver(EmulatorDriver):
    """Runs a scenario and waits only for tasks that are to be held. The watchers check the run."""

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
        """Wait for all tasks half of the time, as the scenario does; else only for those that are to be held."""
        self.tasks.awaited = every_actor if self.conductor.draw("scenario.settle", 2) else self._is_awaited
        news = await super()._settled()
        self.tasks.awaited = self._is_awaited
        return news

    def _is_awaited(self, actor: Actor) -> bool:
        """Whether the scenario waits for an actor: its hold has not been reached yet."""
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
        """Wait for the task's last operation: a task does one operation at a time."""
        name = self.tasks.needed_by(operation)
        while name is not None and name in self.tasks.running and name not in self.tasks.holding.held:
            if self.tasks.running[name].ended() or not await self.tasks.pass_on():
                await self.tasks.news()
                break

    async def _until_rested(self) -> None:
        while not self.ksmd.resting and await self.tasks.pass_on():
            pass

    async def _end_tasks(self) -> None:
        """Release all held tasks until all have ended."""
        holding = self.tasks.holding
        holding.pending.clear()
        self.tasks.awaited = every_actor
        await super()._settled()
        while holding.held:
            for name in list(holding.held):
                self.tasks.release(name)
            await super()._settled()

    async def _settle_ksm(self) -> None:
        """Let ksmd make some full scans undisturbed."""
        await self._store("run", "1")
        for _ in range(SETTLING_SCANS + 2):
            await self.batch(WHOLE_SCAN)
        await self._store("run", "0")

    async def _shut_down(self) -> None:
        """End the remaining processes, and let ksmd drop them."""
        for pinned in self.pins.values():
            while pinned:
                await pinned.pop().put()
        for process in self.page_map.living:
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
