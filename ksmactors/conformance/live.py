"""Run scenarios on the kernel of this machine: real processes, real pages, the real ksmd.

KSM's own structures are read from the kernel's memory, where it shows that (`live_structures`); elsewhere results have
no lines about them. Operations that would disturb other users are skipped: memory is not taken offline, and only the
scenario's own pages are swapped out.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from typing_extensions import override

from ksmactors.conformance.btf import LayoutError
from ksmactors.conformance.kernel_memory import KernelMemory, PageTable
from ksmactors.conformance.language import Operation, Scenario
from ksmactors.conformance.live_ksm import Disturbed, LiveKsm, in_use
from ksmactors.conformance.live_memory import LiveMemory
from ksmactors.conformance.live_pages import Pages
from ksmactors.conformance.live_structures import LiveStructures
from ksmactors.conformance.live_world import Killed, World
from ksmactors.conformance.page_map import PageName, group_of, partition
from ksmactors.conformance.transcript import Batch, Transcript, status_word
from ksmactors.errors import EmulatorBug, UsageError
from ksmactors.escaping import quoted

INTERLEAVED: Final = frozenset({"hold", "bg", "release", "disarm", "signal", "settle"})
"""The operations of interleavings: no task of a live kernel can be held."""

NO_HOLDS: Final = "skip: no holds on a live host"

NO_FAILURES: Final = "skip: memory that fails on a live host is lost for good"

LOSING: Final = frozenset({"hwpoison", "softoffline"})
"""Operations that take a frame away until the next boot."""

NOT_LIVE: Final = {
    "hwpoison": "takes memory away for good",
    "softoffline": "takes memory away for good",
    "reclaim": "takes a memory cgroup of its own",
    "offline": "takes memory away from the whole machine",
    "online": "takes memory away from the whole machine",
    "ktrace": "takes the kernel's tracepoints",
}
"""Operations that are not done on a running machine, and why."""

STAT: Final = {
    "merging_pages": "ksm_merging_pages", "rmap_items": "ksm_rmap_items", "zero_pages": "ksm_zero_pages",
    "merge_any": "ksm_merge_any", "mergeable": "ksm_mergeable",
}  # fmt: skip
"""What `procstat` shows, in this order, and its name in /proc/PID/ksm_stat; it depends on the kernel."""


def memory_nodes(has_memory: Path = Path("/sys/devices/system/node/has_memory")) -> int:
    """Return the number of NUMA nodes with memory, numbered from 0 without a gap."""
    try:
        ranges = has_memory.read_text().strip()
    except FileNotFoundError:
        return 1
    nodes = 0
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if int(first) != nodes:
            break
        nodes = int(last or first) + 1
    return max(nodes, 1)


class Live:
    """This machine, ready to run scenarios.

    Raises:
        UsageError: it cannot; the message says why and what to do.
    """

    not_done: Mapping[str, str] = NOT_LIVE
    """Operations that are not done here, and why."""

    holds = False
    """Whether tasks can be held."""

    def __init__(self) -> None:
        self.release = platform.release()
        self.nodes = memory_nodes()
        self.ksm = LiveKsm()
        self.inside: LiveStructures | None = None
        table, unreadable = None, ""
        try:
            memory = KernelMemory()
            table = PageTable(memory)
            self.inside = LiveStructures(memory, table)
        except LayoutError as error:
            unreadable = str(error)
        self.pages = Pages(table, unreadable)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number of the running kernel."""
        found = re.match(r"(\d+)\.(\d+)", self.release)
        if found is None:
            raise UsageError(
                f"--live: the running kernel's release is {quoted(self.release)}; choose a kernel with --kernel"
            )
        return int(found[1]), int(found[2])

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Use KSM exclusively until the end of the block, which restores every knob.

        Raises:
            UsageError: another process uses it.
        """
        try:
            with self.ksm.taken():
                yield
        finally:
            self.pages.close()

    def perform(self, scenario: Scenario, written: Callable[[str], None] | None = None) -> Transcript:
        """Run a scenario; within `taken`. A scenario that could not run, or was disturbed, has `missing`. Each line is
        given to `written` as soon as it is known.
        """
        if missing := self.lacks(scenario):
            return Transcript(scenario, () if self.holds else tuple(_skipped(scenario)), missing=missing)
        if self.inside is not None:
            self.inside.processes.clear()
        performer = self.performer(scenario, written)
        missing = in_use()
        try:
            if not missing:
                performer.run()
        except Disturbed as disturbed:
            missing = str(disturbed)
        finally:
            performer.world.end()
        if missing := missing or in_use():
            missing = f"was not run undisturbed: {missing}"
        return Transcript(scenario, tuple(performer.lines), missing=missing)

    def performer(self, scenario: Scenario, written: Callable[[str], None] | None) -> LivePerformer:
        """Return a new performer of a scenario."""
        return LivePerformer(scenario, self, World(self.pages, self.inside), written)

    def lacks(self, scenario: Scenario) -> str:
        """Return what a scenario needs and this machine lacks; empty if nothing."""
        swapless = False
        for operation in scenario.operations:
            needs = max(operation.node + 1, operation.number if operation.flags == ("nodes",) else 0)
            where = f"(operation '{operation.name}', line {operation.line})"
            if needs > self.nodes:
                return f"needs {needs} NUMA nodes {where}, and this machine has {self.nodes}"
            if operation.flags == ("knob",) and operation.word not in self.ksm.knobs:
                return f"needs the knob {operation.word} {where}, which this kernel does not have"
            if operation.name in INTERLEAVED and not self.holds:
                return f"{NO_HOLDS} {where}"
            if operation.name == "device":
                swapless = operation.flags == ("none",)
                if lacking := self.lacks_device(operation, where):
                    return lacking
            if operation.name in self.not_done:
                return f"{self.not_done[operation.name]} {where}, which a live run does not do"
            if (operation.name == "swapout" or operation.flags == ("swap",)) and not swapless and not has_swap():
                return f"needs swap {where}, and this machine has none"
        return ""

    def lacks_device(self, operation: Operation, where: str) -> str:
        """Return why this machine cannot have the swap device that an operation `device` chooses; empty if it can."""
        if operation.flags != ("none",):
            return f"chooses the emulated swap device {where}, which a live run does not do"
        return f"needs a machine without swap {where}, and this one has some" if has_swap() else ""


def _skipped(scenario: Scenario) -> Iterator[str]:
    """Yield the result lines of a scenario that is not run because it holds tasks, or lets memory fail."""
    reasons = dict.fromkeys(INTERLEAVED, NO_HOLDS) | dict.fromkeys(LOSING, NO_FAILURES)
    first = next((operation for operation in scenario.operations if operation.name in reasons), None)
    if first is not None:
        yield from (f"> {first.text}", f"= {reasons[first.name]}")


def has_swap() -> bool:
    """Whether this machine has any swap device or file."""
    return len(Path("/proc/swaps").read_text().splitlines()) > 1


class LivePerformer(LiveMemory):
    """Runs one scenario on this machine."""

    def __init__(
        self, scenario: Scenario, live: Live, world: World, written: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(scenario, live.release, live.nodes)
        self.ksm, self.pages, self.world, self.inside = live.ksm, live.pages, world, live.inside
        self.draining = True
        self._written = written

    @override
    def write(self, *lines: str) -> None:
        super().write(*lines)
        if self._written is not None:
            for line in lines:
                self._written(line)

    def run(self) -> None:
        """Do all operations in order.

        Raises:
            Disturbed: other activity of the machine interfered.
            ScenarioError: an operation needs what an earlier one failed to make.
        """
        self.ksm.start()
        report = self.report()
        try:
            report.send(None)
        except StopIteration:
            return
        raise EmulatorBug("the live kernel was waited for in an event loop")

    @override
    async def perform(self, operation: Operation) -> list[str]:
        results = await self.operation(operation)
        self.ksm.settle()
        return results

    @override
    async def batch(self, pages: int) -> Batch:
        self._drain()
        return self.ksm.batch(pages)

    @override
    def counters(self) -> str:
        return self.ksm.counted()

    @override
    def counts_scanned(self) -> bool:
        return "scanned" in self.ksm.counters

    @override
    def partition(self) -> list[str]:
        return partition(self.world.sights())

    @override
    def structures(self) -> list[str]:
        return [] if self.inside is None else self.inside.trees()

    async def operation(self, operation: Operation) -> list[str]:
        """Do only the operation itself; return its result lines."""
        return await self.unless_killed(operation, OPERATIONS[operation.name](self, operation))

    async def unless_killed(self, operation: Operation, work: Awaitable[list[str]]) -> list[str]:
        """Return the results of an operation under way, or that it has ended its process."""
        try:
            return await work
        except Killed as killed:
            self.killed.add(operation.process)
            self.world.forget(operation.process)
            return [f"killed {killed.signal}"]

    def _drain(self) -> None:
        if self.draining:
            self.pages.drain()

    # -- requirements ---------------------------------------------------------------------------------------

    async def _do_requires(self, operation: Operation) -> list[str]:
        return ["ok"]

    # -- nodes --------------------------------------------------------------------------------------------------

    async def _do_migrate(self, operation: Operation) -> list[str]:
        self._drain()
        process, start, _ = self._range(operation)
        move_all = operation.name == "migrate"
        returned, status = self.pages.move(process.pid, start, operation.node, move_all=move_all)
        returned_word = str(returned) if returned >= 0 else status_word(returned)
        return [f"ret={returned_word} status={'none' if status is None else status_word(status)}"]

    async def _do_where(self, operation: Operation) -> list[str]:
        process, start, _ = self._range(operation)
        (node,) = self.pages.nodes(process.pid, [start])
        return [f"node {node}" if node >= 0 else status_word(node)]

    # -- knobs and time -----------------------------------------------------------------------------------------

    async def _do_set(self, operation: Operation) -> list[str]:
        knob = operation.word
        if knob not in self.ksm.knobs:
            return ["absent"]
        self._drain()
        self.ksm.rest()  # now, since it may wake ksmd: after `set run 0` that would show
        error = self.ksm.write(knob, operation.value)
        now = self.ksm.show(knob)
        self.ksm.rest()
        return [f"{error or 'ok'} now={now}"]

    async def _do_get(self, operation: Operation) -> list[str]:
        if operation.word not in self.ksm.knobs:
            return ["absent"]
        self.ksm.rest()
        return [self.ksm.show(operation.word)]

    async def _do_sleep(self, operation: Operation) -> list[str]:
        self.ksm.wait(operation.number)
        return ["ok"]

    async def _do_device(self, operation: Operation) -> list[str]:
        """`device none`: check that the machine has no swap; otherwise nothing would be run."""
        return ["ok"]

    async def _do_drain(self, operation: Operation) -> list[str]:
        self.draining = operation.flags != ("off",)
        self._drain()
        return ["ok"]

    # -- looking ------------------------------------------------------------------------------------------------

    async def _do_trees(self, operation: Operation) -> list[str]:
        order = [] if self.inside is None else self.inside.scan_order()
        return ["trees", *(f"    {line}" for line in order), *self._trees()]

    async def _do_shared(self, operation: Operation) -> list[str]:
        page = PageName(operation.process, operation.region, operation.first)
        process, start, _ = self._range(operation)
        return [f"none n=1: {page}" if start in process.holes else group_of(page, self.world.sights())]

    async def _do_procstat(self, operation: Operation) -> list[str]:
        stat = self.world.status(self._process(operation))
        return [" ".join(f"{name}={stat[key]}" for name, key in STAT.items() if key in stat)]


OPERATIONS: Final[dict[str, Callable[[LivePerformer, Operation], Awaitable[list[str]]]]] = {
    "requires": LivePerformer._do_requires,
    "proc": LivePerformer._do_proc,
    "fork": LivePerformer._do_fork,
    "exit": LivePerformer._do_exit,
    "exec": LivePerformer._do_exec,
    "map": LivePerformer._do_map,
    "fill": LivePerformer._do_fill,
    "fillrange": LivePerformer._do_fill,
    "fillseq": LivePerformer._do_fill,
    "check": LivePerformer._do_check,
    "checkrange": LivePerformer._do_check,
    "checkseq": LivePerformer._do_check,
    "read": LivePerformer._do_read,
    "mergeable": LivePerformer._do_madvise,
    "unmergeable": LivePerformer._do_madvise,
    "dontneed": LivePerformer._do_madvise,
    "swapout": LivePerformer._do_madvise,
    "free": LivePerformer._do_madvise,
    "munmap": LivePerformer._do_munmap,
    "mlock": LivePerformer._do_mlock,
    "munlock": LivePerformer._do_mlock,
    "prctl": LivePerformer._do_prctl,
    "pin": LivePerformer._do_pin,
    "unpin": LivePerformer._do_unpin,
    "process_vm_readv": LivePerformer._do_process_vm_readv,
    "mremap": LivePerformer._do_mremap,
    "migrate": LivePerformer._do_migrate,
    "migrate1": LivePerformer._do_migrate,
    "where": LivePerformer._do_where,
    "set": LivePerformer._do_set,
    "get": LivePerformer._do_get,
    "sleep": LivePerformer._do_sleep,
    "drain": LivePerformer._do_drain,
    "device": LivePerformer._do_device,
    "step": LivePerformer._do_step,
    "scan": LivePerformer._do_scan,
    "trace": LivePerformer._do_trace,
    "tracescan": LivePerformer._do_trace,
    "counters": LivePerformer._do_counters,
    "frames": LivePerformer._do_frames,
    "trees": LivePerformer._do_trees,
    "shared": LivePerformer._do_shared,
    "procstat": LivePerformer._do_procstat,
}
"""Who performs which operation; the others are in `NOT_LIVE`."""
