"""The performer inside of a guest: what a live run does, and what it spares others on a machine that is not its own.

All processes of a scenario are in a memory cgroup of their own, which can be reclaimed. The swap device is a RAM disk,
as it was in recordings: it writes synchronously.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from typing_extensions import override

from ksmactors.conformance.language import Operation, Scenario
from ksmactors.conformance.live import INTERLEAVED, LOSING, Live, LivePerformer, has_swap
from ksmactors.conformance.live_ksm import Disturbed
from ksmactors.conformance.live_world import LiveProcess, World, fork_of, launch
from ksmactors.conformance.page_map import NamedPages
from ksmactors.conformance.transcript import ScenarioEnded, Transcript, bare_word
from ksmactors.mm.const import PAGE_SIZE

CGROUPS: Final = Path("/sys/fs/cgroup")
BLOCKS: Final = Path("/sys/devices/system/memory")
TRACING: Final = Path("/sys/kernel/tracing")

MOVABLE: Final = "Movable"
"""The zone of memory that holds movable pages alone."""

RAM_DISK: Final = "/dev/ram0"
RAM_DISK_KIB: Final = 65536
RECLAIMS: Final = 8
"""How often an operation `reclaim` asks, as in recordings."""

PROCESSOR: Final = {0}
"""Where this program and all processes run: batches are a processor's own, and requests need not wake another one."""

OFFLINE_SECONDS: Final = 5
"""After how long a signal ends the attempt to take memory offline, as in recordings."""

TRACED: Final = re.compile(r": (ksm_\w+): (?:.*(error -?\d+))?")

libc: Final = ctypes.CDLL(None, use_errno=True)


def write(path: Path, text: str) -> int:
    """Write to a file of the kernel with one system call, which a signal ends: 0 or a negative errno."""
    data = text.encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return 0 if libc.write(descriptor, data, ctypes.c_size_t(len(data))) == len(data) else -ctypes.get_errno()
    finally:
        os.close(descriptor)


def add_swap(modules: Path | None) -> None:
    """Use a RAM disk for swap; without the module `brd` there is none, and scenarios that need swap are skipped."""
    if modules is not None:
        for module in sorted(modules.glob("kernel/drivers/block/brd.ko*")):
            run("insmod", str(module), "rd_nr=1", f"rd_size={RAM_DISK_KIB}")
    if Path(RAM_DISK).exists():
        run("mkswap", RAM_DISK)
        run("swapon", RAM_DISK)


