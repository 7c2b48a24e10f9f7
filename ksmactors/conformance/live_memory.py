"""Memory operations of the real processes of a scenario."""

from __future__ import annotations

from errno import EFAULT, ENOENT
from typing import Final

from typing_extensions import override

from ksmactors.conformance.language import Operation
from ksmactors.conformance.live_pages import Pages
from ksmactors.conformance.live_world import LiveProcess, World
from ksmactors.conformance.named_memory import NamedMemory
from ksmactors.conformance.page_map import NamedRegion
from ksmactors.conformance.transcript import bare_word, result_word

ADVICE: Final = {
    "dontneed": 4, "free": 8, "mergeable": 12, "unmergeable": 13, "swapout": 21, "hwpoison": 100, "softoffline": 101,
}  # fmt: skip
"""MADV_DONTNEED, MADV_FREE, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_PAGEOUT, MADV_HWPOISON, MADV_SOFT_OFFLINE, as
<asm-generic/mman-common.h> has them."""

BARE: Final = frozenset({"free", "hwpoison", "softoffline"})
"""Advice whose errno is shown as it is."""


class LiveMemory(NamedMemory[LiveProcess]):
    """The operations of processes on their own memory. Each returns its result lines."""

    pages: Pages
    world: World

    @override
    def living(self, name: str) -> LiveProcess | None:
        return self.world.living.get(name)

    async def _do_proc(self, operation: Operation) -> list[str]:
        self.world.start(operation.word)
        return ["ok"]

    async def _do_fork(self, operation: Operation) -> list[str]:
        return [result_word(self.world.fork(self._process(operation), operation.word))]

    async def _do_exit(self, operation: Operation) -> list[str]:
        self.world.exit(self._process(operation).name)
        return ["ok"]

    async def _do_exec(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        error = process.execute()
        if not error:
            self.world.know(process)
        return [bare_word(error)]

    async def _do_map(self, operation: Operation) -> list[str]:
        process = self._process(operation)
        region = NamedRegion(operation.word, process.top, operation.number)
        mbind = self.pages.calls.mbind
        error = process.ask("map", region.start, region.pages, max(operation.node, 0), mbind)
        if error == 0:
            process.add(region)
        return [result_word(error)]

    async def _do_mremap(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        moved = NamedRegion(operation.word, process.top, pages)
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
        return self._pinned(operation, process.ask("pin", start, operation.first))

    async def _do_unpin(self, operation: Operation) -> list[str]:
        error = self._process(operation).ask("unpin", operation.first)
        return self._nothing_to_unpin(operation) if error == -ENOENT else [bare_word(error)]

    async def _do_process_vm_readv(self, operation: Operation) -> list[str]:
        """The caller is another process, ours."""
        process, _, _ = self._range(operation)
        errors = (self.pages.read(process.pid, address) for address in self._addresses(operation))
        return [bare_word(next((error for error in errors if error), 0))]

    async def _do_munmap(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        error = process.ask("munmap", start, pages)
        if error == 0:
            process.holes.update(self._addresses(operation))
        return [result_word(error)]

    async def _do_madvise(self, operation: Operation) -> list[str]:
        process, start, pages = self._range(operation)
        error = process.ask("madvise", start, pages, ADVICE[operation.name])
        return [bare_word(error) if operation.name in BARE else result_word(error)]

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
        """Touch pages up to the first that is not mapped; return (the answer, -EFAULT if there is one, or 0)."""
        process, start, pages = self._range(operation)
        addresses = self._addresses(operation)
        hole = next((page for page, address in enumerate(addresses) if address in process.holes), pages)
        answer = process.ask(request, start, hole, *what)
        return answer, 0 if hole == pages else -EFAULT


def _stride(operation: Operation) -> int:
    """Return the difference between the tokens of neighbouring pages."""
    return 1 if operation.name.endswith("seq") else 0
