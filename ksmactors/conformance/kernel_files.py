"""Files of /proc and /sys, read and written with the system calls that it takes and nothing around them.

A live run reads some thousand of them. On an emulated processor a `pathlib.Path`, a buffer and a decoder cost ten times
of what the kernel takes.
"""

from __future__ import annotations

import os
from typing import Final

CHUNK: Final = 1 << 16
"""Bytes: more than any of these files has."""


def read_text(path: str) -> str:
    """Return the content of a small file.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, CHUNK)
        while more := os.read(descriptor, CHUNK):
            data += more
    finally:
        os.close(descriptor)
    return data.decode()


def write_text(path: str, text: str) -> None:
    """Write to a file with one system call, which a signal may end.

    Raises:
        OSError: the kernel has refused it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
