"""What the real processes of a scenario do to their memory."""

from __future__ import annotations

from errno import EFAULT, ENOENT
from typing import Final

from ksmactors.conformance.census import Region
from ksmactors.conformance.language import Operation
from ksmactors.conformance.live_pages import Pages
from ksmactors.conformance.live_world import LiveProcess, World
from ksmactors.conformance.reporting import Reporter, bare_word, result_word
from ksmactors.mm.const import PAGE_SIZE

ADVICE: Final = {"dontneed": 4, "free": 8, "mergeable": 12, "unmergeable": 13, "swapout": 21}
"""MADV_DONTNEED, MADV_FREE, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_PAGEOUT, as <asm-generic/mman-common.h> has
them."""


class LiveMemory(Reporter):
    """The operations of processes on their own memory. Each returns its result lines."""

    pages: Pages
    world: World

    async def _do_proc(self, operation: Operation) -> list[str]:
        self.world.start(operation.word)
        return ["ok"]

    async def _do_fork(self, operation: Operation) -> list[str]:
        return [result_word(self.world.fork(self._process(operation), operation.word))]

    async def _do_exit(self, operation: Operation) -> list[str]:
        self.world.exit(self._process(operation).name)
        return ["ok"]

    async def _do_map(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        region = Region(operation.word, process.top, operation.number)
        mbind = self.pages.calls.mbind
        error = process.ask("map", region.start, region.pages, max(operation.node, 0), mbind)
        if error == 0:
            process.add(region)
        return [result_word(error)]

    async def _do_mremap(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        moved = Region(operation.word, process.top, pages)
        error = process.ask("mremap", start, pages, moved.start)
        if error == 0:
            process.move(self._region(operation), moved, operation.first)
        return [result_word(error)]

    async def _do_mlock(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        return [bare_word(process.ask(operation.name, start, pages))]

    async def _do_prctl(self, operation: Operation) -> list[str]:
        return [bare_word(self._process(operation).ask("merge_any", int(operation.flags == ("on",))))]

    async def _do_pin(self, operation: Operation) -> list[str]:
        process, start, _ = self._range(operation)
        return [bare_word(process.ask("pin", start, operation.first))]

    async def _do_unpin(self, operation: Operation) -> list[str]:
        error = self._process(operation).ask("unpin", operation.first)
        if error == -ENOENT:
            raise self.refused(operation, f"{operation.text.removeprefix('un')} was not done before; nothing is pinned")
        return [bare_word(error)]

    async def _do_munmap(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        error = process.ask("munmap", start, pages)
        if error == 0:
            process.holes.update(range(start, start + pages * PAGE_SIZE, PAGE_SIZE))
        return [result_word(error)]

    async def _do_madvise(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        error = process.ask("madvise", start, pages, ADVICE[operation.name])
        return [bare_word(error) if operation.name == "free" else result_word(error)]

    def _process(self, operation: Operation) -> LiveProcess:
        process = self.world.living.get(operation.process)
        if process is None:
            raise self.refused(operation, f"there is no process {operation.process}: its fork failed, or is not over")
        return process

    def _region(self, operation: Operation) -> Region:
        region = self._process(operation).regions.get(operation.region)
        if region is None:
            text = f"process {operation.process} has no region {operation.region}: the operation that makes it failed"
            raise self.refused(operation, text)
        return region

    def _range(self, operation: Operation) -> tuple[LiveProcess, int, int]:
        """What an operation is about: (process, address of the first page, how many)."""
        start = self._region(operation).start + operation.first * PAGE_SIZE
        return self._process(operation), start, operation.end - operation.first

    # -- contents -----------------------------------------------------------------------------------------------

    async def _do_fill(self, operation: Operation) -> list[str]:
        _, fault = self._touch(operation, "fill", operation.token, _stride(operation))
        return [result_word(fault)]

    async def _do_check(self, operation: Operation) -> list[str]:
        bad, fault = self._touch(operation, "check", operation.token, _stride(operation))
        return [result_word(fault) if fault else f"BAD {bad}" if bad else "ok"]

    async def _do_read(self, operation: Operation) -> list[str]:
        _, fault = self._touch(operation, "read")
        return [result_word(fault)]

    def _touch(self, operation: Operation, request: str, *what: int) -> tuple[int, int]:
        """Have pages touched up to the first that is not mapped: (the answer, -EFAULT if there is one, or 0)."""
        process, start, pages = self._range(operation)
        addresses = range(start, start + pages * PAGE_SIZE, PAGE_SIZE)
        hole = next((page for page, address in enumerate(addresses) if address in process.holes), pages)
        answer = process.ask(request, start, hole, *what)
        return answer, 0 if hole == pages else -EFAULT


def _stride(operation: Operation) -> int:
    """How much more the token of the next page is."""
    return 1 if operation.name.endswith("seq") else 0
