"""A process of a scenario on a real kernel: it does memory operations that it receives over a socket.

Run as a script by `live`, with the number of a socket's file descriptor as its argument; needs only the standard
library. One message is one request, one message answers it: a number, negative for an errno. A fork is a real fork; the
child gets its socket with the request. A socket that is closed at the other end means exit, so that no process outlives
the scenario, however that ends.

A scenario may execute it many times, and on an emulated processor each module in Python costs a tenth of a second. So
it takes what the modules `signal` and `socket` wrap as it is.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import faulthandler
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Final, NoReturn
else:
    import _signal as signal

PAGE: Final = 4096
PROT_READ_WRITE: Final = 3
MAP_PRIVATE_ANONYMOUS_NORESERVE_FIXED_NOREPLACE: Final = 0x2 | 0x20 | 0x4000 | 0x100000
MREMAP_MAYMOVE_FIXED: Final = 0x1 | 0x2
MPOL_BIND: Final = 2
PR_SET_THP_DISABLE: Final = 41
PR_SET_MEMORY_MERGE: Final = 67
PR_GET_MEMORY_MERGE: Final = 68
MADV_UNMERGEABLE: Final = 13
ARENA: Final = 1 << 38
"""Where regions are: the interpreter's own memory is below and above."""
EXECUTED: Final = "executed"
"""The second argument, if there is one: this program was executed by a process of a scenario."""
MAP_FAILED: Final = (1 << 64) - 1
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
DESCRIPTOR: Final = 4
"""Bytes of a file descriptor in a message."""
ROOM: Final = 1 << 20
"""Bytes for all that requests need: some kilobytes."""

libc: Final = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_uint64
libc.mmap.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
libc.mremap.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint64]
libc.mlock.argtypes = libc.munlock.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
libc.munmap.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
libc.madvise.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int]
libc.syscall.restype = ctypes.c_long


def negative_errno(failed: bool) -> int:
    """Return the answer to a request: 0, or the negative errno of its system call."""
    return -ctypes.get_errno() if failed else 0


def map_pages(address: int, pages: int, node: int, mbind: int) -> int:
    """Map private anonymous memory at `address`, its pages bound to a node; `mbind` is the system call's number."""
    size = pages * PAGE
    flags = MAP_PRIVATE_ANONYMOUS_NORESERVE_FIXED_NOREPLACE
    if libc.mmap(address, size, PROT_READ_WRITE, flags, -1, 0) == MAP_FAILED:
        return negative_errno(True)
    mask = ctypes.c_ulong(1 << node)
    bits = ctypes.c_ulong(8 * ctypes.sizeof(mask) + 1)  # the kernel takes one bit off
    failed = libc.syscall(
        ctypes.c_long(mbind), ctypes.c_ulong(address), ctypes.c_ulong(size), ctypes.c_long(MPOL_BIND),
        ctypes.byref(mask), bits, ctypes.c_ulong(0),
    )  # fmt: skip
    return negative_errno(failed != 0)


