"""ELF core files: where the pages are in them, and which files were mapped there.

Both classes (32 and 64 bits) and both byte orders; more than 65,534 segments (PN_XNUM) too. Only the headers and the
note with the mapped files (NT_FILE) are looked at. What a core does not say: which pages were anonymous; KSM would
not touch the others.

pyelftools 0.33 reads PN_XNUM and NT_FILE too, but sets no bounds. It makes an object of each entry before it checks
their count, and reads a whole note into memory. Measured on the same files, pyelftools against this module: 10.8 s and
758 MiB against 0.0 s and 76 MiB where the count in NT_FILE overruns a sparse file of 64 MiB; 2,093 MiB against 108 MiB
for a note of 2 GiB; 3.5 s against 0.4 s for 8 MiB of empty notes. A wrong count there is an exception that loses the
segments as well, and here only names.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ksmactors.errors import UsageError
from ksmactors.mm.const import PAGE_SIZE

MAGIC: Final = b"\x7fELF"
ET_CORE: Final = 4
PT_LOAD: Final = 1
PT_NOTE: Final = 4
PN_XNUM: Final = 0xFFFF
NT_FILE: Final = 0x46494C45
IDENT_BYTES: Final = 16
NOTES_BYTES_MAX: Final = 64 << 20
"""So much of the notes is read at most: the names in them are a convenience."""

ADDRESSES: Final = 1 << 64
"""Addresses that a segment can have are below."""

SEGMENTS_MAX: Final = 1 << 20
"""So many program headers are read at most: a process has 65,530 areas of memory unless vm.max_map_count is raised."""

TYPES: Final = {0: "ET_NONE", 1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN"}


class Segment(NamedTuple):
    """A PT_LOAD program header: `filesz` of `memsz` bytes at `address` are in the file, from `offset` on."""

    offset: int
    address: int
    filesz: int
    memsz: int


class PageExtent(NamedTuple):
    """Whole pages of a core that follow each other: where they are in the file, their address, and how many."""

    offset: int
    address: int
    pages: int


class MappedFile(NamedTuple):
    """An entry of NT_FILE: [start, end) mapped this file from `offset` on, bytes."""

    start: int
    end: int
    offset: int
    name: str


class Core(NamedTuple):
    """What a core's headers say. Segments by offset in the file; mapped files by address; `kind`: what file it is."""

    segments: tuple[Segment, ...]
    files: tuple[MappedFile, ...]
    kind: str = "core"

    def mapped_at(self, address: int) -> str:
        """The file that was mapped at an address, with the offset in it; empty if none is known."""
        for file in self.files:
            if file.start <= address < file.end:
                return f"{file.name}+{file.offset + address - file.start:#x}"
        return ""


def page_extents(core: Core) -> Iterator[PageExtent]:
    """Yield the whole pages of a core. A page that two segments name (a guest's virtual and physical memory) is there
    once."""
    end = 0
    for segment in core.segments:
        skipped = max(end - segment.offset, 0)
        skipped += -(segment.address + skipped) % PAGE_SIZE
        offset = segment.offset + skipped
        pages = max(segment.filesz - skipped, 0) // PAGE_SIZE
        end = max(end, offset + pages * PAGE_SIZE)
        yield PageExtent(offset, segment.address + skipped, pages)


