"""What /proc says of a process' memory: maps, numa_maps, pagemap; and which pages ksmd would take from it.

All is opened relative to the directory of the process, which stays that process' even if its number is given to
another one. Nothing here makes a page present: only what pagemap says is there is read from mem.
"""

from __future__ import annotations

import errno
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.mm.const import PAGE_SIZE

PRESENT: Final = 1 << 63
SWAPPED: Final = 1 << 62
FILE: Final = 1 << 61
EXCLUSIVE: Final = 1 << 56
"""Bits of a pagemap entry: present; swapped; of a file or shared memory; mapped exclusively (v4.2)."""

PFN: Final = (1 << 55) - 1
"""The frame number in a pagemap entry; all zeros for readers without CAP_SYS_ADMIN."""

KPF_ZERO_PAGE: Final = 1 << 24

ENTRIES: Final = 8192
"""Pagemap entries that are read at a time."""

NOTHING: Final = bytes(ENTRIES * 8)
"""Entries of pages that are not there."""

SPECIAL: Final = frozenset({"[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]", "[uprobes]", "[vectors]", "[sigpage]"})
"""What the kernel maps on its own account; KSM refuses such areas."""

_DEVICE: Final = re.compile(r"/dev/(?!zero|shm/)")
"""Areas of devices: KSM refuses them, and to read them could do something."""

_MAPS: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+ *(.*)")


class ProcessGone(Exception):
    """The process has exited, or has replaced its memory by exec."""


