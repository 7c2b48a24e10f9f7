"""ELF cores made to order."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ksmactors.estimate.elf import ET_CORE, NT_FILE, PN_XNUM, PT_LOAD, PT_NOTE
from ksmactors.mm.const import PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Load:
    """A PT_LOAD segment: its address, what is in the file, and how much larger it is in memory."""

    address: int
    data: bytes
    more: int = 0


def core(
    loads: Sequence[Load], *, wide: bool = True, order: str = "<", files: Sequence[tuple[int, int, int, str]] = (),
    kind: int = ET_CORE, xnum: bool = False,
) -> bytes:  # fmt: skip
    """A core: headers, a note with the mapped files (start, end, page offset, name), and the segments, page aligned."""
    note = _note(files, wide=wide, order=order)
    headers = len(loads) + 1
    header_bytes, entry_bytes, section_bytes = (64, 56, 64) if wide else (52, 32, 40)
    note_at = header_bytes + headers * entry_bytes + (section_bytes if xnum else 0)
    offset = -(-(note_at + len(note)) // PAGE_SIZE) * PAGE_SIZE
    table = _entry(PT_NOTE, note_at, 0, len(note), 0, wide=wide, order=order)
    body = b""
    for load in loads:
        at = offset + len(body)
        size = len(load.data)
        table += _entry(PT_LOAD, at, load.address, size, size + load.more, wide=wide, order=order)
        body += load.data
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    section = b""
    if xnum:
        section = struct.pack(order + "44xI16x", headers) if wide else struct.pack(order + "28xI8x", headers)
    head = ident + struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        kind, 62, 1, 0, header_bytes, header_bytes + len(table) if xnum else 0, 0, header_bytes, entry_bytes,
        PN_XNUM if xnum else headers, section_bytes, 1 if xnum else 0, 0,
    )  # fmt: skip
    return (head + table + section + note).ljust(offset, b"\0") + body


def _entry(kind: int, offset: int, address: int, filesz: int, memsz: int, *, wide: bool, order: str) -> bytes:
    if wide:
        return struct.pack(order + "IIQQQQQQ", kind, 6, offset, address, 0, filesz, memsz, PAGE_SIZE)
    return struct.pack(order + "IIIIIIII", kind, offset, address, 0, filesz, memsz, 6, PAGE_SIZE)


def _note(files: Sequence[tuple[int, int, int, str]], *, wide: bool, order: str) -> bytes:
    word = order + ("Q" if wide else "I")
    numbers = [len(files), PAGE_SIZE, *(number for file in files for number in file[:3])]
    text = b"".join(struct.pack(word, number) for number in numbers)
    text += b"".join(file[3].encode() + b"\0" for file in files)
    other = struct.pack(order + "III", 5, 3, 1) + b"CORE\0\0\0\0" + b"abc\0"
    head = struct.pack(order + "III", 5, len(text), NT_FILE) + b"CORE\0\0\0\0"
    return other + head + text + bytes(-len(text) % 4)
