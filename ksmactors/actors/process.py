"""Processes as a workload sees them, and their threads.

What a process does is done by the actor that calls: a thread of the process, or the workload itself. An access to
memory goes as on a CPU: try; if the page table does not allow it, have the actor's page-fault handler serve a
fault; try again. Others may move at each of these steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from errno import EFAULT, EINTR, EIO, ENODEV, ENOMEM, ESRCH
from typing import Any

from ksmactors.actors.devices import Pin
from ksmactors.actors.faults import FaultRequest
from ksmactors.actors.kthreads import Kthreads
from ksmactors.actors.migration import MoveRequest
from ksmactors.actors.region import BusError, EmulatedFault, OutOfMemory, ProcessExited, Region, SegmentationFault
from ksmactors.actors.unmerge import Sweep
from ksmactors.interleave.actor import RELEASE, Actor
from ksmactors.interleave.locks import WaitQueue
from ksmactors.marks import named
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EHWPOISON, ERESTARTSYS, MADV_DONTNEED, MADV_FREE, MADV_MERGEABLE, MADV_PAGEOUT, PAGE_SIZE
from ksmactors.mm.content import Content
from ksmactors.quantity import quantity

Body = Callable[..., Awaitable[None]]
Guard = Callable[..., Awaitable[None]]
"""Calls a body with what follows it, and awaits that."""


class Thread:
    """A running thread of a process; made by `Process.spawn`."""

    def __init__(self, process: Process, name: str) -> None:
        self.process, self.name = process, name
        self.ended = False
        self.actor: Actor

    async def join(self) -> None:
        """Wait until it has ended."""
        while not self.ended:
            await self.process.kthreads.thread_ended.wait()


class Process:
    """An emulated process: an address space, and threads that use it.

    System calls answer 0 or a negative errno, as the kernel does, or what they make. Pages are counted from 0
    within their region. Every call may be interleaved with everything else, at each of its steps.
    """

    def __init__(
        self, kthreads: Kthreads, guard: Guard, family: dict[str, Process], mm: AddressSpace, node: int
    ) -> None:
        self.kthreads, self.mm, self.node = kthreads, mm, node
        self.exited = False
        self._guard = guard
        self._family = family
        self._kernel = kthreads.machine.kernel
        self._spawned = 0
        self._callers: list[Actor] = []
        self._killed = False
        self._threads: set[int] = set()
        self._left_behind: set[int] = set()
        """By number, the actors of its threads, and of those that an exec has ended."""
        self._pins: list[Pin] = []
        self._calm = WaitQueue(kthreads.machine.conductor, f"calls of {mm.name} to end")
        family[mm.name] = self

    @property
    def name(self) -> str:
        """The name it was given."""
        return self.mm.name

    # -- threads --------------------------------------------------------------------------------------------------

    def spawn(self, body: Body, *args: Any) -> Thread:
        """Start a thread that runs `body(process, *args)`; it is called A.0, A.1, ... in process A."""
        self._must_run()
        thread = Thread(self, f"{self.name}.{self._spawned}")
        self._spawned += 1
        self.kthreads.threads_alive += 1
        thread.actor = self.kthreads.machine.conductor.spawn(
            thread.name, self._live(thread, body, args), cpu=self.kthreads.next_cpu(self.node), node=self.node
        )
        self._threads.add(thread.actor.number)
        return thread

    async def _live(self, thread: Thread, body: Body, args: tuple[Any, ...]) -> None:
        try:
            await self._guard(body, self, *args)
        except EmulatedFault:
            if thread.actor.number not in self._left_behind:
                await self.exit()  # the signal was not handled
        thread.ended = True
        self.kthreads.thread_has_ended()

    # -- memory ---------------------------------------------------------------------------------------------------

    async def map(self, pages: int, *, node: int | None = None) -> Region:
        """mmap: private anonymous memory above all other, its pages preferably from `node` (default: the process's)."""
        nid = self.node if node is None else node
        if pages < 1 or not 0 <= nid < self.kthreads.machine.nodes:
            raise ValueError(f"{self.name}: cannot map {quantity(pages, 'page')} on node {nid}")
        with self._call():
            start = await self._kernel.mmap(self.mm, pages, nid)
        if start < 0:
            raise OutOfMemory(f"{self.name}: mmap of {quantity(pages, 'page')}: errno {-start}")
        return Region(start, pages)

    async def write(self, region: Region, index: int, content: Content | int | bytes) -> None:
        """Overwrite a page with a content, with the page that a token stands for, or with 4096 bytes."""
        address, value = region.address(index), self._content(content)
        with self._call():
            while not await self._kernel.user_write(self.mm, address, value):
                await self._fault(address, True)

    async def read(self, region: Region, index: int) -> Content:
        """Read a page."""
        address = region.address(index)
        with self._call():
            while (content := await self._kernel.user_read(self.mm, address)) is None:
                await self._fault(address, False)
        return content

    async def mergeable(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """madvise(MADV_MERGEABLE) on pages `first` to `end` - 1."""
        return await self._madvise(region, first, end, MADV_MERGEABLE)

    async def unmergeable(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """madvise(MADV_UNMERGEABLE), carried out by the process's own unmerge worker."""
        start, length = region.span(first, end)
        with self._call():
            return await self.kthreads.sweep(Sweep(self.mm, start, length))

    async def dontneed(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """madvise(MADV_DONTNEED): the pages are zero when next touched."""
        return await self._madvise(region, first, end, MADV_DONTNEED)

    async def free(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """madvise(MADV_FREE): reclaim may drop the pages unless they are written again. -EINVAL on kernels that do not
        know it."""
        return await self._madvise(region, first, end, MADV_FREE)

    async def merge_any(self, *, on: bool = True) -> int:
        """prctl(PR_SET_MEMORY_MERGE): all that the process maps, now and later, is mergeable; without `on`, nothing is
        any more. -EINVAL on kernels that do not know it."""
        with self._call():
            failed = await self._kernel.prctl_set_memory_merge(self.mm, on)
        return -EINTR if failed == -ERESTARTSYS else failed

    async def munmap(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """munmap; an access to the pages is a SegmentationFault from now on."""
        start, length = region.span(first, end)
        with self._call():
            return await self._kernel.munmap(self.mm, start, length)

    async def mremap(self, region: Region, first: int = 0, end: int | None = None) -> Region | int:
        """mremap of the pages `first` to `end` - 1 to a new place above all other: the region there, or a negative
        errno."""
        start, length = region.span(first, end)
        with self._call():
            moved = await self._kernel.mremap(self.mm, start, length)
        if moved == -ERESTARTSYS:
            return -EINTR
        return moved if moved < 0 else Region(moved, length // PAGE_SIZE)

    async def migrate(self, region: Region, index: int, nid: int, *, move_all: bool = True) -> int:
        """move_pages of one page, by the migration daemon of node `nid`: the node it is on now, or a negative errno.

        -ESRCH if the process has exited, -ENODEV if there is no such node. The process may exit meanwhile.
        """
        address = region.address(index)
        if self.exited:
            return -ESRCH
        if not 0 <= nid < self.kthreads.machine.nodes:
            return -ENODEV
        return await self.kthreads.move(MoveRequest(self.mm, address, nid, move_all))

    async def swapout(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """madvise(MADV_PAGEOUT): pages that no other process maps go to swap. -EINVAL on kernels without it."""
        self.kthreads.start_reclaim(0)
        return await self._madvise(region, first, end, MADV_PAGEOUT)

    def node_of(self, region: Region, index: int) -> int | None:
        """The node that a page is on at this instant; None if it is not in memory."""
        pte = self._kernel.page_at(self.mm, region.address(index))
        return None if pte is None else pte.frame.nid

    async def mlock(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """mlock: the pages `first` to `end` - 1 come into memory and stay there."""
        return await self._mlock(region, first, end, on=True)

    async def munlock(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """munlock: the pages may be swapped out again."""
        return await self._mlock(region, first, end, on=False)

    async def _mlock(self, region: Region, first: int, end: int | None, *, on: bool) -> int:
        start, length = region.span(first, end)
        with self._call():
            return await self._kernel.mlock(self.mm, start, length, on=on)

    async def pin(self, region: Region, index: int, *, write: bool = False, dma: bool = False) -> Pin:
        """get_user_pages of one page, as vmsplice does, for a device that reads or (`write`) writes it, at moments of
        its own: the page can be neither merged nor migrated until `unpin`. With `dma` it is pin_user_pages, as of
        direct I/O, which has a KSM page unshared first since v5.19. What is still pinned when the process exits is let
        go then."""
        address = region.address(index)
        with self._call():
            io = await self._kernel.start_io(self.mm, address, write, dma=dma)
            if isinstance(io, int):
                self._fail(io, address)
                raise ProcessExited(f"{self.name} was killed")
            pin = Pin(region, index, io.page, io)
            self._pins.append(pin)
            self.kthreads.start_io(self.name, io)
        return pin

    async def unpin(self, pin: Pin) -> None:
        """The end of the I/O: the extra reference is dropped, here or, if it has been already, nothing happens."""
        if pin in self._pins:
            self._pins.remove(pin)
            await self._kernel.end_io(pin.io)

    def in_swap(self, region: Region, index: int) -> bool:
        """Whether a page is swapped out at this instant (it may still be in the swap cache)."""
        return region.address(index) in self.mm.swap_ptes

    def fail_swap_read(self, region: Region, index: int) -> bool:
        """From now on the device cannot read a page back that is swapped out: an access to it gets a BusError, once
        it is no longer in memory. False: it is not swapped out."""
        slot = self.mm.swap_ptes.get(region.address(index))
        if slot is not None:
            slot.bad = True
        return slot is not None

    # -- the process itself ---------------------------------------------------------------------------------------

    async def fork(self, name: str) -> Process | int:
        """fork: a child with a copy of the address space and no threads yet, or a negative errno."""
        if named("the name of a process", name) in self._family:
            raise ValueError(f"there is a process {name} already")
        with self._call():
            mm = await self._kernel.fork(self.mm, name)
        return mm if isinstance(mm, int) else Process(self.kthreads, self._guard, self._family, mm, self.node)

    async def exec(self) -> int:
        """execve: 0 and a new, empty address space, or -ENOMEM and all is as before.

        The other threads of the process end at their next call; the old address space goes when those under way have
        ended.
        """
        self._must_run()
        turn = self.kthreads.machine.conductor.turn
        mm = await self._kernel.exec_mm(self.mm)
        if isinstance(mm, int):
            return mm
        self._left_behind |= self._threads - {turn.number}
        self._threads &= {turn.number}
        self._interrupt()
        while self._callers:
            await self._calm.wait()
        try:
            self._must_run()
        except ProcessExited:
            await self._kernel.mmput(mm)
            raise
        old, self.mm = self.mm, mm
        await self._kernel.mmput(old)
        return 0

    def interrupt(self) -> None:
        """Send a signal that has a handler to all threads: unmerging that is under way ends with -EINTR."""
        self._interrupt()

    async def kill(self) -> None:
        """SIGKILL, from the caller: calls under way end as early as they can, then the process exits."""
        self._killed = True
        self._interrupt()
        await self.exit()

    async def exit(self) -> None:
        """exit_group: no thread starts another call; when those under way have ended, the address space goes.

        Pages that are pinned outlive it: I/O ends when it ends.
        """
        if self.exited:
            return
        self.exited = True
        while self._callers:
            await self._calm.wait()
        await self._kernel.mmput(self.mm)
        for pin in list(self._pins):
            await self.unpin(pin)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _must_run(self) -> None:
        if self.exited:
            raise ProcessExited(f"{self.name} has exited")
        if self.kthreads.machine.conductor.turn.number in self._left_behind:
            raise ProcessExited(f"{self.name} has become another program")

    def _interrupt(self) -> None:
        for actor in self._callers:
            actor.signal_pending = True
        self.kthreads.interrupt_sweep(self.name)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Keep the address space for as long as a call of the process is under way."""
        self._must_run()
        self._maybe_inject()
        conductor, mm = self.kthreads.machine.conductor, self.mm
        turn = conductor.turn
        self._callers.append(turn)
        try:
            yield
        finally:
            conductor.touch(RELEASE, mm, "users")  # as the mmput of a thread that exits after its last call
            self._callers.remove(turn)
            turn.signal_pending = False
            if not self._callers:
                self._calm.wake_all()

    def _maybe_inject(self) -> None:
        nemesis = self.kthreads.nemesis
        if nemesis.fires("kill"):
            self.kthreads.spawn(f"killer/{nemesis.strokes}", nemesis.kill, self.name, self.kill)
        if nemesis.fires("freeze"):
            self.kthreads.spawn(f"freezer/{nemesis.strokes}", nemesis.freeze)

    async def _madvise(self, region: Region, first: int, end: int | None, advice: int) -> int:
        start, length = region.span(first, end)
        with self._call():
            return await self._kernel.madvise(self.mm, start, length, advice)

    async def _fault(self, address: int, write: bool) -> None:
        self._fail(await self.kthreads.fault(FaultRequest(self.mm, address, write)), address)
        if self._killed:
            raise ProcessExited(f"{self.name} was killed")

    def _fail(self, error: int, address: int) -> None:
        """Raise what the kernel does to a thread whose access came to an error."""
        if error == -EFAULT:
            raise SegmentationFault(f"{self.name}: nothing is mapped at {address:#x}")
        if error == -EIO:
            raise BusError(f"{self.name}: {address:#x} cannot be read from swap")
        if error == -EHWPOISON:
            raise BusError(f"{self.name}: what was at {address:#x} is lost")
        if error == -ENOMEM:
            raise OutOfMemory(f"{self.name}: no frame for {address:#x}")

    def _content(self, content: Content | int | bytes) -> Content:
        if isinstance(content, Content):
            return content
        contents = self._kernel.contents
        if isinstance(content, int):
            if not 0 <= content < 1 << 64:
                raise ValueError(f"a token is a number from 0 to 2**64 - 1, not {content}")
            return contents.token(content)
        if len(content) != PAGE_SIZE:
            raise ValueError(f"a page has {PAGE_SIZE} bytes, not {len(content)}")
        return contents.of(content)