def run(*command: str) -> None:
    """Run a program of the system; what follows shows whether it has worked."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    with suppress(OSError):
        subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={"PATH": path},
        )  # fmt: skip


class OwnWorld(World):
    """Processes in a cgroup of their own.

    Each is a fork of one process that has never advised any memory: to start an interpreter takes seconds on an
    emulated processor.
    """

    cgroup: Path | None = None

    def __init__(self, own: OwnMachine) -> None:
        super().__init__(own.pages, own.inside)
        self.own, self.cgroup = own, own.cgroup

    @override
    def new_process(self, name: str) -> LiveProcess:
        pid, orders = fork_of(self.own.template)
        if pid < 0:
            raise Disturbed(f"process {name} could not be started: {os.strerror(-pid)}")
        if self.cgroup is not None:
            write(self.cgroup / "cgroup.procs", str(pid))
        return LiveProcess(name, pid, orders, names=NamedPages(name))


class OwnPerformer(LivePerformer):
    """Performs a scenario on a machine that nobody else uses."""

    def __init__(self, scenario: Scenario, own: OwnMachine, written: Callable[[str], None] | None) -> None:
        super().__init__(scenario, own, OwnWorld(own), written)
        self.own = own

    @override
    async def perform(self, operation: Operation) -> list[str]:
        own = OWN_OPERATIONS.get(operation.name)
        if own is None:
            return await super().perform(operation)
        results = await self.unless_killed(operation, own(self, operation))
        self.ksm.settle()
        return results

    async def _do_own_device(self, operation: Operation) -> list[str]:
        if operation.flags == ("none",):
            run("swapoff", RAM_DISK)
        return ["ok"]

    async def _do_reclaim(self, operation: Operation) -> list[str]:
        assert self.own.cgroup is not None, "a machine without cgroups lacks this operation"
        for _ in range(RECLAIMS):
            write(self.own.cgroup / "memory.reclaim", operation.value)
        return ["ok"]

    async def _do_offline(self, operation: Operation) -> list[str]:
        process, start, _ = self._range(operation)
        (sight,) = self.pages.sights(process.pid, [start])
        if sight.pfn < 0:
            return ["ENOENT"]
        size = int((BLOCKS / "block_size_bytes").read_text(), 16)
        block = f"memory{sight.pfn * PAGE_SIZE // size}"
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, OFFLINE_SECONDS)
        try:
            error = write(BLOCKS / block / "state", "offline")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        if error == -errno.EBUSY and (reason := self.own.keeps(block)):
            self.write(f"= skip: offline refused (EBUSY): {reason}")
            raise ScenarioEnded
        return [bare_word(error)]

    async def _do_online(self, operation: Operation) -> list[str]:
        self.own.online_all()
        return ["ok"]

    async def _do_softoffline(self, operation: Operation) -> list[str]:
        """A page that waits in a per-CPU batch has a reference too many to be moved."""
        self._drain()
        return await self._do_madvise(operation)

    async def _do_ktrace(self, operation: Operation) -> list[str]:
        """The ksm tracepoints hit since the last call; the first call starts the trace."""
        if not (TRACING / "events" / "ksm").is_dir():
            return ["absent"]
        lines: list[str] = []
        if self.own.traced:
            found = TRACED.findall((TRACING / "trace").read_text())
            lines = [f"      {name} {error}".rstrip() for name, error in found]
        self.own.trace(on=True)
        return ["ktrace", *lines]


OWN_OPERATIONS: Final[dict[str, Callable[[OwnPerformer, Operation], Awaitable[list[str]]]]] = {
    "reclaim": OwnPerformer._do_reclaim,
    "offline": OwnPerformer._do_offline,
    "online": OwnPerformer._do_online,
    "ktrace": OwnPerformer._do_ktrace,
    "device": OwnPerformer._do_own_device,
    "hwpoison": OwnPerformer._do_madvise,
    "softoffline": OwnPerformer._do_softoffline,
}


class OwnMachine(Live):
    """This machine, which is a guest's: everything may be done to it. `modules` has the modules of its kernel."""

    holds = True
    interleaved: Callable[[Scenario, OwnMachine, Callable[[str], None] | None], LivePerformer] | None = None
    """Makes the performer of a scenario in which tasks are held."""

    def __init__(self, modules: Path | None) -> None:
        super().__init__()
        self.cgroup = _cgroup()
        self.zones = zones()
        os.sched_setaffinity(0, PROCESSOR)  # all that it starts stays there, too
        self.template = launch("template")
        self.template.ping()
        self.traced = False
        self.failed = False
        """Whether memory has failed in an earlier scenario: those frames are lost until the next boot."""
        add_swap(modules)
        self.swap = has_swap()
        self.not_done = {} if self.cgroup else {"reclaim": "needs a memory cgroup with memory.reclaim"}

    @override
    def perform(self, scenario: Scenario, written: Callable[[str], None] | None = None) -> Transcript:
        try:
            return super().perform(scenario, written)
        finally:
            self.failed = self.failed or any(operation.done.name in LOSING for operation in scenario.operations)
            self.trace(on=False)
            self.online_all()
            if self.swap and not has_swap():
                run("swapon", RAM_DISK)

    @override
    def performer(self, scenario: Scenario, written: Callable[[str], None] | None) -> LivePerformer:
        if self.interleaved is not None and any(operation.name in INTERLEAVED for operation in scenario.operations):
            return self.interleaved(scenario, self, written)
        return OwnPerformer(scenario, self, written)

    @override
    def lacks_device(self, operation: Operation, where: str) -> str:
        late = operation.flags == ("async",)
        return f"needs a swap device that writes later {where}, and a guest's is a RAM disk" if late else ""

    def keeps(self, block: str) -> str:
        """Return why a memory block may have to stay online for a reason of the guest's own; empty if there is none."""
        if self.zones.get(block) != MOVABLE:
            return "the kernel has pages of its own in this memory"
        return "memory has failed in an earlier scenario of this boot" if self.failed else ""

    def online_all(self) -> None:
        """Bring every memory block online, in the zone that it had.

        Of itself the kernel may choose another zone for a block at the end of one. Then it has pages of its own there,
        and the block cannot be taken offline any more.
        """
        for block in sorted(BLOCKS.glob("memory[0-9]*")):
            if (block / "state").read_text().strip() == "offline":
                write(block / "state", "online_movable" if self.zones.get(block.name) == MOVABLE else "online")

    def trace(self, *, on: bool) -> None:
        """Start the ksm tracepoints with an empty trace, or stop them."""
        if on or self.traced:
            write(TRACING / "events" / "ksm" / "enable", str(int(on)))
            (TRACING / "trace").write_text("")  # what is written does not matter: truncating clears it
        self.traced = on


def zones() -> dict[str, str]:
    """Return the zone of each memory block that is online, by the name of the block."""
    return {block.name: (block / "valid_zones").read_text().strip() for block in BLOCKS.glob("memory[0-9]*")}


def _cgroup() -> Path | None:
    """Return a memory cgroup for the processes of scenarios; None if this kernel has none."""
    try:
        write(CGROUPS / "cgroup.subtree_control", "+memory")
        cgroup = CGROUPS / "scenario"
        cgroup.mkdir(exist_ok=True)
    except OSError:
        return None
    return cgroup if (cgroup / "memory.reclaim").exists() else None
