"""Logs as byte streams: plain, gzip or zstd, from a file, a pipe or standard input.

The first bytes of a log determine the compression, not its name. A compressed log may be a decompression bomb, so it is
decompressed as a stream, with a bounded window, and up to a limit.
"""

from __future__ import annotations

import gzip
import io
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, BinaryIO, Final

from ksmactors.errors import UsageError

STDIN: Final = "-"

RATIO_MAX: Final = 200
"""Decompressed bytes read for each compressed one. Logs have some 20. The rest of a bomb is not read."""

UNPACKED_FREE: Final = 1 << 24
"""Decompressed bytes that are read in any case."""

PIECE: Final = 1 << 20
"""Bytes of a plain log that are read at once."""

_GZIP_PIECE: Final = io.DEFAULT_BUFFER_SIZE
_ZSTD_PIECE: Final = 1 << 17

_WINDOW_MAX: Final = 1 << 27
"""Bytes of memory that a zstd stream may need: the limit of `zstd --long`."""

SILENT_SECONDS: Final = 2
"""How long nothing is said of a named pipe into which nothing is written."""


def _say_nothing(path: str) -> None:
    pass


tell_of_wait: Final[ContextVar[Callable[[str], object]]] = ContextVar("tell_of_wait", default=_say_nothing)
"""What is called with the path of such a pipe."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Unreadable(Exception):
    """A log cannot be read, or not any further; the message says why."""


class _Counted:
    """A stream that counts the bytes read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data


class Lines:
    """The lines of a log.

    Args:
        stream: where they come from.
        size: of the file in bytes, packed or not; None if that is not known.
        packed: the compressed stream, or None.
        piece: bytes that are read at once. Of a damaged stream, up to so many bytes before the damage are lost.
    """

    def __init__(
        self, stream: BinaryIO, size: int | None, packed: _Counted | None = None, *, piece: int = PIECE
    ) -> None:
        self.size = size
        self._stream: Any = stream
        self._packed, self._piece = packed, piece
        self._unpacked = 0
        self._ahead, self._at = b"", 0  # what was read and not consumed starts at _at
        self._ended = False
        self._damage: Unreadable | None = None

    @property
    def consumed(self) -> int:
        """Bytes of the file that were read."""
        return self._unpacked if self._packed is None else self._packed.size

    def block(self, size: int) -> bytes:
        """Read whole lines of `size` bytes or less; b"" if no line ends within so many bytes."""
        self._fill(size)
        start = self._at
        self._at = max(start, self._ahead.rfind(b"\n", start, start + size) + 1)
        return self._ahead[start : self._at]

    def next(self, limit: int) -> bytes:
        """Read up to the end of the line, at most `limit` bytes; b"" at the end of the log.

        Raises:
            Unreadable: the log is damaged from here on, or larger than is accepted.
        """
        self._fill(limit)
        start = self._at
        end = self._ahead.find(b"\n", start, start + limit) + 1
        if not end and len(self._ahead) - start < limit and self._damage is not None:
            raise self._damage
        self._at = end or min(len(self._ahead), start + limit)
        return self._ahead[start : self._at]

    def _fill(self, size: int) -> None:
        """Read ahead until there are `size` bytes, or no more can be had."""
        there = len(self._ahead) - self._at
        if there >= size or self._ended:
            return
        pieces = [self._ahead[self._at :]]
        while there < size and not self._ended:
            piece = self._read()
            there += len(piece)
            pieces.append(piece)
        self._ahead, self._at = b"".join(pieces), 0

    def _read(self) -> bytes:
        """Read a piece; damage and the end of the log end the reading."""
        try:
            piece: bytes = self._stream.read1(self._piece)
        except EOFError:
            return self._end(Unreadable("the compressed stream is cut off"))
        except Exception as error:
            if not isinstance(error, (OSError, zlib.error, *_zstd_errors())):
                raise
            return self._end(Unreadable((isinstance(error, OSError) and error.strerror) or str(error)))
        before, self._unpacked = self._unpacked, self._unpacked + len(piece)
        if self._packed is not None and self._unpacked > (most := UNPACKED_FREE + RATIO_MAX * self._packed.size):
            self._end(Unreadable(f"it decompresses to more than {RATIO_MAX} times its size"))
            return piece[: most - before]
        self._ended = not piece
        return piece

    def _end(self, damage: Unreadable) -> bytes:
        self._ended, self._damage = True, damage
        return b""


@contextmanager
def opened(path: str) -> Iterator[Lines]:
    """Open a log; `-` is standard input.

    Raises:
        Unreadable: it cannot be opened, or is neither a file nor a pipe (a device may have no end).
    """
    with ExitStack() as closing:
        try:
            stream: BinaryIO = sys.stdin.buffer if path == STDIN else closing.enter_context(_open(path))
            lines = _unpacked(stream)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise Unreadable((isinstance(error, OSError) and error.strerror) or str(error)) from None
        yield lines


def _open(path: str) -> BinaryIO:
    mode = os.stat(path).st_mode  # noqa: PTH116  # a path may hold bytes that are no text
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode)):
        raise Unreadable("is neither a file nor a pipe")
    if stat.S_ISFIFO(mode):
        return _open_pipe(path)
    return open(path, "rb")  # noqa: PTH123  # the caller closes it


def _open_pipe(path: str) -> BinaryIO:
    """Open a named pipe once something has been written into it, and tell of a long wait."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        written = select.poll()
        written.register(fd, select.POLLIN)
        if not written.poll(SILENT_SECONDS * 1_000):
            tell_of_wait.get()(path)
            written.poll()
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return open(fd, "rb")  # noqa: PTH123  # the caller closes it


def _unpacked(stream: io.BufferedReader | BinaryIO) -> Lines:
    size = _size(stream)
    head = stream.peek(len(_ZSTD)) if isinstance(stream, io.BufferedReader) else b""
    if head.startswith(_GZIP):
        packed = _Counted(stream)
        source: Any = packed  # it is only read
        unpacked: Any = gzip.GzipFile(fileobj=source, mode="rb")
        return Lines(unpacked, size, packed, piece=_GZIP_PIECE)
    if head.startswith(_ZSTD):
        packed = _Counted(stream)
        decompressor = _zstandard().ZstdDecompressor(max_window_size=_WINDOW_MAX)
        raw = decompressor.stream_reader(packed, read_across_frames=True, closefd=False)
        return Lines(io.BufferedReader(raw, _ZSTD_PIECE), size, packed, piece=_ZSTD_PIECE)
    return Lines(stream, size)


def _size(stream: BinaryIO) -> int | None:
    """Bytes of a file; None for a pipe."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise UsageError("a log is packed with zstd: unpack it first, or install the package zstandard") from None
    return zstandard


def _zstd_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that zstandard raises on damage, if it is loaded."""
    module = sys.modules.get("zstandard")
    return (module.ZstdError,) if module is not None else ()
