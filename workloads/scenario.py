"""The processes of a scenario file, all at once instead of line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from ksmactors.actors.devices import Pin
from ksmactors.errors import UsageError
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.workload import FilePath, Host, Int, Process, Region, Workload

if TYPE_CHECKING:
    from ksmactors.conformance.language import Operation

DEFAULT: Final = Path(__file__).parent / "data" / "two_nodes.txt"

PAUSES: Final = frozenset({"step", "scan", "trace", "tracescan", "sleep"})
"""Lines that let time pass for all actors: ksmd runs by itself here, so each becomes a pause of a drawn length."""

RECLAIMED: Final = 1000
"""Pages of each node that a line `reclaim` asks for: more than a scenario has, whatever its bytes say."""

UNSEEN: Final = frozenset({"counters", "frames", "trees", "shared", "procstat", "where", "ktrace", "drain"})
"""Lines that only look, from outside of all processes."""

HOLDING: Final = frozenset({"hold", "release", "disarm", "settle"})
"""Lines that say who is held where: here each schedule decides that, so they are left out. `conform --around` does what
they say."""

RANGES: Final = frozenset({
    "mergeable", "unmergeable", "dontneed", "munmap", "swapout", "free", "mlock", "munlock",
})  # fmt: skip
"""Calls of a process on a range of pages."""


class Scenario(Workload):
    """Each process of the scenario becomes a thread that does the lines of that process in order; the knobs are
    turned by the host. Lines that scan become pauses, since ksmd scans all the time. Node numbers are taken modulo the
    machine's nodes, unless the scenario says how many it requires.
    """

    name: ClassVar[str] = "scenario"
    summary: ClassVar[str] = "the processes of a scenario file (-p file=PATH), concurrently instead of in sequence"

    file = FilePath(None, "the scenario; default: one that is shipped, with three processes on two nodes")
    pause_us = Int(400, "average virtual microseconds of a pause, for each line that scans", high=1_000_000)
    balance_us = Workload.balance_us.with_default(400)

    @override
    def prepare(self) -> None:
        from ksmactors.conformance.language import read_scenario

        path = self.file if self.file is not None else DEFAULT
        self._operations = [one.done for one in read_scenario(path).operations if one.name not in HOLDING]
        self._nodes, self._knobs = 1, list[str]()
        for operation in self._operations:
            kind = operation.flags[0] if operation.name == "requires" else ""
            if kind == "nodes":
                self._nodes = operation.number
            elif kind == "knob":
                self._knobs.append(operation.word)
        self._path = path

    @override
    async def run(self, host: Host) -> None:
        if host.nodes < self._nodes:
            raise UsageError(f"{self._path} needs a machine with {self._nodes} nodes: --nodes {self._nodes}")
        for knob in self._knobs:
            if knob not in host.machine.kernel.sysfs_files():
                raise UsageError(f"{self._path} requires the knob {knob}, which the emulated kernel does not have")
        tasks = _Tasks(host, self.pause_us, self._operations)
        for operation in self._operations:
            if operation.name == "proc":
                tasks.start(operation)
            elif operation.name == "set":
                await host.set(operation.word, operation.value)
            elif operation.name == "reclaim":
                for node in range(host.nodes):
                    await host.reclaim(RECLAIMED, node=node)
            elif operation.name == "online":
                await host.online()
            elif operation.name == "device":
                host.machine.kernel.swap.synchronous = operation.flags == ("sync",)
            elif operation.name == "signal" and operation.task in host.processes:
                host.processes[operation.task].interrupt()
            elif operation.name in PAUSES:
                await tasks.pause()


class _Tasks:
    """The lines of each process in one schedule, and how to do them."""

    def __init__(self, host: Host, pause_us: int, operations: list[Operation]) -> None:
        self.host, self.pause_us = host, pause_us
        self.parts = _parts(operations)

    def start(self, operation: Operation) -> None:
        """Bring up the process that a `proc` line names."""
        process = self.host.process(self._free_name(operation.word))
        process.spawn(self.perform, self.parts[operation.line], {})

    async def pause(self) -> None:
        """Let time pass."""
        await self.host.sleep(1 + self.host.draw("scenario.pause", max(1, 2 * self.pause_us)))

    async def perform(self, process: Process, part: list[Operation], regions: dict[str, Region]) -> None:
        """Do the lines of one process."""
        pins: dict[int, list[Pin]] = {}
        for operation in part:
            if operation.name in PAUSES:
                await self.pause()
            elif operation.name == "map":
                regions[operation.word] = await process.map(
                    operation.number, node=max(operation.node, 0) % self.host.nodes
                )
            elif operation.name == "fork":
                child = await process.fork(self._free_name(operation.word))
                if isinstance(child, Process):
                    child.spawn(self.perform, self.parts[operation.line], dict(regions))
            elif operation.name == "exit":
                await process.exit()
            elif operation.name == "prctl":
                await process.merge_any(on=operation.flags == ("on",))
            elif operation.name == "mremap":
                region = regions[operation.region]
                moved = await process.mremap(region, operation.first, operation.end)
                start, length = region.span(operation.first, operation.end)
                stayed = Region(start, length // PAGE_SIZE)
                regions[operation.word] = moved if isinstance(moved, Region) else stayed
            elif operation.name == "pin":
                pin = await process.pin(regions[operation.region], operation.first)
                pins.setdefault(operation.first, []).append(pin)
            elif operation.name == "unpin":
                if pins.get(operation.first):
                    await process.unpin(pins[operation.first].pop())
            else:
                await self._on_pages(process, operation, regions[operation.region])

    async def _on_pages(self, process: Process, operation: Operation, region: Region) -> None:
        name, first, end = operation.name, operation.first, operation.end
        if name in RANGES:
            await getattr(process, name)(region, first, end)
        elif name in ("migrate", "migrate1"):
            nid = operation.node % self.host.nodes
            await self.host.migrate(process, region, first, nid, move_all=name == "migrate")
        elif name == "offline":
            node = process.node_of(region, first)
            if node is not None:
                await self.host.offline(node)
        elif name.startswith("fill"):
            for page in range(first, end):
                await process.write(region, page, operation.token + (page - first if name == "fillseq" else 0))
        else:  # check* and read: whether it reads what it wrote is for the watchers to say
            for page in range(first, end):
                await process.read(region, page)

    def _free_name(self, name: str) -> str:
        """A scenario may start a second process under the name of one that has exited; here it may still run."""
        free, number = name, 1
        while free in self.host.processes:
            number += 1
            free = f"{name}_{number}"
        return free


def _parts(operations: list[Operation]) -> dict[int, list[Operation]]:
    """The lines of each process, by the line that starts it (`proc` or `fork`)."""
    parts: dict[int, list[Operation]] = {}
    live: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.name in PAUSES:
            for part in live.values():
                part.append(operation)
        elif operation.process and operation.name not in UNSEEN:
            live[operation.process].append(operation)
        if operation.name in ("proc", "fork"):
            live[operation.word] = parts[operation.line] = []
        elif operation.name == "exit":
            del live[operation.process]
    return parts
