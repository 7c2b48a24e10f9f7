"""Runs a scenario on the emulator: one actor does the operations, ksmd scans on request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from typing_extensions import override

from ksmactors.conformance.background import Tasks
from ksmactors.conformance.interleaved import Interleaved
from ksmactors.conformance.ksmd_stepper import Stepper
from ksmactors.conformance.language import Operation, Scenario
from ksmactors.conformance.named_memory import KILLED
from ksmactors.conformance.page_map import PageMap
from ksmactors.conformance.structures import Counters, Structures
from ksmactors.conformance.transcript import REST, ScenarioEnded, bare_word, errno_name, status_word
from ksmactors.interleave.durations import NS_PER_MS
from ksmactors.interleave.strategies.holding import Holding
from ksmactors.later.tracepoints import Tracepoints
from ksmactors.machine import Machine
from ksmactors.mm.const import PAGE_SIZE

RECLAIMS: Final = 8
"""How often an operation `reclaim` asks for its bytes: a page that was accessed lately takes more than one."""


DRAINED: Final = frozenset({"migrate", "migrate1", "set", "softoffline", "bg"})
"""Operations before which the batches of all CPUs are drained, as on a real kernel; before each batch of ksmd, too."""


class EmulatorDriver(Interleaved):
    """The actor of one scenario. Each method that does an operation returns its result lines."""

    def __init__(self, scenario: Scenario, machine: Machine, kernel_label: str, holding: Holding) -> None:
        super().__init__(scenario, kernel_label, machine.nodes)
        self.machine = machine
        self.conductor, self.kernel = machine.conductor, machine.kernel
        self.page_map = PageMap(self.kernel)
        self.inside = Structures(self.kernel, self.page_map)
        self.counted = Counters(self.kernel)
        self.ksmd = Stepper(self.kernel, self.conductor)
        self.tasks = Tasks(machine.conductor, holding, self.kernel.kernel_name)
        self.pins = {}
        self.traced: list[str] | None = None
        """What was traced since the last `ktrace`; None before the first."""

    async def run(self) -> None:
        """Do all operations in order."""
        await self.ksmd.start()
        await self.report()

    @override
    async def perform(self, operation: Operation) -> list[str]:
        busy = self.tasks.needed_by(operation)
        if busy in self.tasks.running:
            return [f"error {busy} is busy"]
        if operation.name in DRAINED:
            await self.drain()
        results = await self.operation(operation)
        await self.rest()
        return results

    @override
    async def operation(self, operation: Operation) -> list[str]:
        results = await OPERATIONS[operation.name](self, operation)
        if self.kernel.sigbus:
            own = self.living(operation.process)
            if own is not None and own.mm in self.kernel.sigbus:
                results = [KILLED]
            while self.kernel.sigbus:
                await self._kill(self.kernel.sigbus.pop(0))
        return results

    @override
    def counters(self) -> str:
        return self.counted.shown()

    @override
    def counts_scanned(self) -> bool:
        return self.counted.scanned

    @override
    def partition(self) -> list[str]:
        return self.page_map.frames()

    @override
    def structures(self) -> list[str]:
        return self.inside.trees()

    # -- requirements ----------------------------------------------------------------------------------------------

    async def _do_requires(self, operation: Operation) -> list[str]:
        what = self._unmet(operation)
        if what is None:
            return ["ok"]
        self.lines.append(f"= skip: no {what} here")
        raise ScenarioEnded

    def _unmet(self, operation: Operation) -> str | None:
        """Return what the machine lacks of what an operation `requires`."""
        kind, what = operation.flags[0], operation.word
        if kind == "nodes":
            return None if operation.number <= self.nodes else f"{operation.number} nodes"
        return None if kind == "swap" or what in self.kernel.sysfs_files() else what

    async def _do_reclaim(self, operation: Operation) -> list[str]:
        """memory.reclaim of all processes, several times, as in recordings."""
        for _ in range(RECLAIMS):
            await self.kernel.try_to_free_pages(range(self.nodes), _size(operation.value) // PAGE_SIZE)
        return ["ok"]

    async def _do_offline(self, operation: Operation) -> list[str]:
        """The block of the page's frame: all memory of its node."""
        process, address, _ = self._range(operation)
        pte = self.kernel.page_at(process.mm, address)
        if pte is None:
            return ["ENOENT"]
        return [bare_word(await self.kernel.offline_pages(self.kernel.memory_block(pte.frame.pfn)))]

    async def _do_online(self, operation: Operation) -> list[str]:
        for pfns in self.kernel.absent_ranges():
            await self.kernel.online_pages(pfns)
        return ["ok"]

    # -- nodes --------------------------------------------------------------------------------------------------

    async def _do_migrate(self, operation: Operation) -> list[str]:
        process, address, _ = self._range(operation)
        mm = process.mm
        self.kernel.mmget(mm)  # get_task_mm: an exit meanwhile leaves the page tables to us
        status = await self.kernel.move_pages(mm, address, operation.node, operation.name == "migrate")
        await self.kernel.mmput(mm)
        ret, status_stored = self.kernel.move_pages_answer(status)
        return [f"ret={ret} status={'none' if status_stored is None else status_word(status_stored)}"]

    async def _do_where(self, operation: Operation) -> list[str]:
        process, address, _ = self._range(operation)
        status = self.kernel.do_pages_stat(process.mm, address)
        return [f"node {status}" if status >= 0 else status_word(status)]

    # -- knobs and time -----------------------------------------------------------------------------------------

    async def _do_set(self, operation: Operation) -> list[str]:
        knob = operation.word
        if knob not in self.kernel.sysfs_files():
            return ["absent"]
        error = await self.kernel.sysfs_store(knob, operation.value)
        now = self.kernel.sysfs_show(knob)
        if knob in REST:
            await self.kernel.sysfs_store(knob, REST[knob])
        return [f"{errno_name(error) if error else 'ok'} now={now}"]

    async def _do_get(self, operation: Operation) -> list[str]:
        known = operation.word in self.kernel.sysfs_files()
        return [self.kernel.sysfs_show(operation.word) if known else "absent"]

    async def _do_sleep(self, operation: Operation) -> list[str]:
        await self.conductor.sleep(operation.number * NS_PER_MS)
        return ["ok"]

    async def _do_device(self, operation: Operation) -> list[str]:
        if operation.flags == ("none",):
            self.kernel.swap.size = 0
        else:
            self.kernel.swap.synchronous = operation.flags == ("sync",)
        return ["ok"]

    async def _do_drain(self, operation: Operation) -> list[str]:
        self.draining = operation.flags != ("off",)
        await self.drain()
        return ["ok"]

    # -- looking ------------------------------------------------------------------------------------------------

    async def _do_trees(self, operation: Operation) -> list[str]:
        return ["trees", *(f"    {line}" for line in self.inside.scan_order()), *self._trees()]

    async def _do_shared(self, operation: Operation) -> list[str]:
        process, address, _ = self._range(operation)
        return [self.page_map.sharers(process, address)]

    async def _do_procstat(self, operation: Operation) -> list[str]:
        """/proc/PID/ksm_stat; v3.9 does not have it: no values."""
        values = self.kernel.ksm_stat(self._process(operation).mm)
        return [" ".join(f"{name}={value}" for name, value in values.items())]

    async def _do_ktrace(self, operation: Operation) -> list[str]:
        """The ksm tracepoints hit since the last call; the first call starts the trace."""
        if not isinstance(self.kernel, Tracepoints):
            return ["absent"]
        if self.traced is None:
            self.traced = []
            self.kernel.register_trace(self._passed)
        lines = [f"      {line}" for line in self.traced]
        self.traced.clear()
        return ["ktrace", *lines]

    def _passed(self, name: str, error: int | None) -> None:
        assert self.traced is not None, "ktrace has made it a list before it asked for tracepoints"
        self.traced.append(name if error is None else f"{name} error {error}")


