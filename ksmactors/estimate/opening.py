"""Opening what pages are read from. Workloads that read images load this, and not how pages are counted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ksmactors.errors import UsageError


@contextmanager
def opened(path: str) -> Iterator[tuple[int, int]]:
    """A file opened for reading, and its size in bytes.

    Raises:
        UsageError: it cannot be, or is neither a file nor a block device.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without it a pipe waits for its writer
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            what = "a directory" if stat.S_ISDIR(mode) else "neither a file nor a block device"
            raise UsageError(f"{path}: {what}; pages are read from files, cores and, with --pid, processes")
        try:
            size = os.lseek(fd, 0, os.SEEK_END)
        except OSError as error:  # /proc/self/mem, which looks like a file
            raise UsageError(f"{path}: {error.strerror}") from error
        yield fd, size
    finally:
        os.close(fd)