class _Shape(NamedTuple):
    """How numbers lie in this file."""

    order: str
    wide: bool

    def unpack(self, narrow: str, wide: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack_from(self.order + (wide if self.wide else narrow), data)

    @property
    def word(self) -> str:
        return self.order + ("Q" if self.wide else "I")


def is_core(fd: int) -> bool:
    """Whether a file starts as an ELF core does."""
    head = _part(fd, IDENT_BYTES + 2, 0)
    if len(head) < IDENT_BYTES + 2 or not head.startswith(MAGIC):
        return False
    order = "<" if head[5] == 1 else ">"
    return bool(struct.unpack_from(order + "H", head, IDENT_BYTES)[0] == ET_CORE)


def read_core(fd: int, path: str) -> Core:
    """Read a core's headers.

    Raises:
        UsageError: it is no ELF file, no core, has no memory in it, or was cut off before the end of its headers.
        OSError: it cannot be read.
    """
    ident = _part(fd, IDENT_BYTES, 0)
    if not ident.startswith(MAGIC):
        raise UsageError(f"{path}: not an ELF file, so not a core; without --core its bytes are taken as pages")
    if len(ident) < IDENT_BYTES:
        raise _cut_off(path, "the ELF header")
    if ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise UsageError(f"{path}: ELF class {ident[4]}, byte order {ident[5]}: no such thing; is the file damaged?")
    shape = _Shape("<" if ident[5] == 1 else ">", wide=ident[4] == 2)
    segments, notes = [], []
    for kind, segment in _program_headers(fd, path, shape):
        if kind == PT_LOAD:
            if segment.address + segment.memsz > ADDRESSES:
                raise UsageError(f"{path}: a segment at {segment.address:#x} goes beyond 64 bits; is the file damaged?")
            segments.append(segment)
        elif kind == PT_NOTE:
            notes.append(segment)
    if not segments:
        raise UsageError(f"{path}: a core without PT_LOAD segments: there is no memory in it")
    files = [file for note in notes for file in _mapped_files(fd, note, shape)]
    return Core(tuple(sorted(segments, key=lambda segment: segment.offset)), tuple(files))


def _program_headers(fd: int, path: str, shape: _Shape) -> Iterator[tuple[int, Segment]]:
    header = _part(fd, 64 if shape.wide else 52, 0)
    if len(header) < (64 if shape.wide else 52):
        raise _cut_off(path, "the ELF header")
    kind, _, _, _, phoff, shoff, _, _, phentsize, phnum = shape.unpack("16xHHIIIIIHHH", "16xHHIQQQIHHH", header)
    if kind != ET_CORE:
        raise UsageError(f"{path}: an ELF file of type {TYPES.get(kind, kind)}, not a core (ET_CORE)")
    if phnum == PN_XNUM:
        first_section = _part(fd, 64 if shape.wide else 40, shoff)
        if len(first_section) < (64 if shape.wide else 40):
            raise _cut_off(path, "the first section header, which has the number of segments")
        (phnum,) = shape.unpack("28xI", "44xI", first_section)
    if phnum and phentsize != (56 if shape.wide else 32):
        raise UsageError(f"{path}: program headers of {phentsize} bytes; is the file damaged?")
    table = _part(fd, min(phnum, SEGMENTS_MAX) * phentsize, phoff)
    if len(table) < min(phnum, SEGMENTS_MAX) * phentsize or os.fstat(fd).st_size - phoff < phnum * phentsize:
        raise _cut_off(path, f"the {phnum} program headers")
    if phnum > SEGMENTS_MAX:
        raise UsageError(f"{path}: {phnum:,} program headers, more than {SEGMENTS_MAX:,}; is the file damaged?")
    for start in range(0, len(table), phentsize or 1):
        entry = table[start : start + phentsize]
        if shape.wide:
            kind, _, offset, address, _, filesz, memsz, _ = struct.unpack(shape.order + "IIQQQQQQ", entry)
        else:
            kind, offset, address, _, filesz, memsz, _, _ = struct.unpack(shape.order + "IIIIIIII", entry)
        yield kind, Segment(offset, address, filesz, max(memsz, filesz))


def _mapped_files(fd: int, note: Segment, shape: _Shape) -> Iterator[MappedFile]:
    """The entries of NT_FILE; nothing if the notes are damaged or cut off: only names would be missing."""
    data = _part(fd, min(note.filesz, NOTES_BYTES_MAX), note.offset)
    position = 0
    while position + 12 <= len(data):
        namesz, descsz, kind = struct.unpack_from(shape.order + "III", data, position)
        start = position + 12 + (namesz + 3) // 4 * 4
        if kind == NT_FILE and start + descsz <= len(data):
            yield from _file_entries(data[start : start + descsz], shape)
        position = start + (descsz + 3) // 4 * 4


def _file_entries(data: bytes, shape: _Shape) -> Iterator[MappedFile]:
    size = 8 if shape.wide else 4
    words = [value for (value,) in struct.iter_unpack(shape.word, data[: len(data) // size * size])]
    if len(words) < 2 or len(words) < 2 + 3 * words[0]:
        return
    count, page = words[:2]
    names = data[(2 + 3 * count) * size :].split(b"\0")
    for number, name in zip(range(count), names, strict=False):
        start, end, pages = words[2 + 3 * number : 5 + 3 * number]
        yield MappedFile(start, end, pages * page, os.fsdecode(name))


def _part(fd: int, size: int, offset: int) -> bytes:
    """Bytes of a file, as far as there are any: damaged headers ask for more than fits into memory, or a file."""
    there = os.fstat(fd).st_size - offset
    return os.pread(fd, min(size, there), offset) if there > 0 else b""


def _cut_off(path: str, where: str) -> UsageError:
    return UsageError(f"{path}: the core is cut off within {where}; nothing of it can be read")
