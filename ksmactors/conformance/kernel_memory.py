"""The memory of the running kernel, read through /proc/kcore as root: without a module, and without debugging symbols.

Where things are comes from /proc/kallsyms, how they are laid out from the kernel's own type information. Nothing is
locked: what is read must be at rest.
"""

from __future__ import annotations

import os
import platform
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from ksmactors.conformance.btf import Btf, LayoutError, StructLayout
from ksmactors.errors import UsageError
from ksmactors.estimate.elf import read_core

KCORE: Final = Path("/proc/kcore")
KALLSYMS: Final = Path("/proc/kallsyms")
TYPES: Final = Path("/sys/kernel/btf/vmlinux")

VMEMMAP_BASE: Final = 0xFFFF_EA00_0000_0000
"""Where struct pages start if the kernel does not choose the place at boot."""

MAPPING_KSM: Final = 3
"""The low bits of the mapping of a KSM page; PAGE_MAPPING_ANON | PAGE_MAPPING_MOVABLE."""

NODES_MAX: Final = 1 << 20
"""Entries of a tree or list that is not damaged."""

SYMBOLS: Final = frozenset({
    "vmemmap_base", "init_task", "root_stable_tree", "root_unstable_tree", "one_stable_tree", "migrate_nodes",
    "ksm_nr_node_ids", "nr_node_ids", "ksm_mm_head", "ksm_scan", "ksm_thread_mutex",
})  # fmt: skip


class Record(NamedTuple):
    """A structure in the kernel's memory, as it was when it was read: one system call for all of its members."""

    address: int
    layout: StructLayout
    data: bytes

    def pointer(self, member: str) -> int:
        """Return a member of 8 bytes as a number."""
        return self.pointer_at(self.layout[member])

    def pointer_at(self, offset: int) -> int:
        """Return the 8 bytes at an offset as a number."""
        return int.from_bytes(self.data[offset : offset + 8], "little")

    def int32(self, member: str) -> int:
        """Return a member of 4 bytes as a signed number."""
        return self.int32_at(self.layout[member])

    def int32_at(self, offset: int) -> int:
        """Return the 4 bytes at an offset as a signed number."""
        return int.from_bytes(self.data[offset : offset + 4], "little", signed=True)


class KernelMemory:
    """The kernel's memory, symbols and types.

    Raises:
        LayoutError: this kernel does not show them.
    """

    def __init__(self, kcore: Path = KCORE, kallsyms: Path = KALLSYMS, types: Path = TYPES) -> None:
        if platform.machine() != "x86_64":
            raise LayoutError(f"the kernel's memory is understood on x86_64 only, and this is {platform.machine()}")
        self.btf = _types(types)
        self.symbols = _symbols(kallsyms)
        try:
            self._file = os.open(kcore, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LayoutError(f"{kcore}: {error.strerror}; it needs CONFIG_PROC_KCORE, and root") from None
        try:
            segments = read_core(self._file, str(kcore)).segments
        except (OSError, UsageError) as error:
            raise LayoutError(f"{kcore} cannot be read: {error}") from None
        self._segments = sorted(segments, key=lambda segment: segment.address)
        self._starts = [segment.address for segment in self._segments]

    def symbol(self, name: str) -> int:
        """Return the address of a symbol."""
        try:
            return self.symbols[name]
        except KeyError:
            raise LayoutError(f"/proc/kallsyms does not have {name}; it needs CONFIG_KALLSYMS_ALL") from None

    def read(self, address: int, size: int) -> bytes:
        """Return bytes at a virtual address.

        Raises:
            LayoutError: there is no memory.
        """
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            segment = self._segments[index]
            if address + size <= segment.address + segment.memsz:
                try:
                    data = os.pread(self._file, size, segment.offset + address - segment.address)
                except OSError:
                    data = b""
                if len(data) == size:
                    return data
        raise LayoutError(f"/proc/kcore has no memory at {address:#x}")

    def pointer(self, address: int) -> int:
        """Return the 8 bytes at an address as a number."""
        return int.from_bytes(self.read(address, 8), "little")

    def int32(self, address: int) -> int:
        """Return the 4 bytes at an address as a signed number."""
        return int.from_bytes(self.read(address, 4), "little", signed=True)

    def record(self, address: int, layout: StructLayout) -> Record:
        """Return the structure at an address, read at once."""
        return Record(address, layout, self.read(address, layout.size))

    def linked(self, head: int) -> Iterator[int]:
        """Yield the entries of a list_head that is not `head` itself."""
        entry = self.pointer(head)
        for _ in range(NODES_MAX):
            if entry == head:
                return
            yield entry
            entry = self.pointer(entry)
        raise LayoutError(f"the list at {head:#x} has no end")

    def chained(self, entry: int) -> Iterator[int]:
        """Yield the nodes of an hlist from one on, 0 for none."""
        first = entry
        for _ in range(NODES_MAX):
            if not entry:
                return
            yield entry
            entry = self.pointer(entry)
        raise LayoutError(f"the list from {first:#x} on has no end")

    def tree(self, root: int) -> list[int]:
        """Return the rb_nodes of a tree in order."""
        rb_node = self.btf.layout("rb_node")
        ordered: list[int] = []
        above: list[Record] = []
        node = self.pointer(root)
        while node or above:
            if len(ordered) + len(above) > NODES_MAX:
                raise LayoutError(f"the tree at {root:#x} has no end")
            if node:
                above.append(self.record(node, rb_node))
                node = above[-1].pointer("rb_left")
            else:
                ordered.append(above[-1].address)
                node = above.pop().pointer("rb_right")
        return ordered


class PageTable:
    """The struct pages of the kernel."""

    def __init__(self, memory: KernelMemory) -> None:
        self._memory = memory
        page = memory.btf.layout("page")
        self._page, self._refcount = page, page["_refcount"]
        self._mapping = page["mapping"] if "mapping" in page else memory.btf.layout("folio")["mapping"]
        base = memory.symbols.get("vmemmap_base")
        self._base = VMEMMAP_BASE if base is None else memory.pointer(base)

    def is_ksm(self, pfn: int) -> bool:
        """Whether a page that is mapped is a KSM page."""
        return self._memory.pointer(self._base + pfn * self._page.size + self._mapping) & 3 == MAPPING_KSM

    def belongs_to(self, pfn: int, stable_node: int) -> bool:
        """Whether a page names a stable node, and is not free."""
        page = self._memory.record(self._base + pfn * self._page.size, self._page)
        return page.pointer_at(self._mapping) == stable_node | MAPPING_KSM and page.int32_at(self._refcount) > 0


@cache
def _types(types: Path) -> Btf:
    """Return the types of the kernel, which stay the same until the next boot."""
    try:
        return Btf(types.read_bytes())
    except OSError as error:
        raise LayoutError(f"{types}: {error.strerror}; it needs CONFIG_DEBUG_INFO_BTF") from None
    except LayoutError as error:
        raise LayoutError(f"{types} {error}") from None


@cache
def _symbols(kallsyms: Path) -> dict[str, int]:
    """Return the addresses of the symbols that are used. A line has 16 digits, a letter and the symbol."""
    wanted = {name.encode(): name for name in SYMBOLS}
    try:
        with kallsyms.open("rb") as lines:
            found = {wanted[line[19:-1]]: int(line[:16], 16) for line in lines if line[19:-1] in wanted}
    except OSError as error:
        raise LayoutError(f"{kallsyms}: {error.strerror}") from None
    if found and not any(found.values()):
        raise LayoutError(f"{kallsyms} hides addresses; it needs root, and kernel.kptr_restrict below 2")
    return found