class NoMemory(UsageError):
    """There is no such process any more, or it is a thread of the kernel."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """An area of a process: [start, end) in bytes, and what is mapped there."""

    start: int
    end: int
    name: str
    mergeable: bool


@dataclass(frozen=True, slots=True)
class NumaArea:
    """A line of numa_maps: how many pages of an area are anonymous, on which nodes its pages are, huge or not."""

    anon: int
    by_node: dict[int, int]
    huge: bool


class ProcessMemory:
    """The files under /proc/PID, open for reading.

    Raises:
        UsageError: there is no such process, or it may not be looked at.
    """

    def __init__(self, pid: int, *, proc: Path = Path("/proc")) -> None:
        self.pid: Final = pid
        self.name: Final = f"pid {pid}"
        self._proc = proc
        self._fds: list[int] = []
        try:
            self._fds.append(os.open(proc / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise NoMemory(f"{self.name}: there is no such process") from error
        try:
            self._pagemap = self._open("pagemap")
            self._mem = self._open("mem")
            self._kpageflags = self._open_kpageflags()
        except UsageError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        while self._fds:
            os.close(self._fds.pop())

    def _open(self, name: str) -> int:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fds[0])
        except OSError as error:
            raise self._unreadable(name, error) from error
        self._fds.append(fd)
        return fd

    def _open_kpageflags(self) -> int:
        try:
            fd = os.open(self._proc / "kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # only root may; without it, see is_zero_page()
            return -1
        self._fds.append(fd)
        return fd

    def _unreadable(self, name: str, error: OSError) -> UsageError:
        path, why = f"{self.name}: {self._proc}/{self.pid}/{name}", error.strerror
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return NoMemory(f"{path}: nothing to read: a kernel thread, or it has exited")
        if error.errno in (errno.EACCES, errno.EPERM):
            why = f"{why}; only root and, where ptrace is allowed, the owner may look into a process"
        return UsageError(f"{path}: {why}")

    def _text(self, name: str) -> str:
        """A whole file as text.

        Raises:
            ProcessGone: the process has exited.
            UsageError: the file cannot be read.
        """
        try:
            with os.fdopen(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fds[0]), "rb") as file:
                return os.fsdecode(file.read())
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ENOENT) and name == "maps":
                raise ProcessGone from error
            raise self._unreadable(name, error) from error

    # -- areas --------------------------------------------------------------------------------------------------

    def mappings(self) -> list[Mapping]:
        """All areas by address.

        Raises:
            ProcessGone: the process has exited.
            UsageError: maps cannot be read, or what is in it cannot be understood.
        """
        text = self._text("maps")
        if not text:
            raise ProcessGone
        mappings = []
        for number, line in enumerate(text.splitlines(), 1):
            match = _MAPS.fullmatch(line)
            if match is None:
                raise UsageError(f"{self.name}: {self._proc}/{self.pid}/maps:{number}: not understood: {quoted(line)}")
            start, end, access, _, name = match.groups()
            mergeable = access[3] == "p" and name not in SPECIAL and not _DEVICE.match(name)
            mappings.append(Mapping(int(start, 16), int(end, 16), name, mergeable))
        return mappings

    def numa_areas(self) -> dict[int, NumaArea]:
        """The lines of numa_maps by start address; empty where the kernel has no such file or does not let us see."""
        try:
            text = self._text("numa_maps")
        except UsageError:
            return {}
        areas = {}
        for line in text.splitlines():
            start, *fields = line.split()
            values = dict(field.partition("=")[::2] for field in fields)
            by_node = {int(key[1:]): int(value) for key, value in values.items() if re.fullmatch(r"N\d+", key)}
            areas[int(start, 16)] = NumaArea(int(values.get("anon", 0)), by_node, "huge" in values)
        return areas

    # -- pages --------------------------------------------------------------------------------------------------

    def entries(self, start: int, end: int) -> Iterator[tuple[int, array[int]]]:
        """Pagemap entries of [start, end), in parts with the address of their first; no entries where no page is.

        Raises:
            ProcessGone: the process has exited.
            UsageError: pagemap cannot be read.
        """
        address = start
        while address < end:
            count = min((end - address) // PAGE_SIZE, ENTRIES)
            try:
                data = os.pread(self._pagemap, count * 8, address // PAGE_SIZE * 8)
            except OSError as error:
                raise self._unreadable("pagemap", error) from error
            if len(data) < 8:
                raise ProcessGone
            count = len(data) // 8
            yield address, array("Q", b"" if data == NOTHING[: len(data)] else data[: count * 8])
            address += count * PAGE_SIZE

    def read(self, address: int, into: memoryview) -> int:
        """Read present pages; how many whole ones came: 0 if the first is not there any more.

        Raises:
            ProcessGone: the process has exited.
        """
        try:
            got = os.preadv(self._mem, [into], address)
        except OSError as error:
            if error.errno == errno.ESRCH:
                raise ProcessGone from error
            return 0
        if not got:  # mem says so when the memory is no longer in use
            raise ProcessGone
        return got // PAGE_SIZE

    def is_zero_page(self, entry: int) -> bool:
        """Whether a page of zeros is the kernel's own zero page, which belongs to no process and is nothing for KSM.

        The zero page is never mapped exclusively. A page of zeros that is not either is asked about in kpageflags;
        if that may not be read it is taken for the zero page, though a forked or KSM page looks the same.
        """
        if entry & EXCLUSIVE:
            return False
        pfn = entry & PFN
        if not pfn or self._kpageflags < 0:
            return True
        try:
            flags = os.pread(self._kpageflags, 8, pfn * 8)
        except OSError:
            return True
        return len(flags) < 8 or bool(int.from_bytes(flags, _NATIVE) & KPF_ZERO_PAGE)


_NATIVE: Final = "little" if array("H", b"\1\0")[0] == 1 else "big"


class NodeOfFrame:
    """Which node a frame is on, as sysfs says of each block of memory.

    Without blocks (one node only, or no sysfs) every frame is on node 0; `nodes` is the highest node + 1.
    """

    def __init__(self, *, sys: Path = Path("/sys")) -> None:
        system = sys / "devices/system"
        names = (path.name for path in (system / "node").glob("node*"))
        numbers = [int(name[4:]) for name in names if re.fullmatch(r"node\d+", name)]
        self.nodes: Final = max(numbers, default=0) + 1
        self._node_of_block: dict[int, int] = {}
        self._block_pages = 1
        if self.nodes == 1:
            return
        try:
            self._block_pages = int((system / "memory/block_size_bytes").read_text(), 16) // PAGE_SIZE
        except (OSError, ValueError):
            return
        for nid in numbers:
            for path in (system / f"node/node{nid}").glob("memory*"):
                if re.fullmatch(r"memory\d+", path.name):
                    self._node_of_block[int(path.name[6:])] = nid

    def of(self, pfn: int) -> int | None:
        """The node; None if it is not known (pfn 0: the reader may not see frame numbers)."""
        if self.nodes == 1:
            return 0
        return self._node_of_block.get(pfn // self._block_pages) if pfn else None
