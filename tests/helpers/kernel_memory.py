"""A made kernel: types, symbols, and memory in the form of /proc/kcore."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

BASE = 0xFFFF_8880_0000_0000
SIZE = 1 << 16
STRUCT, UNION, INT = 4, 5, 1

Member = tuple[str, int, list[Any] | None]
"""Name, offset in bytes, and the members of an anonymous union; a name of "" is anonymous."""


class Types:
    """Makes BTF of structures."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types: list[bytes] = [self._head("int", INT, 0, 4) + struct.pack("<I", 32)]

    def _name(self, name: str) -> int:
        if not name:
            return 0
        offset = len(self.strings)
        self.strings += name.encode() + b"\0"
        return offset

    def _head(self, name: str, kind: int, members: int, size: int) -> bytes:
        return struct.pack("<III", self._name(name), kind << 24 | members, size)

    def add(self, name: str, size: int, members: list[Member], kind: int = STRUCT) -> int:
        """Add a structure; return its number. Offsets are those inside of it."""
        body = b""
        for member, offset, inner in members:
            number = 1 if inner is None else self.add("", 0, inner, UNION)
            body += struct.pack("<III", self._name(member), number, offset * 8)
        self.types.append(self._head(name, kind, len(members), size) + body)
        return len(self.types)

    def blob(self) -> bytes:
        """The whole, as in /sys/kernel/btf/vmlinux."""
        types = b"".join(self.types)
        head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings))
        return head + types + self.strings


class Memory:
    """Memory from BASE on, to be filled, and its files."""

    def __init__(self) -> None:
        self.bytes = bytearray(SIZE)
        self.symbols: dict[str, int] = {}
        self._top = 64

    def take(self, size: int, name: str = "") -> int:
        """Return the address of a new place, aligned, with a symbol if it has a name."""
        address = BASE + self._top
        self._top += (size + 63) // 64 * 64
        if name:
            self.symbols[name] = address
        return address

    def put(self, address: int, value: int, size: int = 8) -> None:
        """Write a number."""
        at = address - BASE
        self.bytes[at : at + size] = value.to_bytes(size, "little", signed=value < 0)

    def write(self, directory: Path, types: bytes) -> dict[str, Path]:
        """Write the files that `KernelMemory` reads: its arguments."""
        offset = 64 + 56
        head = (
            b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        )
        segment = struct.pack("<IIQQQQQQ", 1, 7, offset, BASE, 0, SIZE, SIZE, 4096)
        files = {name: directory / name for name in ("kcore", "kallsyms", "types")}
        files["kcore"].write_bytes(head + segment + self.bytes)
        lines = [f"{address:016x} d {name}" for name, address in self.symbols.items()]
        files["kallsyms"].write_text(
            "\n".join(["0000000000001000 T other", *lines, "ffff T ksm_scan_thread\t[m]"]) + "\n"
        )
        files["types"].write_bytes(types)
        return files
