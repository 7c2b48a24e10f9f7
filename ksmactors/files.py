"""Files: read within bounds, written whole or not at all.

What is read may come from another person, and may be no file at all: `/dev/zero` never ends, a pipe never answers. What
is written must survive a full disk, a crash and a neighbour in the same directory: it goes to a new file of an
unguessable name, created exclusively (no symbolic link is followed), is flushed to the disk, and gets its own name
only then.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, Final

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
    with _open_regular(path, what) as file:
        if os.fstat(file.fileno()).st_size > limit or len(data := _read(file, path, limit + 1, what)) > limit:
            raise UsageError(f"{what} {os.fspath(path)}: is larger than {limit // MIB} MiB, the most that is read")
    return data


def read_start(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """Read the first bytes of a regular file: all of it, or `limit` if it has more.

    Args:
        path, limit, what: as for `read_bounded`.

    Raises:
        UsageError: it cannot be read, or is no regular file.
    """
    with _open_regular(path, what) as file:
        return _read(file, path, limit, what)


def read_text(path: str | os.PathLike[str], limit: int, what: str) -> str:
    """Read a regular file of UTF-8 text.

    Args:
        path, limit, what: as for `read_bounded`.

    Raises:
        UsageError: as `read_bounded`, or it is something else.
    """
    try:
        return read_bounded(path, limit, what).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{what} {os.fspath(path)}: is not UTF-8 text") from None


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, atomically.

    Raises:
        FileExistsError: there is one of that name, or a symbolic link.
        OSError: it could not be written; then nothing is left of it.
    """
    temporary = _temporary(path, data)
    try:
        os.link(temporary, path, follow_symlinks=False)  # unlike a rename, this replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as FAT
        _write_exclusively(path, data)
    finally:
        temporary.unlink()
    _flush_directory(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, atomically replacing the one of that name. A symbolic link is replaced itself, never followed.

    Raises:
        OSError: it could not be written; then the old file is as it was.
    """
    with replacing(path, force=True) as file:
        file.write(data)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a regular file, which is made if there is none. A symbolic link is not followed.

    Raises:
        OSError: it cannot be written, or is a link or no regular file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        file.write(data)


def make_private(directory: Path, below: Path) -> None:
    """Create a directory with all that leads to it; what is created below `below` is only its owner's to enter.

    Raises:
        OSError: it cannot be created.
    """
    below.mkdir(parents=True, exist_ok=True)
    for part in reversed([directory, *directory.parents]):
        if part.is_relative_to(below) and part != below:
            part.mkdir(mode=0o700, exist_ok=True)


def _open_regular(path: str | os.PathLike[str], what: str) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"{what} {os.fspath(path)}: cannot be read ({_reason(error)})") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"{what} {os.fspath(path)}: is not a regular file")
    return os.fdopen(fd, "rb")


def _read(file: BinaryIO, path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    try:
        return file.read(limit)
    except (OSError, OverflowError) as error:  # /proc/self/mem is a regular file, to look at
        raise UsageError(f"{what} {os.fspath(path)}: cannot be read ({_reason(error)})") from None


def _name(temporary: Path, path: Path) -> None:
    """Give a file a name that must not exist yet."""
    try:
        os.link(temporary, path, follow_symlinks=False)  # unlike a rename, this replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as FAT
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def _write_exclusively(path: Path, data: bytes) -> None:
    """Write a new file under its own name; nothing is left of it if that fails."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except BaseException:
        path.unlink()
        raise


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


@contextmanager
def replacing(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Write a file piece by piece, beside its place; it is put there, whole, when the block ends without an error.

    Args:
        path: the file.
        force: whether it may replace one of that name.

    Raises:
        FileExistsError: there is one of that name by then, and it may not.
        OSError: it could not be written; then nothing is left of it, and an old one is as it was.
    """
    fd, name = mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
        if force:
            temporary.replace(path)
        else:
            _name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_directory(path.parent)


def check_writable(path: Path, room: int = MIB) -> None:
    """Find out before the work starts whether a file can be written afterwards by `write_atomically`.

    Args:
        path: the file.
        room: bytes that must be free.

    Raises:
        OSError: its folder is missing or cannot be written, the disk is full, or it is there and no regular file.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    fd, name = mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)
    try:
        os.posix_fallocate(fd, 0, room)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot reserve room
            raise
    finally:
        os.close(fd)
        Path(name).unlink()
