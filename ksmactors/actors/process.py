"""Processes as a workload sees them, and their threads.

What a process does is done by the actor that calls: a thread of the process, or the workload itself. An access to
memory goes as on a CPU: try; if the page table does not allow it, have the actor's page-fault handler serve a
fault; try again. Others may move at each of these steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EFAULT, ENODEV, ENOMEM, ESRCH
from typing import Any

from ksmactors.actors.crew import Crew
from ksmactors.actors.faults import FaultRequest
from ksmactors.actors.migration import MoveRequest
from ksmactors.actors.unmerge import Sweep
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.locks import WaitQueue
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import MADV_DONTNEED, MADV_MERGEABLE, PAGE_SIZE
from ksmactors.mm.content import Content

Body = Callable[..., Awaitable[None]]
Guard = Callable[[Awaitable[None]], Awaitable[None]]


class EmulatedFault(Exception):
    """Something happened to an emulated process that its program may handle; nothing is wrong with the emulator.

    A thread that does not catch it ends its process, as the kernel would.
    """


class SegmentationFault(EmulatedFault):
    """An access to an address at which nothing is mapped (SIGSEGV)."""


class OutOfMemory(EmulatedFault):
    """No frame could be had on any node."""


class ProcessExited(EmulatedFault):
    """The process has exited, or is about to: its threads can do nothing more."""


@dataclass(frozen=True, slots=True)
class Region:
    """A mapped range: where it starts (bytes) and its length (pages). Valid in a fork's child, too."""

    start: int
    pages: int

    def address(self, index: int) -> int:
        """The address of page `index`, from 0; ValueError if there is no such page."""
        if not 0 <= index < self.pages:
            raise ValueError(f"a region of {self.pages} pages has no page {index}")
        return self.start + index * PAGE_SIZE

    def span(self, first: int, end: int | None) -> tuple[int, int]:
        """Start and length in bytes of the pages `first` to `end` - 1 (default: to the last)."""
        end = self.pages if end is None else end
        if not 0 <= first < end <= self.pages:
            raise ValueError(f"a region of {self.pages} pages has no pages {first} to {end - 1}")
        return self.start + first * PAGE_SIZE, (end - first) * PAGE_SIZE


class Thread:
    """A running thread of a process; made by `Process.spawn`."""

    def __init__(self, process: Process, name: str) -> None:
        self.process, self.name = process, name
        self.ended = False
        self.actor: Actor

    async def join(self) -> None:
        """Wait until it has ended."""
        while not self.ended:
            await self.process.crew.thread_ended.wait()


class Process:
    """An emulated process: an address space, and threads that use it.

    System calls answer 0 or a negative errno, as the kernel does, or what they make. Pages are counted from 0
    within their region. Every call may be interleaved with everything else, at each of its steps.
    """

    def __init__(self, crew: Crew, guard: Guard, family: dict[str, Process], mm: AddressSpace, node: int) -> None:
        self.crew, self.mm, self.node = crew, mm, node
        self.exited = False
        self._guard = guard
        self._family = family
        self._kernel = crew.machine.kernel
        self._spawned = 0
        self._busy = 0
        self._calm = WaitQueue(crew.machine.conductor, f"calls of {mm.name} to end")
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
        self.crew.threads_alive += 1
        thread.actor = self.crew.machine.conductor.spawn(
            thread.name, self._live(thread, body, args), cpu=self.crew.next_cpu(self.node), node=self.node
        )
        return thread

    async def _live(self, thread: Thread, body: Body, args: tuple[Any, ...]) -> None:
        try:
            await self._guard(body(self, *args))
        except EmulatedFault:
            await self.exit()  # nobody handled the signal
        thread.ended = True
        self.crew.threads_alive -= 1
        self.crew.thread_ended.wake_all()

    # -- memory ---------------------------------------------------------------------------------------------------

    async def map(self, pages: int, *, node: int | None = None) -> Region:
        """mmap: private anonymous memory above all other, its pages preferably from `node` (default: the process's)."""
        nid = self.node if node is None else node
        if pages < 1 or not 0 <= nid < self.crew.machine.nodes:
            raise ValueError(f"{self.name}: cannot map {pages} pages on node {nid}")
        with self._call():
            start = await self._kernel.mmap(self.mm, pages, nid)
        if start < 0:
            raise OutOfMemory(f"{self.name}: mmap of {pages} pages: errno {-start}")
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
            return await self.crew.sweep(Sweep(self.mm, start, length))

    async def dontneed(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """madvise(MADV_DONTNEED): the pages are zero when next touched."""
        return await self._madvise(region, first, end, MADV_DONTNEED)

    async def munmap(self, region: Region, first: int = 0, end: int | None = None) -> int:
        """munmap; an access to the pages is a SegmentationFault from now on."""
        start, length = region.span(first, end)
        with self._call():
            return await self._kernel.munmap(self.mm, start, length)

    async def mremap(self, region: Region) -> Region | int:
        """mremap to a new place above all other: the region there, or a negative errno."""
        start, length = region.span(0, None)
        with self._call():
            moved = await self._kernel.mremap(self.mm, start, length)
        return moved if moved < 0 else Region(moved, region.pages)

    async def migrate(self, region: Region, index: int, nid: int, *, move_all: bool = True) -> int:
        """move_pages of one page, by the migration daemon of node `nid`: the node it is on now, or a negative errno.

        -ESRCH if the process has exited, -ENODEV if there is no such node. The process may exit meanwhile.
        """
        address = region.address(index)
        if self.exited:
            return -ESRCH
        if not 0 <= nid < self.crew.machine.nodes:
            return -ENODEV
        return await self.crew.move(MoveRequest(self.mm, address, nid, move_all))

    # -- the process itself ---------------------------------------------------------------------------------------

    async def fork(self, name: str) -> Process | int:
        """fork: a child with a copy of the address space and no threads yet, or a negative errno."""
        if name in self._family:
            raise ValueError(f"there is a process {name} already")
        with self._call():
            mm = await self._kernel.fork(self.mm, name)
        return mm if isinstance(mm, int) else Process(self.crew, self._guard, self._family, mm, self.node)

    async def exit(self) -> None:
        """exit_group: no thread starts another call; when those under way have ended, the address space goes."""
        if self.exited:
            return
        self.exited = True
        while self._busy:
            await self._calm.wait()
        await self._kernel.mmput(self.mm)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _must_run(self) -> None:
        if self.exited:
            raise ProcessExited(f"{self.name} has exited")

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Keep the address space for as long as a call of the process is under way."""
        self._must_run()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._calm.wake_all()

    async def _madvise(self, region: Region, first: int, end: int | None, advice: int) -> int:
        start, length = region.span(first, end)
        with self._call():
            return await self._kernel.madvise(self.mm, start, length, advice)

    async def _fault(self, address: int, write: bool) -> None:
        error = await self.crew.fault(FaultRequest(self.mm, address, write))
        if error == -EFAULT:
            raise SegmentationFault(f"{self.name}: nothing is mapped at {address:#x}")
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
