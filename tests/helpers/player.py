"""A player: does random things to processes of its own, and knows what their memory must hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EACCES, EAGAIN, EBUSY, EFAULT, MADV_DONTNEED, MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers.directed import FULL_SCAN, Proc, Stage

Step = tuple[str, int, int]
Modelled = tuple[AddressSpace, dict[int, int]]
"""An address space, and what its mapped pages hold: token by address."""

TOKENS = 3
"""Few, so that pages are equal."""


class Player:
    """Plays steps on processes of its own, and knows what their memory must be."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.s, self.kernel, self.name = stage, stage.kernel, name
        self.processes: list[Modelled] = []
        self.made = 0

    async def play(self, steps: list[Step]) -> None:
        for kind, which, value in steps:
            while len(self.processes) < 2:
                await self.map(0, (94, 99)[len(self.processes)])  # five mergeable pages, on either node
            mm, memory = self.processes[which % len(self.processes)]
            moves: Callable[..., Awaitable[None]] = getattr(self, kind)
            if kind in ("map", "scan", "knob"):
                await moves(which, value)
            elif memory:
                addresses = sorted(memory)
                await moves(mm, memory, addresses[value % len(addresses)], value)

    async def check(self) -> None:
        """Read everything."""
        for mm, memory in self.processes:
            for address in sorted(memory):
                await self.read(mm, memory, address, 0)

    def _new_name(self) -> str:
        self.made += 1
        return f"{self.name}{self.made}"

    @staticmethod
    def _span(memory: dict[int, int], address: int, value: int) -> int:
        """The length in bytes of a mapped range from an address on, of up to four pages."""
        pages = 1
        while pages <= value % 4 and address + pages * PAGE_SIZE in memory:
            pages += 1
        return pages * PAGE_SIZE

    async def map(self, which: int, value: int) -> None:
        if which % 3 == 0 or not self.processes:
            self.processes.append((self.kernel.mm_alloc(self._new_name()), {}))
        mm, memory = self.processes[which % len(self.processes)]
        pages = 1 + value % 5
        start = await self.kernel.mmap(mm, pages, value % 2)
        memory.update({start + page * PAGE_SIZE: 0 for page in range(pages)})
        if value % 4:
            assert await self.kernel.madvise(mm, start, pages * PAGE_SIZE, MADV_MERGEABLE) == 0
        for page in range(pages - 1):
            await self.write(mm, memory, start + page * PAGE_SIZE, value + page)

    async def write(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        memory[address] = value % TOKENS
        assert await self.s.write(Proc(mm, address), 0, memory[address]) == 0

    async def read(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        assert await self.s.read(Proc(mm, address), 0) is self.kernel.contents.token(memory[address])

    async def _advise(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int, advice: int) -> None:
        assert await self.kernel.madvise(mm, address, self._span(memory, address, value), advice) == 0

    async def mergeable(self, *args: Any) -> None:
        await self._advise(*args, MADV_MERGEABLE)

    async def unmergeable(self, *args: Any) -> None:
        await self._advise(*args, MADV_UNMERGEABLE)

    async def dontneed(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        await self._advise(mm, memory, address, value, MADV_DONTNEED)
        for gone in range(address, address + self._span(memory, address, value), PAGE_SIZE):
            memory[gone] = 0

    async def munmap(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        length = self._span(memory, address, value)
        assert await self.kernel.munmap(mm, address, length) == 0
        for gone in range(address, address + length, PAGE_SIZE):
            del memory[gone]
        assert await self.s.read(Proc(mm, address), 0) == -EFAULT

    async def mremap(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        length = self._span(memory, address, value)
        new = await self.kernel.mremap(mm, address, length)
        if new == -EFAULT:  # the range is more than one vma
            assert length > PAGE_SIZE
            return
        assert new > address
        for old in range(address, address + length, PAGE_SIZE):
            memory[old - address + new] = memory.pop(old)

    async def fork(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        child = await self.kernel.fork(mm, self._new_name())
        assert isinstance(child, AddressSpace)
        self.processes.append((child, dict(memory)))

    async def exit(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        self.processes.remove((mm, memory))
        await self.kernel.mmput(mm)

    async def migrate(self, mm: AddressSpace, memory: dict[int, int], address: int, value: int) -> None:
        status = await self.kernel.move_pages(mm, address, value % 2, value % 3 > 0)
        assert status in (value % 2, -2, -EACCES, -EAGAIN, -EBUSY)

    async def scan(self, which: int, value: int) -> None:
        await self.s.batch(value if value % 2 else FULL_SCAN)

    async def knob(self, which: int, value: int) -> None:
        knob, text = [("run", "0"), ("run", "1"), ("run", "2"), ("merge_across_nodes", str(value % 2))][which % 4]
        assert await self.s.set(knob, text) in (0, -EBUSY)
        if text == "2":
            await self.s.set("run", "1")


OFTEN = ["write", "read", "mergeable", "fork", "migrate", "migrate", "scan", "scan"]
SELDOM = ["map", "unmergeable", "dontneed", "munmap", "mremap", "exit", "knob"]

steps_of = st.tuples(st.sampled_from(OFTEN + OFTEN + SELDOM), st.integers(0, 99), st.integers(0, 99))
programs = st.lists(steps_of, min_size=30, max_size=80)

same_in_ci = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking a schedule takes minutes, and gives another schedule
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
