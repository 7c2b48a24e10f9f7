"""Memory operations of the processes of a scenario, on the emulator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ksmactors.conformance.language import Operation
from ksmactors.conformance.named_memory import KILLED, NamedMemory, pin_of
from ksmactors.conformance.page_map import NamedRegion, PageMap, ScenarioProcess
from ksmactors.conformance.transcript import bare_word, result_word
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import (
    EHWPOISON,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_HWPOISON,
    MADV_MERGEABLE,
    MADV_PAGEOUT,
    MADV_SOFT_OFFLINE,
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
    "hwpoison": MADV_HWPOISON,
    "softoffline": MADV_SOFT_OFFLINE,
}

BARE: Final = frozenset({"free", "hwpoison", "softoffline"})
"""Advice whose errno is shown as it is."""


class MemoryOperations(NamedMemory[ScenarioProcess]):
    """The operations of processes on their own memory. Each returns its result lines."""

    kernel: Ksm
    page_map: PageMap
    pins: dict[tuple[str, int], list[Frame]]
    """The pages that are pinned, by process and index."""

    @override
    def living(self, name: str) -> ScenarioProcess | None:
        return self.page_map.of_name(name)

    async def _do_proc(self, operation: Operation) -> list[str]:
        self.page_map.add(ScenarioProcess(operation.word, mm=self.kernel.mm_alloc(operation.word)))
        return ["ok"]

    async def _do_fork(self, operation: Operation) -> list[str]:
        parent = self._process(operation)
        mm = await self.kernel.fork(parent.mm, operation.word)
        if not isinstance(mm, AddressSpace):
            return [result_word(mm)]
        self.page_map.add(ScenarioProcess(operation.word, dict(parent.regions), list(parent.named), mm=mm))
        return ["ok"]

    async def _do_exit(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        await self._leave(process)
        return ["ok"]

    async def _do_exec(self, operation: Operation) -> list[str]:
        """execve: a new, empty address space; the old one is left as by an exit."""
        process = self._process(operation)
        mm = await self.kernel.exec_mm(process.mm)
        if not isinstance(mm, AddressSpace):
            return [bare_word(mm)]
        await self._leave(process)
        self.page_map.replace(process, ScenarioProcess(process.name, mm=mm))
        return ["ok"]

    async def _kill(self, mm: AddressSpace) -> None:
        """A process is ended by a signal."""
        process = self.page_map.of_mm(mm)
        if process is not None and not process.exited:
            self.killed.add(process.name)
            await self._leave(process)

    async def _killed_by_fault(self, mm: AddressSpace, error: int) -> list[str]:
        """The result of an access that has ended in an error: SIGBUS for memory that has failed."""
        if error != -EHWPOISON:
            return [result_word(error)]
        await self._kill(mm)
        return [KILLED]

    async def _leave(self, process: ScenarioProcess) -> None:
        """A process leaves its memory; its pipes are closed."""
        process.exited = True
        await self.kernel.mmput(process.mm)
        for pinned in [key for key in self.pins if key[0] == process.name]:
            for page in self.pins.pop(pinned):
                await page.put()

    async def _do_map(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        start = await self.kernel.mmap(process.mm, operation.number, max(operation.node, 0))
        if start < 0:
            return [result_word(start)]
        process.add(NamedRegion(operation.word, start, operation.number))
        return ["ok"]

    async def _do_mremap(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        region = self._region(operation)
        moved = await self.kernel.mremap(process.mm, start, pages * PAGE_SIZE)
        if moved < 0:
            return [result_word(moved)]
        if pages == region.pages:
            process.regions.pop(region.name)
        process.add(NamedRegion(operation.word, moved, pages))
        return ["ok"]

    async def _do_mlock(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        on = operation.name == "mlock"
        return [bare_word(await self.kernel.mlock(process.mm, start, pages * PAGE_SIZE, on=on))]

    async def _do_prctl(self, operation: Operation) -> list[str]:
        """PR_SET_MEMORY_MERGE."""
        mm = self._process(operation).mm
        return [bare_word(await self.kernel.prctl_set_memory_merge(mm, operation.flags == ("on",)))]

    async def _do_pin(self, operation: Operation) -> list[str]:
        """vmsplice of the page into a pipe: a reference, taken as for a read."""
        process, address, _ = self._range(operation)
        page = await self.kernel.get_user_pages(process.mm, address, False)
        if isinstance(page, int):
            return self._pinned(operation, page)
        self.pins.setdefault(pin_of(operation), []).append(page)
        return self._pinned(operation, 0)

    async def _do_unpin(self, operation: Operation) -> list[str]:
        """The pipe is emptied."""
        self._process(operation)
        pins = self.pins.get(pin_of(operation))
        if not pins:
            return self._nothing_to_unpin(operation)
        await pins.pop().put()
        return ["ok"]

    async def _do_process_vm_readv(self, operation: Operation) -> list[str]:
        """Each page is pinned for reading, copied and unpinned."""
        process, _, _ = self._range(operation)
        for address in self._addresses(operation):
            page = await self.kernel.pin_user_pages(process.mm, address, False)
            if isinstance(page, int):
                return [bare_word(page)]
            await self.kernel.unpin_user_page(page)
        return ["ok"]

    async def _do_munmap(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        return [result_word(await self.kernel.munmap(process.mm, start, pages * PAGE_SIZE))]

    async def _do_madvise(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        error = await self.kernel.madvise(process.mm, start, pages * PAGE_SIZE, ADVICE[operation.name])
        return [bare_word(error) if operation.name in BARE else result_word(error)]

    # -- contents -----------------------------------------------------------------------------------------------

    def _expected(self, operation: Operation) -> Iterable[tuple[int, Content]]:
        """Yield the addresses of an operation's pages, with the content that its token stands for."""
        step = 1 if operation.name.endswith("seq") else 0
        for index, address in enumerate(self._addresses(operation)):
            yield address, self.kernel.contents.token((operation.token + index * step) % (1 << 64))

    async def _do_fill(self, operation: Operation) -> list[str]:
        mm = self._process(operation).mm
        for address, content in self._expected(operation):
            while not await self.kernel.user_write(mm, address, content):
                error = await self.kernel.fault(mm, address, True)
                if error:
                    return await self._killed_by_fault(mm, error)
        return ["ok"]

    async def _do_check(self, operation: Operation) -> list[str]:
        mm = self._process(operation).mm
        bad = 0
        for address, content in self._expected(operation):
            read = await self._read(mm, address)
            if isinstance(read, int):
                return await self._killed_by_fault(mm, read)
            bad += read is not content
        return [f"BAD {bad}" if bad else "ok"]

    async def _do_read(self, operation: Operation) -> list[str]:
        mm = self._process(operation).mm
        for address in self._addresses(operation):
            read = await self._read(mm, address)
            if isinstance(read, int):
                return await self._killed_by_fault(mm, read)
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
