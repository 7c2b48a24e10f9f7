"""What the processes of a scenario do to their memory, on the emulator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ksmactors.conformance.census import Census, Process, Region
from ksmactors.conformance.language import Operation
from ksmactors.conformance.reporting import Reporter, bare_word, result_word
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import (
    MADV_DONTNEED,
    MADV_FREE,
    MADV_MERGEABLE,
    MADV_PAGEOUT,
    MADV_UNMERGEABLE,
    PAGE_SIZE,
)
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame

ADVICE: Final = {
    "mergeable": MADV_MERGEABLE,
    "unmergeable": MADV_UNMERGEABLE,
    "dontneed": MADV_DONTNEED,
    "swapout": MADV_PAGEOUT,
    "free": MADV_FREE,
}


class MemoryOperations(Reporter):
    """The operations of processes on their own memory. Each returns its result lines."""

    kernel: Ksm
    census: Census
    pins: dict[tuple[str, int], list[Frame]]
    """The pages that are pinned, by process and index."""

    async def _do_proc(self, operation: Operation) -> list[str]:
        self.census.add(Process(operation.word, self.kernel.mm_alloc(operation.word)))
        return ["ok"]

    async def _do_fork(self, operation: Operation) -> list[str]:
        parent = self._process(operation)
        mm = await self.kernel.fork(parent.mm, operation.word)
        if not isinstance(mm, AddressSpace):
            return [result_word(mm)]
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
            return [result_word(start)]
        process.add(Region(operation.word, start, operation.number))
        return ["ok"]

    async def _do_mremap(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        region = self._region(operation)
        moved = await self.kernel.mremap(process.mm, start, length)
        if moved < 0:
            return [result_word(moved)]
        if length == region.pages * PAGE_SIZE:
            process.regions.pop(region.name)
        process.add(Region(operation.word, moved, length // PAGE_SIZE))
        return ["ok"]

    async def _do_mlock(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        return [bare_word(await self.kernel.mlock(process.mm, start, length, on=operation.name == "mlock"))]

    async def _do_prctl(self, operation: Operation) -> list[str]:
        """PR_SET_MEMORY_MERGE."""
        mm = self._process(operation).mm
        return [bare_word(await self.kernel.prctl_set_memory_merge(mm, operation.flags == ("on",)))]

    async def _do_pin(self, operation: Operation) -> list[str]:
        """vmsplice of the page into a pipe: a reference, taken as for a read."""
        process, address, _ = self._range(operation)
        page = await self.kernel.get_user_pages(process.mm, address, False)
        if isinstance(page, int):
            return [bare_word(page)]
        self.pins.setdefault(self._pin_of(operation), []).append(page)
        return ["ok"]

    async def _do_unpin(self, operation: Operation) -> list[str]:
        """The pipe is emptied."""
        pins = self.pins.get(self._pin_of(operation))
        if not pins:
            raise self.refused(operation, f"{operation.text.removeprefix('un')} was not done before; nothing is pinned")
        await pins.pop().put()
        return ["ok"]

    def _pin_of(self, operation: Operation) -> tuple[str, int]:
        """By what a pin is known: the process and the page's place in it, which mremap leaves alone."""
        return operation.process, operation.first

    async def _do_munmap(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        return [result_word(await self.kernel.munmap(process.mm, start, length))]

    async def _do_madvise(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        error = await self.kernel.madvise(process.mm, start, length, ADVICE[operation.name])
        return [bare_word(error) if operation.name == "free" else result_word(error)]

    def _process(self, operation: Operation) -> Process:
        process = self.census.of_name(operation.process)
        if process is None:
            raise self.refused(operation, f"there is no process {operation.process}: its fork failed, or is not over")
        return process

    def _region(self, operation: Operation) -> Region:
        region = self._process(operation).regions.get(operation.region)
        if region is None:
            text = f"process {operation.process} has no region {operation.region}: the operation that makes it failed"
            raise self.refused(operation, text)
        return region

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
                    return [result_word(error)]
        return ["ok"]

    async def _do_check(self, operation: Operation) -> list[str]:
        mm = self._process(operation).mm
        bad = 0
        for address, content in self._expected(operation):
            read = await self._read(mm, address)
            if isinstance(read, int):
                return [result_word(read)]
            bad += read is not content
        return [f"BAD {bad}" if bad else "ok"]

    async def _do_read(self, operation: Operation) -> list[str]:
        process, start, length = self._range(operation)
        for address in range(start, start + length, PAGE_SIZE):
            read = await self._read(process.mm, address)
            if isinstance(read, int):
                return [result_word(read)]
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
