"""What a plug-in author imports: a workload is a program for the emulated machine.

    from ksmactors.workload import Host, Int, Process, Workload

    class Twins(Workload):
        name = "twins"
        summary = "two processes with equal pages"
        pages = Int(4, "pages of each process", low=1, high=64)

        async def run(self, host: Host) -> None:
            for process in (host.process("A"), host.process("B", node=1)):
                process.spawn(self.live)

        async def live(self, process: Process) -> None:
            region = await process.map(self.pages)
            await process.mergeable(region)
            for i in range(self.pages):
                await process.write(region, i, 7)

Before `run` starts, the machine's own actors are there (ksmd, migration daemons, unmerge worker, admin), knobs are
set and ksmd scans. When it returns, the host waits for all threads, lets ksmd come to rest, asks the watchers,
and ends what is left of the processes. Nothing may be awaited that does not come from here, and whatever is to
be random is drawn from `host.draw`: then the same seed gives the same run, on any machine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final

from typing_extensions import override

from ksmactors.actors.devices import Pin
from ksmactors.actors.hotplug import Offline, Online
from ksmactors.actors.kthreads import Kthreads
from ksmactors.actors.process import Process, Thread
from ksmactors.actors.region import BusError, EmulatedFault, OutOfMemory, ProcessExited, Region, SegmentationFault
from ksmactors.errors import UsageError, WorkloadCrashed
from ksmactors.events.catalogue import Field
from ksmactors.events.declared import PluginEvent
from ksmactors.files import read_text
from ksmactors.interleave.durations import NS_PER_US
from ksmactors.interleave.locks import WaitQueue
from ksmactors.machine import Machine
from ksmactors.marks import check_draw, named
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.content import Content
from ksmactors.parameters import Bool, FilePath, Int, Parameter, Str
from ksmactors.program import SETTLING_SCANS, Claims, Program, ProgramParts, called, guarded

__all__ = [
    "PAGE_SIZE", "Bool", "BusError", "Content", "EmulatedFault", "Field", "FilePath", "Host", "Int", "OutOfMemory",
    "Parameter", "Pin", "PluginEvent", "Process", "ProcessExited", "Region", "SegmentationFault", "Str", "Thread",
    "UsageError", "Workload", "read_text",
]  # fmt: skip


POLL_US: Final = 100
"""How often the host looks whether ksmd has come to rest, in virtual microseconds: a few pages' worth of scanning."""

PATIENCE: Final = 40
"""Looks without a single step of any actor, each after twice the time of the one before: after so many, a longest
possible sleep_millisecs (2**32) has passed, and ksmd does not sleep but is stuck."""


class Workload(Program):
    """Base of all workloads of the emulated machine, see `Program`; `run` is what an author writes."""

    pages_to_scan = Int(100, "knob pages_to_scan: pages that ksmd scans in a batch", high=1_000_000)
    sleep_millisecs = Int(0, "knob sleep_millisecs: ksmd's sleep between batches", high=60_000)
    merge_across_nodes = Int(1, "knob merge_across_nodes at the start", high=1)
    balance_us = Int(
        150,
        "average virtual microseconds between moves of a migration daemon's own; 0: on request only",
        high=1_000_000,
    )
    reclaim_us = Int(
        0,
        "average virtual microseconds between a reclaimer's rounds of its own; 0: on request only",
        high=1_000_000,
    )

    @abstractmethod
    async def run(self, host: Host) -> None:
        """One schedule: start processes and threads; may return while threads are still running."""

    @override
    async def perform(self, setting: ProgramParts) -> None:
        host = Host(setting.machine())
        try:
            await host.main(self)
        finally:
            host.processes.clear()  # each of them has a method of the host


