"""Who is on a machine: the kernel's actors, started in one fixed order, and the processes that came up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ksmactors.actors.admin import Admin
from ksmactors.actors.base import cpu_of
from ksmactors.actors.devices import Dma
from ksmactors.actors.faults import FaultRequest, PageFaultHandler
from ksmactors.actors.hotplug import HotplugOperator, Offline, Online
from ksmactors.actors.ksmd import Ksmd
from ksmactors.actors.migration import MigrationDaemon, MoveRequest
from ksmactors.actors.nemesis import Nemesis
from ksmactors.actors.reclaim import Reclaimer, Writeback
from ksmactors.actors.unmerge import KnobWrite, Sweep, UnmergeWorker
from ksmactors.interleave.locks import WaitQueue
from ksmactors.machine import Machine
from ksmactors.mm.devices import IoPin


class Kthreads:
    """The actors of one machine. Page-fault handlers, sweepers, reclaimers and the
    hotplug operator come up when they are first needed."""

    def __init__(self, machine: Machine, *, balance_us: int) -> None:
        self.machine = machine
        self.nemesis = Nemesis(machine)
        self.ksmd = Ksmd(machine)
        self.migrationd = [MigrationDaemon(machine, nid, period_us=balance_us) for nid in range(machine.nodes)]
        self.unmerged = UnmergeWorker(machine, "sysfs", cpu=3)
        self.admin = Admin(machine, self.unmerged)
        self.kswapd: list[Reclaimer] = []
        self.operator: HotplugOperator | None = None
        self.threads_alive = 0
        self.thread_ended = WaitQueue(machine.conductor, "threads to end")
        self._transfers = 0
        self._threads_started = [0] * machine.nodes
        self._fault_handlers: dict[int, PageFaultHandler] = {}
        self._sweepers: dict[str, UnmergeWorker] = {}

    def start_reclaim(self, period_us: int) -> None:
        """Bring up the swap device and the reclaimers, if they are not up yet."""
        if self.kswapd:
            return
        Writeback(self.machine)
        self.kswapd = [Reclaimer(self.machine, nid, period_us=period_us) for nid in range(self.machine.nodes)]

    async def reclaim(self, pages: int, nid: int) -> int:
        """Have pages of a node reclaimed: how many were."""
        self.start_reclaim(0)
        return await self.kswapd[nid].ask(pages)

    async def swapoff(self) -> int:
        """Have everything brought back from swap, by the actor that calls."""
        self.start_reclaim(0)
        return await self.machine.kernel.swapoff()

    async def hotplug(self, request: Offline | Online) -> int:
        """Have the hotplug operator take memory away or bring it back."""
        if self.operator is None:
            self.operator = HotplugOperator(self.machine)
        return int(await self.operator.ask(request))

    async def reclaim_everything(self) -> None:
        """Reclaim what is left in the swap cache, if anything was swapped, and free what is left in pagevecs."""
        await self.machine.kernel.lru_add_drain_all()
        for reclaimer in self.kswapd:
            await reclaimer.ask(self.machine.kernel.frames_per_node)

    async def stop_reclaim(self) -> None:
        """Ask the reclaimers to reclaim nothing of their own any more, and wait until they have understood."""
        for reclaimer in self.kswapd:
            await reclaimer.ask(0)

    def next_cpu(self, node: int) -> int:
        """The CPU of the next thread of a node."""
        self._threads_started[node] += 1
        return cpu_of(node, self._threads_started[node] - 1)

    async def fault(self, request: FaultRequest) -> int:
        """Have a page fault served by the handler of the actor that has the turn."""
        thread = self.machine.conductor.turn
        handler = self._fault_handlers.get(thread.number)
        if handler is None:
            handler = self._fault_handlers[thread.number] = PageFaultHandler(self.machine, thread)
        return int(await handler.ask(request))

    async def sweep(self, request: Sweep) -> int:
        """Have a range unmerged by the sweeper of its process."""
        name = request.mm.name
        sweeper = self._sweepers.get(name)
        if sweeper is None:
            thread = self.machine.conductor.turn
            sweeper = self._sweepers[name] = UnmergeWorker(self.machine, name, node=thread.node, cpu=thread.cpu)
        return int(await sweeper.ask(request))

    def interrupt_sweep(self, name: str) -> None:
        """A signal for a process whose sweeper may be at work."""
        sweeper = self._sweepers.get(name)
        if sweeper is not None:
            sweeper.interrupt()

    def spawn(self, name: str, body: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start an actor that runs `body(*args)`, and that `join` waits for, as it does for threads.

        It calls the body itself: the schedule may end before it begins, and a coroutine made here would never be
        awaited then.
        """
        self.threads_alive += 1
        self.machine.conductor.spawn(name, self._counted(body, args))

    def start_io(self, name: str, io: IoPin) -> None:
        """Start a device that transfers a page that a process has pinned; `join` waits for it, too."""
        self._transfers += 1
        self.spawn(f"dma/{name}.{self._transfers}", Dma(self.machine, io).run)

    async def _counted(self, body: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        await body(*args)
        self.thread_has_ended()

    def thread_has_ended(self) -> None:
        """One thread less runs."""
        self.threads_alive -= 1
        self.thread_ended.wake_all()

    async def move(self, request: MoveRequest) -> int:
        """Have a page moved by the migration daemon of the node it is to go to."""
        return await self.migrationd[request.nid].ask(request)

    async def write_knob(self, knob: str, text: str) -> int:
        """Have the admin write a knob."""
        return int(await self.admin.ask(KnobWrite(knob, text)))

    async def stop_migration(self) -> None:
        """Ask the migration daemons to move nothing of their own any more, and wait until they have understood."""
        for daemon in self.migrationd:
            await daemon.ask(None)

    async def join(self) -> None:
        """Wait until no thread of any process runs."""
        while self.threads_alive:
            await self.thread_ended.wait()
