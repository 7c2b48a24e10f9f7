"""Logs as byte streams: plain, gzip or zstd, from a file, a pipe or standard input.

The first bytes of a log determine the compression, not its name. A compressed log may be a decompression bomb, so it is
decompressed as a stream, with a bounded window, and up to a limit.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Final

from ksmactors.errors import UsageError

STDIN: Final = "-"

RATIO_MAX: Final = 200
"""Decompressed bytes read for each compressed one. Logs have some 20. The rest of a bomb is not read."""

UNPACKED_FREE: Final = 1 << 24
"""Decompressed bytes that are read in any case."""

_WINDOW_MAX: Final = 1 << 27
"""Bytes of memory that a zstd stream may need: the limit of `zstd --long`."""

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
        packed: the compressed stream, or None.
    """

    def __init__(self, stream: BinaryIO, packed: _Counted | None = None) -> None:
        self._stream, self._packed = stream, packed
        self._size = 0

    def next(self, limit: int) -> bytes:
        """Read up to the end of the line, at most `limit` bytes; b"" at the end of the log.

        Raises:
            Unreadable: the log is damaged from here on, or larger than is accepted.
        """
        try:
            line = self._stream.readline(limit)
        except EOFError:
            raise Unreadable("the compressed stream is cut off") from None
        except Exception as error:
            if not isinstance(error, (OSError, zlib.error, *_zstd_errors())):
                raise
            raise Unreadable((isinstance(error, OSError) and error.strerror) or str(error)) from None
        self._size += len(line)
        if self._packed is not None and self._size > UNPACKED_FREE + RATIO_MAX * self._packed.size:
            raise Unreadable(f"it decompresses to more than {RATIO_MAX} times its size")
        return line


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
    return open(path, "rb")  # noqa: PTH123  # the caller closes it


def _unpacked(stream: io.BufferedReader | BinaryIO) -> Lines:
    head = stream.peek(len(_ZSTD)) if isinstance(stream, io.BufferedReader) else b""
    if head.startswith(_GZIP):
        packed = _Counted(stream)
        source: Any = packed  # it is only read
        return Lines(gzip.GzipFile(fileobj=source, mode="rb"), packed)  # type: ignore[arg-type]
    if head.startswith(_ZSTD):
        packed = _Counted(stream)
        decompressor = _zstandard().ZstdDecompressor(max_window_size=_WINDOW_MAX)
        raw = decompressor.stream_reader(packed, read_across_frames=True, closefd=False)
        return Lines(io.BufferedReader(raw, 1 << 17), packed)
    return Lines(stream)


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
