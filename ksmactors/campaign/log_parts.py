"""The directory in which workers write parts of a log, until their parent has copied them."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = ".ksmactors-log-"
"""What the names of such directories begin with."""


@contextmanager
def directory_for_parts(beside: Path | None) -> Iterator[Path]:
    """Make a directory, and remove it at the end; remove those that campaigns have left that were killed.

    Args:
        beside: the directory of the log; None for that of temporary files.
    """
    place = beside or Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place, ignore_cleanup_errors=True) as name:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system without locks: the directory may be taken for one that was left
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(held)


def _remove_if_left(directory: Path) -> None:
    """Remove a directory of parts that nobody holds. There are only files with a number in it."""
    with suppress(OSError):
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(held).st_uid != os.geteuid():
                return
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for part in directory.iterdir():
                if part.name.isdecimal():
                    part.unlink()
            directory.rmdir()
        finally:
            os.close(held)
