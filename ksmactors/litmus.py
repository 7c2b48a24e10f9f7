"""Litmus tests: a few actors run concurrently once, over one or two pages, on a machine without other actors.

    from ksmactors.litmus import Litmus, Scene

    class ScanMeetsMigration(Litmus):
        name = "scan_meets_migration"
        summary = "ksmd looks for the page of a stable node while the page moves to another node"

        async def run(self, scene: Scene) -> None:
            a = await scene.process("A", 7)
            await scene.process("B", 7)
            await scene.scan(2)
            await scene.process("C", 7)
            await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": scene.move(a, 0, 1)})

The host does everything else, alone, so that nothing else is left to choose. A schedule has the choices of the
concurrent part and no others, and that part can be enumerated. After `run` the watchers check as after any workload.
Processes have one region each; contents are small numbers (`token`), equal numbers are equal pages.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from typing_extensions import override

from ksmactors.errors import UsageError, WorkloadCrashed
from ksmactors.escaping import quoted
from ksmactors.events.catalogue import Field
from ksmactors.events.declared import PluginEvent
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.locks import WaitQueue
from ksmactors.ksm.kernel import Ksm
from ksmactors.machine import Machine
from ksmactors.marks import named
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame
from ksmactors.parameters import Bool, FilePath, Int, Str
from ksmactors.program import SETTLING_SCANS, Claims, Program, ProgramParts, called, checked_actors, guarded

__all__ = ["FULL_SCAN", "Bool", "Field", "FilePath", "Int", "Litmus", "PluginEvent", "Proc", "Scene", "Str"]

FULL_SCAN: Final = 1 << 30
"""Pages enough for `ksm_do_scan` to go on to the end of a full scan, where it always ends."""


T = TypeVar("T")


class Proc(NamedTuple):
    """A process: an address space with one region."""

    mm: AddressSpace
    start: int

    def at(self, index: int) -> int:
        """The address of a page."""
        return self.start + index * PAGE_SIZE


class Scene(Claims):
    """A machine without background actors, and the operations a litmus test performs on it.

    The actor that awaits a method performs its operations. In concurrent parts, other actors may run between any two.
    """

    def __init__(self, machine: Machine, program: Program) -> None:
        self.machine = machine
        self._trace = machine.trace
        self._program = program
        self.kernel: Ksm = machine.kernel
        self.conductor = machine.conductor
        self.has_swap = False
        self._ksmd_ended: WaitQueue | None = None
        """Where the host waits for ksmd, if there is one, to return."""

    async def concurrent(self, actors: Mapping[str, Coroutine[Any, Any, Any]]) -> dict[str, Any]:
        """Run actors concurrently, by name; return what each returned when all have ended.

        All reach their first operation before any of them does it, and no other actor takes part. Faults are injected
        here only: a sequential set-up relies on its results.
        """
        injector = self.machine.injector
        injector.start()
        try:
            return await run_concurrently(self.conductor, checked_actors(actors), self.tolerant)
        finally:
            injector.stop()

    meet = concurrent
    """Alias for existing workloads."""

    async def tolerant(self, code: Awaitable[T]) -> T | None:
        """Await an author's code. Under fault injection, a failed assertion ends the code, since an injected fault may
        have broken what it assumes; without, the workload has crashed.

        Raises:
            WorkloadCrashed: see `program.guarded`.
        """
        try:
            return await guarded(self._program, code)
        except WorkloadCrashed as crash:
            if self.machine.injector.rates and isinstance(crash.__cause__, AssertionError):
                return None
            raise

    # -- processes --------------------------------------------------------------------------------------------------

    async def process(self, name: str, *tokens: int, nid: int = 0, mergeable: bool = True) -> Proc:
        """A process with one region whose pages hold the tokens; its memory comes from node `nid`."""
        mm = self.kernel.mm_alloc(named("the name of a process", name))
        for token in tokens:
            if not isinstance(token, int):
                raise ValueError(f"process {name}: the content of a page is a whole number, not {quoted(token)}")
        pages = max(1, len(tokens))
        proc = Proc(mm, await self.kernel.mmap(mm, pages, self._node(nid)))
        for index, token in enumerate(tokens):
            await self.write(proc, index, token)
        if mergeable:
            error = await self.kernel.madvise(mm, proc.start, pages * PAGE_SIZE, MADV_MERGEABLE)
            assert not error
        return proc

    async def fork(self, parent: Proc, name: str) -> Proc:
        """A child, with the parent's region."""
        mm = await self.kernel.fork(parent.mm, name)
        assert isinstance(mm, AddressSpace), f"fork of {parent.mm.name}: {mm}"
        return Proc(mm, parent.start)

    async def exit(self, proc: Proc) -> None:
        """The process drops its page tables; it ends if no other process uses them."""
        await self.kernel.mmput(proc.mm)

    async def store(self, proc: Proc, index: int, token: int) -> int:
        """Write a page as a thread does: 0, or the error of the fault."""
        content = self.kernel.contents.token(token)
        while not await self.kernel.user_write(proc.mm, proc.at(index), content):
            failed = await self.kernel.fault(proc.mm, proc.at(index), True)
            if failed:
                return failed
        return 0

    async def write(self, proc: Proc, index: int, token: int) -> int:
        """`store`, and what is new does not stay in a pagevec, where it cannot be merged."""
        failed = await self.store(proc, index, token)
        await self.kernel.lru_add_drain_all()
        return failed

    async def read(self, proc: Proc, index: int) -> Content | int:
        """Read a page as a thread does: its content, or the error of the fault."""
        while (content := await self.kernel.user_read(proc.mm, proc.at(index))) is None:
            failed = await self.kernel.fault(proc.mm, proc.at(index), False)
            if failed:
                return failed
        return content

    async def guest_store(self, proc: Proc, index: int, token: int) -> int:
        """Write a page as a guest does that uses the process's memory: 0, or the error of its fault."""
        content = self.kernel.contents.token(token)
        while not await self.kernel.guest_write(proc.mm, proc.at(index), content):
            failed = await self.kernel.kvm_fault(proc.mm, proc.at(index), True)
            if failed:
                return failed
        return 0

    async def guest_load(self, proc: Proc, index: int) -> Content | int:
        """Read a page as a guest does: its content, or the error of its fault."""
        while (content := await self.kernel.guest_read(proc.mm, proc.at(index))) is None:
            failed = await self.kernel.kvm_fault(proc.mm, proc.at(index), False)
            if failed:
                return failed
        return content

    async def unmergeable(self, proc: Proc, index: int = 0, pages: int = 1) -> int:
        """MADV_UNMERGEABLE over some pages: 0 or a negative errno."""
        return await self.kernel.madvise(proc.mm, proc.at(index), pages * PAGE_SIZE, MADV_UNMERGEABLE)

    def frame(self, proc: Proc, index: int) -> Frame:
        """The frame that a page is in, for who looks and is no actor."""
        pte = self.kernel.page_at(proc.mm, proc.at(index))
        assert pte is not None, f"page {index} of {proc.mm.name} is not mapped"
        return pte.frame

    async def memory_failure(self, page: Frame) -> int:
        """The memory of a frame fails, as a scrubber notices: 0, or -EBUSY if it cannot be taken out of use."""
        return await self.kernel.memory_failure(page.pfn)

    # -- migration, reclaim -------------------------------------------------------------------------------------------

    async def move(self, proc: Proc, index: int, nid: int) -> int:
        """move_pages() of one page to a node, others' mappings included: its node now, or a negative errno."""
        return await self.kernel.move_pages(proc.mm, proc.at(index), self._node(nid), True)

    async def migrate(self, proc: Proc, index: int, nid: int) -> int:
        """`move`, and neither frame stays in a pagevec."""
        status = await self.move(proc, index, nid)
        await self.kernel.lru_add_drain_all()
        return status

    def start_swap(self) -> None:
        """Bring up the swap device; it writes when no actor can run, or when a schedule chooses it."""
        self.conductor.spawn("writeback", self.kernel.end_swap_writes(), daemon=True)
        self.has_swap = True

    async def swap_out(self) -> None:
        """Reclaim all memory; what was accessed lately, too."""
        await self.kernel.lru_add_drain_all()
        await self.kernel.try_to_free_pages(range(self.machine.nodes), 1 << 20)

    async def to_swap_cache(self, proc: Proc, index: int) -> None:
        """A page's round of reclaim up to its write, which has not ended: unmapped, and in the swap cache."""
        page = self.frame(proc, index)
        await self.kernel.lru_add_drain_all()
        await self.kernel.shrink_list([page])
        if proc.at(index) in proc.mm.ptes:  # it was accessed since the bit was last cleared
            await self.kernel.shrink_list([page])

    # -- ksmd and the knobs -------------------------------------------------------------------------------------------

    async def batch(self, pages: int) -> None:
        """One batch of ksmd, in the actor that awaits it; the first is the rest of the scan under way."""
        await self.kernel.ksm_thread_mutex.lock()
        await self.kernel.wait_while_offlining()
        await self.kernel.ksm_do_scan(pages)
        await self.kernel.ksm_thread_mutex.unlock()

    def start_ksmd(self) -> None:
        """Bring up the kernel thread itself, with its sleeps, where these matter. `end_ksmd` ends it."""
        self._ksmd_ended = WaitQueue(self.conductor, "ksmd to return")
        self.kernel.ksmd_actor = self.conductor.spawn("ksmd", self._ksmd(self._ksmd_ended), daemon=True)

    async def _ksmd(self, ended: WaitQueue) -> None:
        await self.kernel.ksm_scan_thread()
        self.kernel.ksmd_actor = None
        ended.wake_all()

    async def end_ksmd(self) -> None:
        """Have the kernel thread return, if there is one, so that the host can scan alone."""
        if self._ksmd_ended is not None:
            self.kernel.kthread_stop()
            while self.kernel.ksmd_actor is not None:
                await self._ksmd_ended.wait()

    async def scan(self, scans: int = 1) -> None:
        """Full scans, a batch each."""
        for _ in range(scans):
            await self.batch(FULL_SCAN)

    async def set(self, knob: str, value: object) -> int:
        """Write a file of /sys/kernel/mm/ksm: 0 or a negative errno."""
        return await self.kernel.sysfs_store(knob, str(value))

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """pages_shared, _sharing, _unshared, _volatile."""
        kernel = self.kernel
        return kernel.ksm_pages_shared, kernel.ksm_pages_sharing, kernel.ksm_pages_unshared, kernel.pages_volatile

    def _node(self, nid: int) -> int:
        """A node that there is.

        Raises:
            UsageError: there is no such node on this machine.
        """
        if not 0 <= nid < self.machine.nodes:
            name, nodes = self._program.name, self.machine.nodes
            raise UsageError(f"{name}: there is no node {nid} on a machine of {nodes} (--nodes)")
        return nid

    # -- the end ------------------------------------------------------------------------------------------------------

    async def quiesce(self) -> None:
        """Some full scans without other actors, then the watchers' verdict."""
        await self.kernel.lru_add_drain_all()
        await self.scan(SETTLING_SCANS)
        for watcher in self.machine.watchers:
            watcher.at_quiescence()

    async def farewell(self) -> None:
        """All processes exit, ksmd lets go of them, then the watchers' verdict."""
        for mm in self.kernel.address_spaces:
            if mm.users:
                await self.kernel.mmput(mm)
        await self.kernel.lru_add_drain_all()
        if self.has_swap:
            await self.swap_out()
        await self.scan(2)
        for watcher in self.machine.watchers:
            watcher.at_exit()


class Litmus(Program):
    """Base of litmus tests, see `Program`; `run` is what an author writes.

    ksmd, daemons and admins are those that it runs concurrently; the knob `run` is 1 from the start.
    """

    least_nodes: ClassVar[int] = 2
    """The NUMA nodes that it needs: most are about moving a page."""

    merge_across_nodes = Int(1, "knob merge_across_nodes at the start", high=1)

    @abstractmethod
    async def run(self, scene: Scene) -> None:
        """One schedule, up to the end of the concurrent part and its consequences."""

    @override
    async def perform(self, setting: ProgramParts) -> None:
        scene = Scene(setting.machine(), self)
        if scene.machine.nodes < self.least_nodes:
            raise UsageError(f"{self.name} needs {self.least_nodes} NUMA nodes, not {scene.machine.nodes} (--nodes)")
        scene.machine.injector.stop()
        await scene.set("merge_across_nodes", self.merge_across_nodes)
        await scene.set("run", 1)
        await scene.tolerant(called(self, self.run, scene))
        for watcher in scene.machine.watchers:
            watcher.at_rest()
        await scene.end_ksmd()
        await scene.set("run", 1)
        await scene.quiesce()
        await scene.farewell()