OPERATIONS: Final[dict[str, Callable[[EmulatorDriver, Operation], Awaitable[list[str]]]]] = {
    "requires": EmulatorDriver._do_requires,
    "proc": EmulatorDriver._do_proc,
    "fork": EmulatorDriver._do_fork,
    "exit": EmulatorDriver._do_exit,
    "exec": EmulatorDriver._do_exec,
    "map": EmulatorDriver._do_map,
    "fill": EmulatorDriver._do_fill,
    "fillrange": EmulatorDriver._do_fill,
    "fillseq": EmulatorDriver._do_fill,
    "check": EmulatorDriver._do_check,
    "checkrange": EmulatorDriver._do_check,
    "checkseq": EmulatorDriver._do_check,
    "read": EmulatorDriver._do_read,
    "mergeable": EmulatorDriver._do_madvise,
    "unmergeable": EmulatorDriver._do_madvise,
    "dontneed": EmulatorDriver._do_madvise,
    "swapout": EmulatorDriver._do_madvise,
    "free": EmulatorDriver._do_madvise,
    "munmap": EmulatorDriver._do_munmap,
    "mlock": EmulatorDriver._do_mlock,
    "munlock": EmulatorDriver._do_mlock,
    "prctl": EmulatorDriver._do_prctl,
    "pin": EmulatorDriver._do_pin,
    "unpin": EmulatorDriver._do_unpin,
    "process_vm_readv": EmulatorDriver._do_process_vm_readv,
    "hwpoison": EmulatorDriver._do_madvise,
    "softoffline": EmulatorDriver._do_madvise,
    "reclaim": EmulatorDriver._do_reclaim,
    "offline": EmulatorDriver._do_offline,
    "online": EmulatorDriver._do_online,
    "set": EmulatorDriver._do_set,
    "get": EmulatorDriver._do_get,
    "step": EmulatorDriver._do_step,
    "scan": EmulatorDriver._do_scan,
    "trace": EmulatorDriver._do_trace,
    "tracescan": EmulatorDriver._do_trace,
    "counters": EmulatorDriver._do_counters,
    "frames": EmulatorDriver._do_frames,
    "trees": EmulatorDriver._do_trees,
    "shared": EmulatorDriver._do_shared,
    "procstat": EmulatorDriver._do_procstat,
    "migrate": EmulatorDriver._do_migrate,
    "migrate1": EmulatorDriver._do_migrate,
    "where": EmulatorDriver._do_where,
    "mremap": EmulatorDriver._do_mremap,
    "ktrace": EmulatorDriver._do_ktrace,
    "drain": EmulatorDriver._do_drain,
    "device": EmulatorDriver._do_device,
    "sleep": EmulatorDriver._do_sleep,
    "hold": EmulatorDriver._do_hold,
    "bg": EmulatorDriver._do_bg,
    "release": EmulatorDriver._do_release,
    "disarm": EmulatorDriver._do_disarm,
    "signal": EmulatorDriver._do_signal,
    "settle": EmulatorDriver._do_settle,
}
"""Who performs which operation."""


def _size(text: str) -> int:
    """Bytes, from a number with or without K, M or G behind it."""
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1])
    return int(text) if unit is None else int(text[:-1]) * unit
