"""Pages from files: raw memory images page by page, ELF cores and dumps of LiME segment by segment.

Files are read a megabyte at a time into one buffer and not mapped: a mapped file that is truncated meanwhile
kills its reader with SIGBUS, and what is mapped and was looked at would count as this process' memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.estimate.elf import Core, is_core, page_extents, read_core
from ksmactors.estimate.formats import is_lime, read_lime, refuse_by_name
from ksmactors.estimate.opening import opened
from ksmactors.estimate.page_index import BATCH_PAGES, MemoryRegion, PageIndex, PageSource, Progress
from ksmactors.estimate.placement import Spread
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.quantity import quantity


class FileReader:
    """Reads files into a page index. What was not there becomes a line in `problems`; the rest is read. What is
    no page, so that nothing is missing, becomes a line in `warnings`."""

    def __init__(self, page_index: PageIndex, spread: Spread, problems: list[str], progress: Progress) -> None:
        self.problems: Final = problems
        self.warnings: Final[list[str]] = []
        self._page_index = page_index
        self._spread = spread
        self._progress = progress
        self._buffer = memoryview(bytearray(BATCH_PAGES * PAGE_SIZE))

    def read(self, path: str, number: int, *, core: bool = False) -> PageSource:
        """Read a file; `core`: it must be an ELF core, else whether it is one is seen from its first bytes.

        Raises:
            UsageError: nothing of it can be read.
        """
        with opened(path) as (fd, size):
            try:
                headers = _headers(fd, size, path, core=core)
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror}") from error
            if headers is None:
                return self._read_raw(fd, size, path, number)
            return self._read_core(fd, size, path, number, headers)

    def _read_raw(self, fd: int, size: int, path: str, number: int) -> PageSource:
        if size < PAGE_SIZE:
            raise UsageError(f"{path}: {quantity(size, 'byte')}, not even one page of {PAGE_SIZE}")
        if size % PAGE_SIZE:
            self.warnings.append(f"{path}: {quantity(size % PAGE_SIZE, 'byte')} at its end, no whole page, left out")
        self._page_index.add_region(MemoryRegion(path, number, "", 0))
        total = size // PAGE_SIZE
        read = end = 0
        for first, pages in _extents(fd, total):
            got = self._copy(fd, path, number, first * PAGE_SIZE, first * PAGE_SIZE, pages, first, total)
            read, end = read + got, first + got
            if got < pages:
                break
        else:
            end = min(os.fstat(fd).st_size // PAGE_SIZE or total, total)  # a block device has none
        if end < total:
            self.problems.append(
                f"{path}: ends after {end} of {quantity(total, 'page')}; it was truncated while it was read"
            )
        return PageSource(path, "file", read, {"holes": end - read} if end > read else {})

    def _read_core(self, fd: int, size: int, path: str, number: int, core: Core) -> PageSource:
        total = sum(segment.filesz for segment in core.segments) // PAGE_SIZE
        done = missing = 0
        for extent in page_extents(core):
            there = min(extent.pages, max(size - extent.offset, 0) // PAGE_SIZE)
            if there:
                self._page_index.add_region(MemoryRegion(path, number, core.mapped_at(extent.address), extent.address))
                there = self._copy(fd, path, number, extent.offset, extent.address, there, done, total)
            done += there
            missing += extent.pages - there
        if missing:
            self.problems.append(
                f"{path}: the {core.kind} is cut off: {missing} of its {done + missing} pages are missing"
            )
        not_dumped = sum(segment.memsz - segment.filesz for segment in core.segments) // PAGE_SIZE
        return PageSource(path, core.kind, done, {"not dumped": not_dumped} if not_dumped else {})

    def _copy(
        self, fd: int, path: str, number: int, offset: int, address: int, pages: int, done: int, total: int
    ) -> int:
        """Read so many pages into the page index; how many were there."""
        page_index = self._page_index
        read = 0
        while read < pages:
            part = self._buffer[: min(pages - read, BATCH_PAGES) * PAGE_SIZE]
            try:
                got = os.preadv(fd, [part], offset + read * PAGE_SIZE) // PAGE_SIZE
            except OSError as error:
                self.problems.append(f"{path}: offset {offset + read * PAGE_SIZE:#x}: {error.strerror}")
                break
            if not got:
                break
            nodes = self._spread.place(got, index=len(page_index), region=len(page_index.regions) - 1, source=number)
            page_index.add(part[: got * PAGE_SIZE], address + read * PAGE_SIZE, nodes)
            read += got
            self._progress(path, done + read, total)
        return read


def _extents(fd: int, total: int) -> Iterator[tuple[int, int]]:
    """Yield what is not a hole of a file of `total` pages: the first page, and how many. A page that is a hole in part
    is none. Where the file system does not say, everything is one extent."""
    at = 0
    while at < total:
        try:
            first = os.lseek(fd, at * PAGE_SIZE, os.SEEK_DATA) // PAGE_SIZE
            end = -(-os.lseek(fd, max(first, at) * PAGE_SIZE, os.SEEK_HOLE) // PAGE_SIZE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # only a hole is left, or it was truncated
                yield at, total - at
            return
        first, end = max(first, at), min(max(end, first + 1), total)
        if first >= total:
            return
        yield first, end - first
        at = end


def _headers(fd: int, size: int, path: str, *, core: bool) -> Core | None:
    """The segments of a core or a dump; None: all bytes are pages."""
    if core or is_core(fd):
        return read_core(fd, path)
    refuse_by_name(fd, path)
    return read_lime(fd, path, size) if is_lime(fd) else None