class Host(Claims):
    """The machine as a workload sees it; and the course of a schedule from boot to the last watcher.

    Attributes:
        machine: the emulated machine, for workloads that look under the hood.
        processes: all processes by name, in the order in which they came up, exited ones too.
        marks: how often each mark was passed.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._trace = machine.trace
        self.processes: dict[str, Process] = {}
        self.marks: dict[str, int] = {}
        self._crew: Kthreads
        self._workload: Workload

    # -- what workloads call --------------------------------------------------------------------------------------

    @property
    def nodes(self) -> int:
        """How many NUMA nodes there are."""
        return self.machine.nodes

    def draw(self, label: str, n: int) -> int:
        """A number in 0..n-1 from the choice tape; `label` says what for."""
        check_draw(label, n)
        return self.machine.conductor.draw(label, n)

    async def sleep(self, us: int) -> None:
        """Sleep for virtual microseconds. A step takes one; time jumps to the next sleeper when no other actor can run,
        and when ksmd is alone and has ended a batch: a long sleep lets it end one, not many."""
        if not isinstance(us, int) or us < 0:
            raise ValueError(f"sleep({us!r}): microseconds are a whole number, 0 or more")
        await self.machine.conductor.sleep(us * NS_PER_US)

    def process(self, name: str, *, node: int = 0) -> Process:
        """A new process whose threads run on, and whose pages come from, `node` (modulo the machine's nodes)."""
        if named("the name of a process", name) in self.processes:
            raise ValueError(f"there is a process {name} already")
        mm = self.machine.kernel.mm_alloc(name)
        return Process(self._crew, self._guard, self.processes, mm, node % self.nodes)

    async def set(self, knob: str, value: int | str) -> int:
        """Have the admin write a knob of /sys/kernel/mm/ksm: 0 or a negative errno."""
        return await self._crew.write_knob(knob, str(value))

    def interrupt_knob(self) -> bool:
        """Send a signal to the writer of a knob that unmerges: -EINTR at the next page. False: there is none."""
        return self._crew.unmerged.interrupt()

    def get(self, knob: str) -> str:
        """Read a file of /sys/kernel/mm/ksm; ValueError if there is none of that name."""
        kernel = self.machine.kernel
        if knob not in kernel.sysfs_files():
            raise ValueError(f"there is no knob {knob}; there are: {', '.join(kernel.sysfs_files())}")
        return kernel.sysfs_show(knob)

    async def migrate(self, process: Process, region: Region, index: int, nid: int, *, move_all: bool = True) -> int:
        """Have a page moved to a node, see `Process.migrate`."""
        return await process.migrate(region, index, nid, move_all=move_all)

    async def reclaim(self, pages: int, *, node: int = 0) -> int:
        """Have so many pages of a node swapped out, KSM pages included: how many it could free."""
        return await self._crew.reclaim(pages, node % self.nodes)

    async def swapoff(self) -> int:
        """Bring back everything that is swapped out: 0, or a negative errno (then some pages still are)."""
        return await self._crew.swapoff()

    async def offline(self, node: int, first: int = 0, pages: int | None = None) -> int:
        """Have a node's memory taken offline, or the `pages` frames from its `first` on: 0 or a negative errno.

        Its pages move to other nodes. -EBUSY if some cannot; the first frame of node 0 never can.
        """
        size = self.machine.kernel.frames_per_node
        start = node * size + first
        return await self._crew.hotplug(Offline(range(start, start + (size - first if pages is None else pages))))

    async def online(self) -> int:
        """Have all memory that is offline brought back: 0, or a negative errno."""
        return await self._crew.hotplug(Online())

    @override
    def mark(self, name: str) -> None:
        super().mark(name)
        self.marks[name] = self.marks.get(name, 0) + 1

    async def join(self) -> None:
        """Wait until no thread of any process runs."""
        await self._crew.join()

    # -- the course of a schedule ---------------------------------------------------------------------------------

    async def main(self, workload: Workload) -> None:
        """One schedule of a workload, from boot to the last watcher. The first actor of the conductor runs it.

        Raises:
            WorkloadCrashed: its code raised (the cause is its exception). Findings and errors of the emulator
                are raised as they are.
        """
        self._workload = workload
        self._crew = Kthreads(self.machine, balance_us=workload.balance_us)
        if workload.reclaim_us:
            self._crew.start_reclaim(workload.reclaim_us)
        await self._boot(workload)
        try:
            await self._guard(workload.run, self)
        except EmulatedFault as fault:
            if not self.machine.injector.active:
                raise WorkloadCrashed(
                    f"workload {workload.name} does not catch {type(fault).__name__}: {fault}"
                ) from fault
        await self.join()
        for watcher in self.machine.watchers:
            watcher.at_rest()
        self.machine.injector.stop()
        await self._crew.stop_migration()
        await self._crew.stop_reclaim()
        await self._settle()
        for watcher in self.machine.watchers:
            watcher.at_quiescence()
        await self._shut_down()
        for watcher in self.machine.watchers:
            watcher.at_exit()

    async def _boot(self, workload: Workload) -> None:
        await self.set("merge_across_nodes", workload.merge_across_nodes)
        await self.set("pages_to_scan", workload.pages_to_scan)
        await self.set("sleep_millisecs", workload.sleep_millisecs)
        await self.set("run", 1)

    async def _settle(self) -> None:
        """Let ksmd make some full scans without other actors, and stop it between two batches."""
        await self.set("sleep_millisecs", 0)
        await self.set("pages_to_scan", Workload.pages_to_scan.default)
        await self.set("run", 1)
        kernel = self.machine.kernel
        end = kernel.ksm_scan.seqnr + 1 + SETTLING_SCANS  # the scan under way does not count
        while kernel.ksmd_should_run() and kernel.ksm_scan.seqnr < end:
            await self._wait_for_ksmd()
        await self.set("run", 0)  # takes ksm_thread_mutex: ksmd holds nothing afterwards

    async def _shut_down(self) -> None:
        """End the processes that are left, and let ksmd let go of them."""
        for process in list(self.processes.values()):
            await process.exit()
        await self._crew.reclaim_everything()
        await self.set("run", 1)
        while self.machine.kernel.ksmd_should_run():
            await self._wait_for_ksmd()
        await self.set("run", 0)

    async def _wait_for_ksmd(self) -> None:
        """Sleep until another actor has taken a step; if none ever does, block, so that the deadlock is reported."""
        conductor = self.machine.conductor
        before = conductor.step
        for doubling in range(PATIENCE):
            await self.sleep(POLL_US << doubling)
            if conductor.step != before:
                return
        await WaitQueue(conductor, "ksmd to end a scan").wait()

    async def _guard(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Call and await a workload's code; turn what it raises of its own into WorkloadCrashed."""
        await guarded(self._workload, called(self._workload, function, *args), EmulatedFault)
