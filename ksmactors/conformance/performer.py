"""Who performs a scenario on the emulator: one actor does what the script says, ksmd scans when it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from errno import errorcode
from typing import Final

from ksmactors.conformance.census import Census, Process, Region
from ksmactors.conformance.language import NEEDS, Comment, Operation, Scenario
from ksmactors.conformance.stepping import MILLISECOND_NS, REST, WHOLE_SCAN, Stepper
from ksmactors.conformance.structures import Counters, Structures
from ksmactors.errors import ScenarioError
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import MADV_DONTNEED, MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.content import Content

ADVICE: Final = {"mergeable": MADV_MERGEABLE, "unmergeable": MADV_UNMERGEABLE, "dontneed": MADV_DONTNEED}


class _Stop(Exception):  # no error: the scenario ends early and says why
    """End the scenario here."""


class Performer:
    """The actor of one scenario. Each method that performs an operation returns its result lines."""

    def __init__(self, scenario: Scenario, machine: Machine, kernel_label: str) -> None:
        self.scenario, self.kernel_label = scenario, kernel_label
        self.nodes, self.conductor, self.kernel = machine.nodes, machine.conductor, machine.kernel
        self.census = Census(self.kernel)
        self.structures = Structures(self.kernel, self.census)
        self.ksmd = Stepper(self.kernel, self.conductor)
        self.lines: list[str] = []
        self.missing = ""

    async def run(self) -> None:
        """Perform all operations in order."""
        if self._needs_more():
            return
        await self.ksmd.start()
        self.lines += [
            f"# scenario {self.scenario.name}", f"# kernel {self.kernel_label}", f"# nodes {self.nodes}",
            f"# start {Counters.of(self.kernel)}",
        ]  # fmt: skip
        for line in self.scenario.lines:
            if isinstance(line, Comment):
                self.lines.append(line.text)
                continue
            self.lines.append(f"> {line.text}")
            try:
                await self._perform(line)
            except _Stop:
                break

    async def _perform(self, operation: Operation) -> None:
        if operation.node >= self.nodes:
            text = f"there is no node {operation.node}; the machine has {self.nodes} (--nodes), numbered from 0"
            raise self._refused(operation, text)
        results = await OPERATIONS[operation.name](self, operation)
        self.lines += [f"= {result}" if result else "=" for result in results]
        await self.ksmd.rest()

    # -- processes and memory -----------------------------------------------------------------------------------

    async def _do_requires(self, operation: Operation) -> list[str]:
        what = self._unmet(operation)
        if what is None:
            return ["ok"]
        if what == "swap":
            self.missing = _missing("swap", "requires swap", operation.line)
        self.lines.append(f"= skip: no {what} here")
        raise _Stop

    def _unmet(self, operation: Operation) -> str | None:
        """What the machine lacks of what an operation `requires`."""
        kind, what = operation.flags[0], operation.word
        if kind == "nodes":
            return None if operation.number <= self.nodes else f"{operation.number} nodes"
        return None if kind == "knob" and what in self.kernel.sysfs_files() else what

    def _needs_more(self) -> bool:
        """Whether there is an operation that this version does not emulate: then nothing is performed at all."""
        for operation in self.scenario.operations:
            if operation.name == "requires" and self._unmet(operation):
                return False
            if operation.name in NEEDS:
                self.missing = _missing(NEEDS[operation.name], operation.name, operation.line)
                return True
        return False

    async def _do_proc(self, operation: Operation) -> list[str]:
        self.census.add(Process(operation.word, self.kernel.mm_alloc(operation.word)))
        return ["ok"]

    async def _do_fork(self, operation: Operation) -> list[str]:
        parent = self._process(operation)
        mm = await self.kernel.fork(parent.mm, operation.word)
        if not isinstance(mm, AddressSpace):
            return [_result(mm)]
        self.census.add(Process(operation.word, mm, dict(parent.regions), list(parent.named)))
        return ["ok"]

    async def _do_exit(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        process.exited = True
        await self.kernel.mmput(process.mm)
        return ["ok"]

    async def _do_map(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        start = await self.kernel.mmap(process.mm, operation.number, max(operation.node, 0))
        if start < 0:
            return [_result(start)]
        process.add(Region(operation.word, start, operation.number))
        return ["ok"]

    async def _do_mremap(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        region = self._region(operation)
        start = await self.kernel.mremap(process.mm, region.start, region.pages * PAGE_SIZE)
        if start < 0:
            return [_result(start)]
        process.regions.pop(region.name)
        process.add(Region(operation.word, start, region.pages))
        return ["ok"]

    async def _do_munmap(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        return [_result(await self.kernel.munmap(process.mm, start, length))]

    async def _do_madvise(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        return [_result(await self.kernel.madvise(process.mm, start, length, ADVICE[operation.name]))]

    def _process(self, operation: Operation) -> Process:
        process = self.census.of_name(operation.process)
        if process is None:
            raise self._refused(operation, f"there is no process {operation.process}: its fork failed")
        return process

    def _region(self, operation: Operation) -> Region:
        region = self._process(operation).regions.get(operation.region)
        if region is None:
            text = f"process {operation.process} has no region {operation.region}: the operation that makes it failed"
            raise self._refused(operation, text)
        return region

    def _refused(self, operation: Operation, what: str) -> ScenarioError:
        return ScenarioError(f"{self.scenario.origin}:{operation.line}: {what}")

    def _range(self, operation: Operation) -> tuple[Process, int, int]:
        """The process and the bytes that an operation is about: (process, start, length)."""
        process = self._process(operation)
        start = self._region(operation).start + operation.first * PAGE_SIZE
        return process, start, (operation.end - operation.first) * PAGE_SIZE

    # -- contents -----------------------------------------------------------------------------------------------

    def _expected(self, operation: Operation) -> Iterable[tuple[int, Content]]:
        """The addresses of an operation's pages, and what its token says is in each."""
        _, start, length = self._range(operation)
        step = 1 if operation.name.endswith("seq") else 0
        for index in range(length // PAGE_SIZE):
            token = (operation.token + index * step) % (1 << 64)
            yield start + index * PAGE_SIZE, self.kernel.contents.token(token)

    async def _do_fill(self, operation: Operation) -> list[str]:
        mm = self._process(operation).mm
        for address, content in self._expected(operation):
            while not await self.kernel.user_write(mm, address, content):
                error = await self.kernel.fault(mm, address, True)
                if error:
                    return [_result(error)]
        return ["ok"]

    async def _do_check(self, operation: Operation) -> list[str]:
        mm = self._process(operation).mm
        bad = 0
        for address, content in self._expected(operation):
            read = await self._read(mm, address)
            if isinstance(read, int):
                return [_result(read)]
            bad += read is not content
        return [f"BAD {bad}" if bad else "ok"]

    async def _do_read(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        for address in range(start, start + length, PAGE_SIZE):
            read = await self._read(process.mm, address)
            if isinstance(read, int):
                return [_result(read)]
        return ["ok"]

    async def _read(self, mm: AddressSpace, address: int) -> Content | int:
        """Read a page as a thread does, faults included: its content, or a negative errno."""
        while True:
            content = await self.kernel.user_read(mm, address)
            if content is not None:
                return content
            error = await self.kernel.fault(mm, address, False)
            if error:
                return error

    # -- nodes --------------------------------------------------------------------------------------------------

    async def _do_migrate(self, operation: Operation) -> list[str]:
        process, address, _ = self._range(operation)
        status = await self.kernel.move_pages(process.mm, address, operation.node, operation.name == "migrate")
        return [f"ret=0 status={_status(status)}"]

    async def _do_where(self, operation: Operation) -> list[str]:
        process, address, _ = self._range(operation)
        pte = self.kernel.page_at(process.mm, address)
        if pte is None or pte.frame is self.kernel.zero_page:
            return ["status=-ENOENT"]
        return [f"node {pte.frame.nid}"]

    # -- knobs and time -----------------------------------------------------------------------------------------

    async def _do_set(self, operation: Operation) -> list[str]:
        knob = operation.word
        if knob not in self.kernel.sysfs_files():
            return ["absent"]
        error = await self.kernel.sysfs_store(knob, operation.value)
        now = self.kernel.sysfs_show(knob)
        if knob in REST:
            await self.kernel.sysfs_store(knob, REST[knob])
        return [f"{_errno(error) if error else 'ok'} now={now}"]

    async def _do_get(self, operation: Operation) -> list[str]:
        known = operation.word in self.kernel.sysfs_files()
        return [self.kernel.sysfs_show(operation.word) if known else "absent"]

    async def _do_sleep(self, operation: Operation) -> list[str]:
        await self.conductor.sleep(operation.number * MILLISECOND_NS)
        return ["ok"]

    async def _do_drain(self, operation: Operation) -> list[str]:
        """Nothing to do: a page is on its LRU list as soon as it is mapped, there are no per-CPU batches."""
        return ["ok"]

    # -- ksmd ---------------------------------------------------------------------------------------------------

    async def _do_step(self, operation: Operation) -> list[str]:
        batch = await self.ksmd.batch(operation.number)
        done = f"step asked={operation.number} full_scans=+{batch.full_scans} scanned={batch.scanned}"
        return [done + " idle" * batch.idle]

    async def _do_scan(self, operation: Operation) -> list[str]:
        scanned = full_scans = 0
        idle = False
        for _ in range(operation.number):
            batch = await self.ksmd.batch(WHOLE_SCAN)
            scanned, full_scans, idle = scanned + batch.scanned, full_scans + batch.full_scans, batch.idle
            if idle:
                break
        return [f"scan full_scans=+{full_scans} scanned={scanned}" + " idle" * idle]

    async def _do_trace(self, operation: Operation) -> list[str]:
        views = [view for flag, view in (("frames", self._frames), ("trees", self._trees)) if flag in operation.flags]
        shown = [view() for view in views]
        results: list[str] = []
        steps = full_scans = 0
        idle = False
        while not idle and (full_scans if operation.name == "tracescan" else steps) < operation.number:
            batch = await self.ksmd.batch(1)
            steps, full_scans, idle = steps + 1, full_scans + batch.full_scans, batch.idle
            note = " idle" if idle else " end-of-scan" if batch.full_scans else ""
            results.append(f"t{steps} {Counters.of(self.kernel)}{note}")
            for index, view in enumerate(views):
                now = view()
                if now != shown[index]:
                    shown[index] = now
                    results += now
        return results

    # -- looking ------------------------------------------------------------------------------------------------

    def _frames(self) -> list[str]:
        return [f"  {line}" for line in self.census.frames()]

    def _trees(self) -> list[str]:
        return [f"    {line}" for line in self.structures.trees()]

    async def _do_counters(self, operation: Operation) -> list[str]:
        return [f"counters {Counters.of(self.kernel)}"]

    async def _do_frames(self, operation: Operation) -> list[str]:
        return ["frames", *self._frames()]

    async def _do_trees(self, operation: Operation) -> list[str]:
        return ["trees", *(f"    {line}" for line in self.structures.scan_order()), *self._trees()]

    async def _do_shared(self, operation: Operation) -> list[str]:
        process, address, _ = self._range(operation)
        return [self.census.sharers(process, address)]

    async def _do_procstat(self, operation: Operation) -> list[str]:
        """/proc/PID/ksm_stat, which v3.9 does not have: no lines."""
        return [""]

    async def _do_ktrace(self, operation: Operation) -> list[str]:
        """The ksm tracepoints, which v3.9 does not have."""
        return ["absent"]


OPERATIONS: Final[dict[str, Callable[[Performer, Operation], Awaitable[list[str]]]]] = {
    "requires": Performer._do_requires,
    "proc": Performer._do_proc,
    "fork": Performer._do_fork,
    "exit": Performer._do_exit,
    "map": Performer._do_map,
    "fill": Performer._do_fill,
    "fillrange": Performer._do_fill,
    "fillseq": Performer._do_fill,
    "check": Performer._do_check,
    "checkrange": Performer._do_check,
    "checkseq": Performer._do_check,
    "read": Performer._do_read,
    "mergeable": Performer._do_madvise,
    "unmergeable": Performer._do_madvise,
    "dontneed": Performer._do_madvise,
    "munmap": Performer._do_munmap,
    "set": Performer._do_set,
    "get": Performer._do_get,
    "step": Performer._do_step,
    "scan": Performer._do_scan,
    "trace": Performer._do_trace,
    "tracescan": Performer._do_trace,
    "counters": Performer._do_counters,
    "frames": Performer._do_frames,
    "trees": Performer._do_trees,
    "shared": Performer._do_shared,
    "procstat": Performer._do_procstat,
    "migrate": Performer._do_migrate,
    "migrate1": Performer._do_migrate,
    "where": Performer._do_where,
    "mremap": Performer._do_mremap,
    "ktrace": Performer._do_ktrace,
    "drain": Performer._do_drain,
    "sleep": Performer._do_sleep,
}
"""Who performs which operation; the others are in `language.NEEDS`."""


def _missing(what: str, operation: str, line: int) -> str:
    return f"needs {what} (operation '{operation}', line {line}), which this version does not emulate"


def _errno(error: int) -> str:
    return errorcode[-error]


def _status(status: int) -> str:
    return str(status) if status >= 0 else f"-{_errno(status)}"


def _result(error: int) -> str:
    return f"error {_errno(error)}" if error < 0 else "ok"
