"""Files: read within bounds, written whole or not at all.

What is read may come from somebody else, and may be no file at all: `/dev/zero` never ends, a pipe never answers. What
is written must survive a full disk, a crash and a neighbour in the same directory: it goes to a new file of an
unguessable name, created exclusively (no symbolic link is followed), is flushed to the disk, and gets its own name
only then.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from ksmactors.errors import UsageError

MIB: Final = 1 << 20


def read_bounded(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Args:
        path: the file.
        limit: bytes; a file of more is refused unread.
        what: what the message calls the file, such as "finding file".

    Raises:
        UsageError: it cannot be read, is no regular file, or is too large. The message says which, and of what file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"{what} {os.fspath(path)}: cannot be read ({_reason(error)})") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"{what} {os.fspath(path)}: is not a regular file")
    with os.fdopen(fd, "rb") as file:
        try:
            data = file.read(limit + 1)
        except (OSError, OverflowError) as error:  # /proc/self/mem is a regular file, to look at
            raise UsageError(f"{what} {os.fspath(path)}: cannot be read ({_reason(error)})") from None
    if len(data) > limit:
        raise UsageError(f"{what} {os.fspath(path)}: is larger than {limit // MIB} MiB, the most that is read")
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, atomically.

    Raises:
        FileExistsError: there is one of that name, or a symbolic link.
        OSError: it could not be written; then nothing is left of it.
    """
    temporary = _temporary(path, data)
    try:
        os.link(temporary, path, follow_symlinks=False)  # unlike a rename, this replaces nothing
    finally:
        temporary.unlink()
    _flush_directory(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, atomically replacing the one of that name. A symbolic link is replaced itself, never followed.

    Raises:
        OSError: it could not be written; then the old file is as it was.
    """
    temporary = _temporary(path, data)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    _flush_directory(path.parent)


def _temporary(path: Path, data: bytes) -> Path:
    """A new file beside `path` with that content, on the disk; it is only its owner's to read."""
    fd, name = mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _flush_directory(directory: Path) -> None:
    """Have the new name on the disk too."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
