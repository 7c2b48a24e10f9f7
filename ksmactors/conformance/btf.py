"""The layout of a kernel's structures, from the type information that it carries (BTF, /sys/kernel/btf/vmlinux).

Only structures and unions are decoded: sizes, and at which byte their members are. Members of anonymous structures and
unions count as members of what surrounds them, as in C. The format is described in Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ksmactors.errors import KsmActorsError
from ksmactors.quantity import quantity

MAGIC: Final = 0xEB9F
STRUCT: Final = 4
UNION: Final = 5
_HEADER: Final = struct.Struct("<HBBIIIII")
_TYPE: Final = struct.Struct("<III")

_TAIL_BYTES: Final = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
    11: (0, 0), 12: (0, 0), 13: (0, 8), 14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0), 18: (0, 0), 19: (0, 12),
}  # fmt: skip
"""For each kind of type, how many bytes follow its head: always, and for each of its members."""

DEPTH_MAX: Final = 16
"""Anonymous structures inside of one another."""


class LayoutError(KsmActorsError):
    """The kernel's memory or types cannot be used: the message says what is missing."""


@dataclass(frozen=True, slots=True)
class StructLayout:
    """A structure: its size, and the offsets of its members, in bytes."""

    name: str
    size: int
    offsets: dict[str, int]

    def __getitem__(self, member: str) -> int:
        try:
            return self.offsets[member]
        except KeyError:
            raise LayoutError(f"struct {self.name} has no member {member} in this kernel") from None

    def __contains__(self, member: str) -> bool:
        return member in self.offsets


class Btf:
    """The types of one kernel.

    Raises:
        LayoutError: the data is damaged.
    """

    def __init__(self, data: bytes) -> None:
        try:
            magic, version, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
            if magic != MAGIC or version != 1:
                raise LayoutError(f"is no BTF of version 1 for a little-endian machine (it begins {data[:4].hex()})")
            self._types = data[header + type_off : header + type_off + type_len]
            self._strings = data[header + str_off : header + str_off + str_len]
            if len(self._types) != type_len or len(self._strings) != str_len:
                raise LayoutError(f"is cut off: it has {quantity(len(data), 'byte')}")
            self._starts = self._index()
            self._structures = self._named()
            self._layouts: dict[int, StructLayout] = {}
        except (struct.error, KeyError) as error:
            raise LayoutError(f"is damaged ({error})") from None

    def _index(self) -> array[int]:
        """Return where each type starts; number 0 is void."""
        starts = array("I", [0])
        types, unpack, tails = self._types, _TYPE.unpack_from, _TAIL_BYTES
        position, end = 0, len(types)
        while position < end:
            starts.append(position)
            info = unpack(types, position)[1]
            always, each = tails[info >> 24 & 0x1F]
            position += 12 + always + each * (info & 0xFFFF)
        if position != end:
            raise LayoutError("is damaged: its last type is cut off")
        return starts

    def layout(self, *names: str, having: str = "") -> StructLayout:
        """Return the first structure that there is of these names: kernels have renamed some. It must have a member
        `having`, if given: there are different ones of one name in different files of some kernels.

        Raises:
            LayoutError: there is none.
        """
        for name in names:
            for number in self._structures.get(name, ()):
                found = self._layouts.get(number)
                if found is None:
                    members = dict(self._members(number, 0, 0))
                    found = self._layouts[number] = StructLayout(name, self._head(number)[2], members)
                if not having or having in found:
                    return found
        raise LayoutError(f"this kernel's types have no struct {' or '.join(names)}")

    def _named(self) -> dict[str, list[int]]:
        """Return all structures by name."""
        named: dict[str, list[int]] = {}
        types, unpack = self._types, _TYPE.unpack_from
        for number, start in enumerate(self._starts):
            name, info, _ = unpack(types, start)
            if number and name and info >> 24 & 0x1F == STRUCT:
                named.setdefault(self._string(name), []).append(number)
        return named

    def _members(self, number: int, base: int, depth: int) -> Iterator[tuple[str, int]]:
        if depth > DEPTH_MAX:
            raise LayoutError("is damaged: a structure contains itself")
        start = self._starts[number]
        _, info, _ = _TYPE.unpack_from(self._types, start)
        for index in range(info & 0xFFFF):
            name, kind, offset = _TYPE.unpack_from(self._types, start + 12 + 12 * index)
            bits = offset & 0xFFFFFF if info >> 31 else offset
            at = base + bits // 8
            if name:
                yield self._string(name), at
            elif 0 < kind < len(self._starts) and self._head(kind)[1] >> 24 & 0x1F in (STRUCT, UNION):
                yield from self._members(kind, at, depth + 1)

    def _head(self, number: int) -> tuple[int, int, int]:
        name, info, size = _TYPE.unpack_from(self._types, self._starts[number])
        return name, info, size

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise LayoutError("is damaged: a name has no end")
        return self._strings[offset:end].decode("utf-8", "replace")
