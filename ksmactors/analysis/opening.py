"""Logs as byte streams: plain, gzip or zstd, from a file, a pipe or standard input.

The first bytes say how a log is packed, not its name. What is packed may be a bomb, so it is unpacked as a stream,
with a bounded window, and up to a limit.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from ksmactors.errors import UsageError

STDIN: Final = "-"

UNPACKED_MAX: Final = 1 << 36
"""Bytes that a packed log may come to; the rest is not read. A campaign of a night writes less."""

_WINDOW_MAX: Final = 1 << 27
"""Bytes of memory that a zstd stream may ask for: what `zstd --long` takes."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Unreadable(Exception):
    """A log cannot be read, or not any further; the message says why."""


class Lines:
    """The lines of a log. A line is never longer than `limit` bytes: of a longer one `next` returns the beginning.

    Attributes:
        packed: whether the stream is unpacked on the way, and limited.
    """

    def __init__(self, stream: BinaryIO, *, packed: bool) -> None:
        self._stream, self.packed = stream, packed
        self._left = UNPACKED_MAX

    def next(self, limit: int) -> bytes:
        """Read up to the end of the line, or so many bytes. Nothing: the end of the log.

        Raises:
            Unreadable: the log is damaged from here on, or larger than is believed.
        """
        try:
            line = self._stream.readline(limit)
        except EOFError:
            raise Unreadable("the packed stream is cut off") from None
        except Exception as error:
            if not isinstance(error, (OSError, zlib.error, *_zstd_errors())):
                raise
            raise Unreadable((isinstance(error, OSError) and error.strerror) or str(error)) from None
        self._left -= len(line)
        if self.packed and self._left < 0:
            raise Unreadable(f"it unpacks to more than {UNPACKED_MAX >> 30} GiB")
        return line


@contextmanager
def opened(path: str) -> Iterator[Lines]:
    """Open a log; `-` is standard input.

    Raises:
        Unreadable: it cannot be opened, or is neither a file nor a pipe (a device may have no end).
    """
    try:
        if path == STDIN:
            yield _unpacked(sys.stdin.buffer)
            return
        mode = os.stat(path).st_mode  # noqa: PTH116  # a path may hold bytes that are no text
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode)):
            raise Unreadable("is neither a file nor a pipe")
        with open(path, "rb") as stream:  # noqa: PTH123
            yield _unpacked(stream)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unreadable((isinstance(error, OSError) and error.strerror) or str(error)) from None


def _unpacked(stream: io.BufferedReader | BinaryIO) -> Lines:
    head = stream.peek(len(_ZSTD)) if isinstance(stream, io.BufferedReader) else b""
    if head.startswith(_GZIP):
        return Lines(gzip.GzipFile(fileobj=stream), packed=True)  # type: ignore[arg-type]  # it is read as a stream
    if head.startswith(_ZSTD):
        decompressor = _zstandard().ZstdDecompressor(max_window_size=_WINDOW_MAX)
        raw = decompressor.stream_reader(stream, read_across_frames=True, closefd=False)
        return Lines(io.BufferedReader(raw, 1 << 17), packed=True)
    return Lines(stream, packed=False)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise UsageError("a log is packed with zstd: unpack it first, or install the package zstandard") from None
    return zstandard


def _zstd_errors() -> tuple[type[Exception], ...]:
    """What zstandard raises on damage, where it is at work."""
    module = sys.modules.get("zstandard")
    return (module.ZstdError,) if module is not None else ()
