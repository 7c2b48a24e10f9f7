"""The pages of this machine's processes: the frame at each address, whether it is a KSM page, and its node."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
from array import array
from collections.abc import Sequence
from contextlib import closing
from typing import Final, NamedTuple

from ksmactors.conformance.kernel_memory import PageTable
from ksmactors.conformance.page_map import PageState
from ksmactors.errors import UsageError
from ksmactors.mm.const import PAGE_SIZE

MPOL_MF_MOVE: Final = 2
MPOL_MF_MOVE_ALL: Final = 4

PAGEMAP_PRESENT: Final = 1 << 63
PAGEMAP_SWAP: Final = 1 << 62
PAGEMAP_PFN: Final = (1 << 55) - 1
SWAP_TYPE_BITS: Final = 5
SWAP_TYPE: Final = (1 << SWAP_TYPE_BITS) - 1
SPECIAL: Final = 16
"""Types of swap entries from here on are no devices: there are never so many."""

KPF_HWPOISON: Final = 1 << 19
KPF_KSM: Final = 1 << 21
KPF_ZERO_PAGE: Final = 1 << 24

UNWRITTEN: Final = -(1 << 31)
"""A status that move_pages never writes."""


class Calls(NamedTuple):
    """The numbers of the system calls that libc has no functions for."""

    move_pages: int
    mbind: int


CALLS: Final = {
    "x86_64": Calls(279, 237), "aarch64": Calls(239, 235), "riscv64": Calls(239, 235),
    "loongarch64": Calls(239, 235), "ppc64le": Calls(301, 259), "s390x": Calls(310, 268),
}  # fmt: skip


class Pages:
    """Reads the state of pages and moves them. `table`, if there is one, says what is a KSM page where /proc/kpageflags
    does not; if there is none, `unreadable` says why.

    Raises:
        UsageError: this machine hides its page frames.
    """

    def __init__(self, table: PageTable | None = None, unreadable: str = "") -> None:
        self._table, self.unreadable = table, unreadable
        calls = CALLS.get(platform.machine())
        if calls is None or os.sysconf("SC_PAGE_SIZE") != PAGE_SIZE:
            raise UsageError(
                f"--live: a {platform.machine()} with pages of {os.sysconf('SC_PAGE_SIZE')} bytes is not supported; "
                f"4096 bytes and one of {', '.join(CALLS)} are"
            )
        self.calls = calls
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = self._libc.process_vm_readv.restype = ctypes.c_long
        try:
            self._flags = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                f"--live: /proc/kpageflags cannot be read ({error.strerror}); it needs CONFIG_PROC_PAGE_MONITOR"
            ) from None
        self._probe()

    def close(self) -> None:
        """Close the files."""
        os.close(self._flags)

    def _probe(self) -> None:
        """Refuse kernels that flag every anonymous page as a KSM page: sharing cannot be determined on them."""
        with closing(mmap.mmap(-1, PAGE_SIZE, flags=mmap.MAP_PRIVATE)) as memory:
            memory[0] = 1
            view = ctypes.c_char.from_buffer(memory)
            address = ctypes.addressof(view)
            sight = self.sights(os.getpid(), [address])[0]
            drained = self.drain()
            del view
        if sight.pfn <= 0:
            raise UsageError("--live: page frame numbers are hidden here; it needs CAP_SYS_ADMIN")
        if sight.kind == "ksm":
            if self._table is None:
                raise UsageError(
                    "--live: this kernel's /proc/kpageflags calls every anonymous page a KSM page, and which ones are "
                    f"cannot be read from its memory ({self.unreadable}); boot another kernel"
                )
            raise UsageError("--live: an ordinary page of this kernel looks like a KSM page in its memory, too")
        if drained:
            name = errno.errorcode[drained]
            raise UsageError(f"--live: move_pages is refused here ({name}); it needs CONFIG_MIGRATION")

    def sights(self, pid: int, addresses: Sequence[int]) -> list[PageState]:
        """Return the state of a process's page at each address."""
        entries = _entries(pid, addresses)
        present = [address for address, entry in zip(addresses, entries, strict=True) if entry & PAGEMAP_PRESENT]
        nodes = dict(zip(present, self.nodes(pid, present), strict=True))
        return [
            self._page_state(entry, nodes.get(address, -1)) for address, entry in zip(addresses, entries, strict=True)
        ]

    def _page_state(self, entry: int, nid: int) -> PageState:
        if not entry & PAGEMAP_PRESENT:
            return PageState(self._absent(entry))
        pfn = entry & PAGEMAP_PFN
        flags = self._flags_of(pfn)
        if flags & KPF_ZERO_PAGE:
            return PageState("zero")
        ksm = bool(flags & KPF_KSM)
        if ksm and self._table is not None:  # some kernels set the flag for every anonymous page
            ksm = self._table.is_ksm(pfn)
        return PageState("ksm" if ksm else "anon", pfn, nid, bool(flags & KPF_HWPOISON))

    def _absent(self, entry: int) -> str:
        """The kind of an entry that is not present. A special one names a frame in the place of a swap slot: one whose
        memory has failed, or that is on its way."""
        if not entry & PAGEMAP_SWAP:
            return "none"
        if entry & SWAP_TYPE < SPECIAL:
            return "swap"
        return "hwpoison" if self._flags_of((entry & PAGEMAP_PFN) >> SWAP_TYPE_BITS) & KPF_HWPOISON else "moving"

    def _flags_of(self, pfn: int) -> int:
        return int.from_bytes(os.pread(self._flags, 8, pfn * 8), "little")

    def nodes(self, pid: int, addresses: Sequence[int]) -> list[int]:
        """Return the node of each page, or a negative errno."""
        return self._move_pages(pid, addresses, None, 0)[1] if addresses else []

    def move(self, pid: int, address: int, node: int, *, move_all: bool) -> tuple[int, int | None]:
        """move_pages for one page: (what it returned, the status or None if it wrote none)."""
        returned, (status,) = self._move_pages(pid, [address], node, MPOL_MF_MOVE_ALL if move_all else MPOL_MF_MOVE)
        return returned, None if status == UNWRITTEN else status

    def read(self, pid: int, address: int) -> int:
        """process_vm_readv(2) of a page: 0 or a negative errno."""
        ours, theirs = (ctypes.c_uint64 * 2)(), (ctypes.c_uint64 * 2)(address, PAGE_SIZE)  # struct iovec
        content = ctypes.create_string_buffer(PAGE_SIZE)
        ours[:] = [ctypes.addressof(content), PAGE_SIZE]
        one, no_flags = ctypes.c_ulong(1), ctypes.c_ulong(0)
        read = self._libc.process_vm_readv(pid, ctypes.byref(ours), one, ctypes.byref(theirs), one, no_flags)
        return 0 if read == PAGE_SIZE else -ctypes.get_errno()

    def drain(self) -> int:
        """Empty the LRU batches of all CPUs, by a move_pages that moves nothing. 0 or an errno."""
        returned, _ = self._move_pages(0, [], 0, MPOL_MF_MOVE)
        return -returned

    def _move_pages(self, pid: int, addresses: Sequence[int], node: int | None, flags: int) -> tuple[int, list[int]]:
        count = len(addresses)
        status = (ctypes.c_int * max(count, 1))(*[UNWRITTEN] * max(count, 1))
        nodes = None if node is None else (ctypes.c_int * max(count, 1))(*[node] * count)
        returned: int = self._libc.syscall(
            ctypes.c_long(self.calls.move_pages), ctypes.c_long(pid), ctypes.c_ulong(count),
            (ctypes.c_void_p * max(count, 1))(*addresses), nodes, status, ctypes.c_long(flags),
        )  # fmt: skip
        return (returned if returned >= 0 else -ctypes.get_errno()), list(status[:count])


def _entries(pid: int, addresses: Sequence[int]) -> list[int]:
    """Return a process's entry of /proc/PID/pagemap for each address; all from the lowest to the highest are read at
    once, since regions are beside each other."""
    if not addresses:
        return []
    first = min(addresses) // PAGE_SIZE
    size = 8 * (max(addresses) // PAGE_SIZE - first + 1)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        entries = array("Q", os.pread(pagemap, size, first * 8))
    finally:
        os.close(pagemap)
    return [entries[address // PAGE_SIZE - first] for address in addresses]