def content(token: int) -> bytes:
    """Return the page of a token: pages compare like their tokens, and token 0 is the zero page."""
    return token.to_bytes(8, "big") * (PAGE // 8)


def fill(address: int, pages: int, token: int, stride: int) -> int:
    """Write a token into each page; the next page's is `stride` more."""
    for page in range(pages):
        ctypes.memmove(address + page * PAGE, content((token + page * stride) % (1 << 64)), PAGE)
    return 0


def check(address: int, pages: int, token: int, stride: int) -> int:
    """Return how many pages do not hold their token."""
    return sum(
        ctypes.string_at(address + page * PAGE, PAGE) != content((token + page * stride) % (1 << 64))
        for page in range(pages)
    )


def read(address: int, pages: int) -> int:
    """Read one byte of each page."""
    for page in range(pages):
        ctypes.string_at(address + page * PAGE, 1)
    return 0


def madvise(address: int, pages: int, advice: int) -> int:
    """madvise(2)."""
    return negative_errno(libc.madvise(address, pages * PAGE, advice) != 0)


def munmap(address: int, pages: int) -> int:
    """munmap(2)."""
    return negative_errno(libc.munmap(address, pages * PAGE) != 0)


def mremap(address: int, pages: int, to: int) -> int:
    """mremap(2) to a free place."""
    size = pages * PAGE
    return negative_errno(libc.mremap(address, size, size, MREMAP_MAYMOVE_FIXED, to) == MAP_FAILED)


def mlock(address: int, pages: int) -> int:
    """mlock(2)."""
    return negative_errno(libc.mlock(address, pages * PAGE) != 0)


def munlock(address: int, pages: int) -> int:
    """munlock(2)."""
    return negative_errno(libc.munlock(address, pages * PAGE) != 0)


class Pipes:
    """Pinned pages: each in a pipe of its own, by the number in the request."""

    def __init__(self) -> None:
        self.open: dict[int, list[tuple[int, int]]] = {}

    def pin(self, address: int, number: int) -> int:
        """vmsplice(2) of a page into a pipe: a reference on it, without a write."""
        receiving, sending = os.pipe()
        page = (ctypes.c_uint64 * 2)(address, PAGE)  # struct iovec
        if libc.vmsplice(sending, ctypes.byref(page), ctypes.c_ulong(1), 0) != PAGE:
            failed = negative_errno(True)
            os.close(receiving)
            os.close(sending)
            return failed
        self.open.setdefault(number, []).append((receiving, sending))
        return 0

    def close(self) -> None:
        """Close all of them."""
        for number in list(self.open):
            while self.open[number]:
                self.unpin(number)

    def unpin(self, number: int) -> int:
        """Close the pipe that a page is in, the last one of that number; -ENOENT if there is none."""
        if not self.open.get(number):
            return -errno.ENOENT
        for descriptor in self.open[number].pop():
            os.close(descriptor)
        return 0


PIPES: Final = Pipes()


def make_room() -> list[bytes]:
    """Have the interpreter map now what it will need later: PR_SET_MEMORY_MERGE would make that mergeable, and what is
    mapped after `spare_the_interpreter` has looked would be scanned. Without this room, the size of the environment
    decides whether there is such memory.

    Returns what holds the room for small objects, a few of them in each of the interpreter's arenas; the room for large
    ones is the C library's, which is not to give it back.
    """
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)
    libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    bytearray(ROOM)
    small = [bytes(256) for _ in range(2 * ROOM // 256)]
    return small[::1024]


class MergeAdvice:
    """PR_SET_MEMORY_MERGE for the regions alone."""

    any = libc.prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1
    """Whether it is set: a program may inherit it."""

    def set(self, on: int) -> int:
        """prctl(2). It applies to all memory of a process, so the interpreter's own is taken out again."""
        failed = negative_errno(libc.prctl(PR_SET_MEMORY_MERGE, on, 0, 0, 0) != 0)
        if not failed:
            self.any = bool(on)
        return failed

    def spare_the_interpreter(self) -> None:
        """Remove the advice from the interpreter's memory, including what it has mapped since the last time."""
        if not self.any:
            return
        with open("/proc/self/maps", encoding="ascii") as file:  # noqa: PTH123  # without pathlib
            maps = file.read()
        for line in maps.splitlines():
            start, end = (int(word, 16) for word in line.split(maxsplit=1)[0].split("-"))
            if not ARENA <= start < 2 * ARENA:
                libc.madvise(start, end - start, MADV_UNMERGEABLE)


MERGING: Final = MergeAdvice()

REQUESTS: Final[dict[str, Callable[..., int]]] = {
    "map": map_pages, "fill": fill, "check": check, "read": read,
    "madvise": madvise, "munmap": munmap, "mremap": mremap, "mlock": mlock, "munlock": munlock,
    "pin": PIPES.pin, "unpin": PIPES.unpin, "merge_any": MERGING.set,
}  # fmt: skip


def report_faults(orders: _socket.socket) -> None:
    """Have the other end know which signal ends this process, if a fault does: poisoned memory, for example."""
    faulthandler.enable(file=orders.fileno(), all_threads=False)


def fork(orders: _socket.socket, descriptor: int) -> tuple[_socket.socket, int]:
    """Fork; the child continues with the socket of the request and closes its parent's pipes.

    Returns the socket to serve from now on, and the parent's answer.
    """
    try:
        child = os.fork()
    except OSError as error:
        os.close(descriptor)
        return orders, -(error.errno or 0)
    if child == 0:
        orders.close()
        PIPES.close()
        ours = _socket.socket(fileno=descriptor)
        report_faults(ours)
        return ours, os.getpid()
    os.close(descriptor)
    return orders, child


def execute(orders: _socket.socket) -> int:
    """Execute this program again, with the same socket. The new program answers; returns only after a failure."""
    os.set_inheritable(orders.fileno(), True)
    try:
        os.execv(sys.orig_argv[0], [*sys.orig_argv[: -len(sys.argv) + 1], str(orders.fileno()), EXECUTED])
    except OSError as error:
        return -(error.errno or 0)


def serve(orders: _socket.socket) -> NoReturn:
    """Serve requests until the other end closes the socket; then exit, with the socket still open.

    The kernel frees the memory before it closes the socket, so a closed socket tells the other end that the memory is
    gone.
    """
    while True:
        message, ancillary, _, _ = orders.recvmsg(1 << 12, _socket.CMSG_SPACE(DESCRIPTOR))
        if not message:
            os._exit(0)
        name, *words = message.decode().split()
        if name == "fork":
            before = orders
            orders, answer = fork(orders, int.from_bytes(ancillary[0][2][:DESCRIPTOR], sys.byteorder))
            if orders is not before:
                continue  # the parent answers
        elif name == "exec":
            answer = execute(orders)
        else:
            answer = REQUESTS[name](*map(int, words))
            MERGING.spare_the_interpreter()
        orders.send(str(answer).encode())


def main() -> None:
    """Started by `live`; disables transparent huge pages for this process and its forks only."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)  # ends a system call
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    orders = _socket.socket(fileno=int(sys.argv[1]))
    report_faults(orders)
    _held = make_room()
    if EXECUTED in sys.argv:
        MERGING.spare_the_interpreter()
        orders.send(b"0")
    serve(orders)


if __name__ == "__main__":
    main()
