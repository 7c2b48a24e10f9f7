"""Pages of live processes: looked at twice, as ksmd would; one that changed in between is volatile.

Both looks go over every page that ksmd would take: anonymous, present, in a private mapping. A page that is new at
the second look is volatile like one that changed: ksmd, too, would wait to see its checksum again. One that is gone
by then does not count. Processes run on meanwhile; nothing of them is stopped, changed or paged in.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.estimate.page_index import BATCH_PAGES, MemoryRegion, PageIndex, PageSource, Progress, Span
from ksmactors.estimate.placement import Spread
from ksmactors.estimate.procfs import (
    EXCLUSIVE,
    FILE,
    PFN,
    PRESENT,
    SWAPPED,
    Mapping,
    NodeOfFrame,
    NoMemory,
    NumaArea,
    ProcessGone,
    ProcessMemory,
)  # fmt: skip
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.quantity import quantity

ZEROS: Final = bytes(PAGE_SIZE)
NAP_S: Final = 0.1
"""How long a progress that wants to stop has to wait at most."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Neighbouring pages that were read: their area, first address, bytes and pagemap entries."""

    mapping: Mapping
    area: NumaArea | None
    address: int
    pages: memoryview
    entries: array[int]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A process after the first look. `span`: its pages in the page index; `alive`: whether there is a second one."""

    memory: ProcessMemory
    span: Span
    left_out: dict[str, int]
    alive: bool


class ProcessReader:
    """Reads live processes into a page index. What cannot be read to its end becomes a line in `problems`."""

    def __init__(
        self, page_index: PageIndex, spread: Spread, problems: list[str], sources: list[PageSource],
        progress: Progress, *,
        interval_s: float, node_of_frame: NodeOfFrame, open_memory: Callable[[int], ProcessMemory] = ProcessMemory,
        warnings: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.problems: Final = problems
        self.sources: Final = sources
        self._page_index = page_index
        self._spread = spread
        self._progress = progress
        self._interval_s = interval_s
        self._node_of_frame = node_of_frame
        self._open_memory = open_memory
        self._buffer = memoryview(bytearray(BATCH_PAGES * PAGE_SIZE))
        self._left_out: Counter[str] = Counter()
        self._found: Collection[int] = ()
        self.warnings: Final = [] if warnings is None else warnings
        self.already_shared = 0
        """Pages read so far whose frame has other users: of a fork, or of KSM."""

    def read(self, pids: Sequence[int], first_number: int, found: Collection[int] = ()) -> None:
        """Look at all processes, wait, and look again.

        What cannot be looked at at all is a problem, and the others are read. If a process exits meanwhile, all that
        was seen of it by then counts.

        Args:
            first_number: number of the first process among all files and processes.
            found: those that nobody has named. One of them that exits is no problem: it is passed over, or a warning.
        """
        self._found = found
        with ExitStack() as files:
            seen = []
            for number, pid in enumerate(pids, first_number):
                try:
                    memory = files.enter_context(self._open_memory(pid))
                    seen.append(self._first_look(memory, number))
                except NoMemory as error:
                    if pid not in found:
                        self.problems.append(str(error))
                except UsageError as error:
                    self.problems.append(str(error))
            if any(process.alive for process in seen):
                self._wait()
            for process in seen:
                late = self._page_index.late
                left_out = self._second_look(process) if process.alive else process.left_out
                pages = self._page_index.counted(process.span) + self._page_index.late - late
                self.sources.append(PageSource(process.memory.name, "process", pages, dict(sorted(left_out.items()))))

    def _first_look(self, memory: ProcessMemory, number: int) -> _Seen:
        page_index, mapping, alive = self._page_index, None, True
        first, first_run = len(page_index), page_index.runs
        self._left_out = Counter()
        try:
            for part in self._look(memory, "first look"):
                if part.mapping is not mapping:
                    mapping = part.mapping
                    page_index.add_region(MemoryRegion(memory.name, number, mapping.name, mapping.start))
                page_index.add(part.pages, part.address, self._nodes(part, memory.name, number))
                self.already_shared += sum(1 for entry in part.entries if not entry & EXCLUSIVE)
        except ProcessGone as gone:
            if len(page_index) == first:
                raise NoMemory(f"{memory.name}: has no memory: it is a kernel thread, or has just exited") from gone
            seen = len(page_index) - first
            verb = "counts" if seen == 1 else "count"
            self._exited(memory, f"at the first look; the {quantity(seen, 'page')} seen by then {verb} as settled")
            alive = False
        return _Seen(memory, page_index.span(first, first_run), self._left_out, alive)

    def _second_look(self, process: _Seen) -> dict[str, int]:
        page_index = self._page_index
        self._left_out = Counter()
        again = 0
        try:
            for part in self._look(process.memory, "second look"):
                page_index.look_again(process.span, part.pages, part.address)
                again += len(part.entries)
        except ProcessGone:
            self._exited(
                process.memory, f"at the second look, after {quantity(again, 'page')}; the others count as settled"
            )
            return process.left_out
        except UsageError as error:
            self.problems.append(f"{error}; pages not seen a second time count as settled")
            return process.left_out
        if gone := page_index.forget_unseen(process.span):
            self._left_out["unmapped meanwhile"] += gone
        return self._left_out

    def _exited(self, memory: ProcessMemory, when: str) -> None:
        lines = self.warnings if memory.pid in self._found else self.problems
        lines.append(f"{memory.name}: exited {when}")

    def _wait(self) -> None:
        """The time between the looks, in small pieces: the progress may stop it."""
        end = monotonic() + self._interval_s
        while (left := end - monotonic()) > 0:
            self._progress("waiting for the second look", 0, None)
            sleep(min(left, NAP_S))

    # -- looking ------------------------------------------------------------------------------------------------

    def _look(self, memory: ProcessMemory, which: str) -> Iterator[_Part]:
        """All pages that ksmd would take, in its order."""
        mappings, areas = memory.mappings(), memory.numa_areas()
        total = sum(area.anon for area in areas.values()) if areas else None
        label, done = f"{memory.name}, {which}", 0
        for mapping in mappings:
            area = areas.get(mapping.start)
            if not mapping.mergeable or (area is not None and not area.anon):
                continue  # a big reservation has no pages, but many entries in pagemap
            if area is not None and area.huge:
                self._left_out["huge (hugetlb)"] += (mapping.end - mapping.start) // PAGE_SIZE
                continue
            for address, entries in memory.entries(mapping.start, mapping.end):
                for first, count in self._candidates(entries):
                    start = address + first * PAGE_SIZE
                    for part in self._read(memory, mapping, area, start, entries[first : first + count]):
                        done += len(part.entries)
                        yield part
                        self._progress(label, done, total)
                self._progress(label, done, total)

    def _candidates(self, entries: array[int]) -> Iterator[tuple[int, int]]:
        """Runs of present, anonymous pages among pagemap entries: (index of the first, how many)."""
        first = 0
        for index, entry in enumerate(entries):
            if entry & PRESENT and not entry & FILE:
                continue
            if entry & PRESENT:
                self._left_out["of files or shared"] += 1
            elif entry & SWAPPED:
                self._left_out["swapped out"] += 1
            if index > first:
                yield first, index - first
            first = index + 1
        if len(entries) > first:
            yield first, len(entries) - first

    def _read(
        self, memory: ProcessMemory, mapping: Mapping, area: NumaArea | None, address: int, entries: array[int]
    ) -> Iterator[_Part]:
        done = 0
        while done < len(entries):
            wanted = min(len(entries) - done, BATCH_PAGES)
            start = address + done * PAGE_SIZE
            got = memory.read(start, self._buffer[: wanted * PAGE_SIZE])
            for first, end in self._without_zero_page(memory, entries[done : done + got]):
                pages = self._buffer[first * PAGE_SIZE : end * PAGE_SIZE]
                yield _Part(mapping, area, start + first * PAGE_SIZE, pages, entries[done + first : done + end])
            if not got:
                self._left_out["gone while read"] += 1
            done += max(got, 1)

    def _without_zero_page(self, memory: ProcessMemory, entries: array[int]) -> Iterator[tuple[int, int]]:
        """Runs of pages in the buffer that are not the kernel's zero page: (index of the first, of the end)."""
        first = 0
        for index, entry in enumerate(entries):
            if entry & EXCLUSIVE or self._buffer[index * PAGE_SIZE : (index + 1) * PAGE_SIZE].tobytes() != ZEROS:
                continue
            if memory.is_zero_page(entry):
                self._left_out["never written (zero page)"] += 1
                if index > first:
                    yield first, index
                first = index + 1
        if len(entries) > first:
            yield first, len(entries)

    # -- nodes --------------------------------------------------------------------------------------------------

    def _nodes(self, part: _Part, name: str, number: int) -> bytes:
        if self._spread.policy == "actual":
            return bytes(self._node(entry, part.area, name) for entry in part.entries)
        page_index = self._page_index
        return self._spread.place(
            len(part.entries), index=len(page_index), region=len(page_index.regions) - 1, source=number
        )

    def _node(self, entry: int, area: NumaArea | None, name: str) -> int:
        """A page's node by its frame; else the one that has most of its area."""
        nid = self._node_of_frame.of(entry & PFN)
        if nid is None and area is not None and area.by_node:
            nid = max(area.by_node, key=lambda nid: (area.by_node[nid], -nid))
        if nid is not None and nid >= self._spread.nodes:
            raise UsageError(f"{name}: there are pages on node {nid}: --nodes must be at least {nid + 1}")
        return nid or 0


def machine_page_size() -> int:
    """Bytes of a page of this machine; processes can be read only where it is 4096."""
    return os.sysconf("SC_PAGE_SIZE")
