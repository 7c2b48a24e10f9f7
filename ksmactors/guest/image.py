"""Kernels to boot: an image, or a package of Debian or Ubuntu, which is unpacked into a cache directory."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any, Final, Literal, NamedTuple

from typing_extensions import override

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.files import MIB, make_private

AR_MAGIC: Final = b"!<arch>\n"
AR_HEADER: Final = 60
IMAGE_HEADER: Final = 0x400
"""Bytes at the start of an x86 image that its header is in."""

RELEASE_MAX: Final = 128
UNPACKED_MAX: Final = 4096 * MIB
"""Bytes that a package may unpack to."""

BLOCK: Final = 4096
"""Bytes of a disk that a member takes at least."""

DEPTH_MAX: Final = 64
"""Directories above a member: making them takes a function call each."""

NAMES_MAX: Final = 64 << 10
"""Bytes of a header that has a long name: tarfile reads it whole."""

WANTED: Final = re.compile(r"(?:\./)?(?:boot/vmlinuz-[^/]+|(?:usr/)?lib/modules/.+)")
"""What is unpacked of a package."""

_NAMES: Final = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
"""What announces the name of the next member, or more about it."""

_MODES: Final[dict[str, Literal["r|", "r|gz", "r|xz", "r|bz2"]]] = {
    "": "r|", "gz": "r|gz", "xz": "r|xz", "bz2": "r|bz2",
}  # fmt: skip

MODULES: Final = ("lib/modules", "usr/lib/modules")
"""Where distributions have the directories of modules, one a release."""

COMPLETE: Final = "complete"
"""The file that shows that a package was unpacked to its end."""


class KernelImage(NamedTuple):
    """A bootable image, the release that is in it, and the directory of its modules, or None if there is none."""

    path: Path
    release: str
    modules: Path | None


def find(path: Path) -> KernelImage:
    """Return the kernel that the user named: an image, or a package.

    Raises:
        UsageError: it is neither, or cannot be read.
    """
    head = _head(path)
    if head.startswith(AR_MAGIC):
        return _unpacked(path)
    image, release = path.resolve(), _release(path, head)
    return KernelImage(image, release, _modules_of(image, release))


def _head(path: Path) -> bytes:
    """Return the start of what the user named, which must be a regular file: opening a pipe would wait for its writer.

    Raises:
        UsageError: it is something else, or cannot be read.
    """
    try:
        mode, head = path.stat().st_mode, b""
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                head = file.read(IMAGE_HEADER)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        more = "; a copy that you may read will do" if isinstance(error, PermissionError) else ""
        raise UsageError(f"--guest {path}: cannot be read ({reason}){more}") from None
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise UsageError(f"--guest {path}: is {what}; name the kernel's image (vmlinuz) or package (.deb)")
    return head


def _release(path: Path, head: bytes) -> str:
    """Return the release that an x86 image names in its header (Documentation/arch/x86/boot.rst, kernel_version)."""
    if head[0x202:0x206] != b"HdrS":
        raise UsageError(
            f"--guest {path}: is no kernel image for x86_64 (vmlinuz, bzImage) and no Debian package; "
            "a vmlinux has no boot header"
        )
    offset = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read(RELEASE_MAX)
    release = text.split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")
    if not re.fullmatch(r"\d+\.\d+[\w.+~-]*", release):
        raise UsageError(f"--guest {path}: its header names no kernel release, but {quoted(release)}")
    return release


def _modules_of(image: Path, release: str) -> Path | None:
    """Return where the modules of an image are: below the nearest directory above it that has them."""
    for directory in image.parents:
        for below in MODULES:
            if (directory / below / release / "kernel").is_dir():
                return directory / below / release
    return None


# -- packages ---------------------------------------------------------------------------------------------------------


def cache_directory() -> Path:
    """Return the cache directory of the XDG rules."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"


def _unpacked(package: Path) -> KernelImage:
    """Unpack a package, if that has not been done yet.

    Ubuntu has the modules in a package of their own, and Debian since 6.19 the image, too; what is missing is taken
    from the same directory.
    """
    image = _image_in(_tree_of(package)) or _image_beside(package)
    with image.open("rb") as file:
        release = _release(image, file.read(IMAGE_HEADER))
    modules = _modules_of(image, release)
    if modules is None:
        beside = sorted(package.parent.glob(f"linux-modules-{release}_*.deb"))
        if not beside:
            raise UsageError(
                f"--guest {package}: has no modules, and there is no linux-modules-{release}_*.deb beside it; "
                "download that, too"
            )
        image = _linked(image, _tree_of(beside[0]) / "boot" / f"vmlinuz-{release}")
        modules = _modules_of(image, release)
    return KernelImage(image, release, modules)


def _linked(image: Path, link: Path) -> Path:
    """Return a link to an image, made if need be: virtme-ng looks for modules above the place of the image."""
    try:
        if link.is_symlink() and link.readlink() != image:
            link.unlink()
        link.parent.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(image)
    except OSError as error:
        raise UsageError(f"--guest: {link} cannot be made ({error.strerror}); set XDG_CACHE_HOME") from None
    return link


def _image_in(root: Path) -> Path | None:
    """Return the image of an unpacked package."""
    images = [*(root / "boot").glob("vmlinuz-*"), *(path for one in MODULES for path in root.glob(f"{one}/*/vmlinuz"))]
    return min((image for image in images if image.is_file()), default=None)


def _image_beside(package: Path) -> Path:
    """Return the image that a package without one depends on, from a package that is in the same directory."""
    named = re.match("linux-image-([^_]+)_", package.name)
    if named is None:
        raise UsageError(f"--guest {package}: has no kernel; name the package linux-image-... of one")
    release = named[1]
    for beside in sorted(package.parent.glob(f"linux-binary-{release}_*.deb")):
        if (image := _image_in(_tree_of(beside))) is not None:
            return image
    raise UsageError(
        f"--guest {package}: has no kernel, and there is no linux-binary-{release}_*.deb beside it that has; "
        f"download that and linux-modules-{release}, too"
    )


def _tree_of(package: Path) -> Path:
    """Return the directory that a package is unpacked in."""
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    directory = cache_directory() / "ksmactors" / "guests" / digest[:32]
    if (directory / COMPLETE).exists():
        return directory
    try:
        make_private(directory.parent, cache_directory())
        scratch = Path(mkdtemp(prefix=".unpacking-", dir=directory.parent))
    except OSError as error:
        raise UsageError(
            f"--guest: {directory.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME"
        ) from None
    try:
        _unpack(package, scratch)
        (scratch / COMPLETE).touch()
        if directory.exists():  # left incomplete
            shutil.rmtree(directory)
        scratch.rename(directory)
    except OSError as error:
        raise UsageError(f"--guest {package}: cannot be unpacked into {directory.parent} ({error.strerror})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return directory


def _unpack(package: Path, directory: Path) -> None:
    """Unpack the kernel and the modules of a package."""
    size = 0
    try:
        with package.open("rb") as file, _data(file) as archive:
            for member in archive:
                size += max(member.size, BLOCK)  # also of what is only skipped, which takes as long
                if size > UNPACKED_MAX:
                    raise UsageError(f"--guest {package}: unpacks to more than {UNPACKED_MAX // MIB} MiB")
                if WANTED.fullmatch(member.name) and (member.isreg() or member.isdir()):
                    if member.name.count("/") > DEPTH_MAX:
                        raise tarfile.ReadError(f"a file in it is more than {DEPTH_MAX} directories deep")
                    archive.extract(member, directory, filter="data")
    except UsageError:
        raise
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UsageError(f"--guest {package}: is no Debian package, or a damaged one ({error})") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise UsageError(f"--guest {package}: is damaged ({error})") from None


@contextmanager
def _data(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """Open the member data.tar.* of a package (deb(5))."""
    file.seek(len(AR_MAGIC))
    while len(header := file.read(AR_HEADER)) == AR_HEADER:
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
        start = file.tell()
        if name.startswith("data.tar"):
            yield from _opened(file, name, size)
            return
        file.seek(start + size + size % 2)
    raise tarfile.ReadError("it has no member data.tar")


def _opened(file: IO[bytes], name: str, size: int) -> Iterator[tarfile.TarFile]:
    compression = name.removeprefix("data.tar").removeprefix(".")
    section: IO[bytes] = io.BufferedReader(_Section(file, size))
    if compression == "zst":
        import zstandard

        try:
            with (
                zstandard.ZstdDecompressor().stream_reader(section) as plain,
                tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as archive,
            ):
                yield archive
        except zstandard.ZstdError as error:
            raise tarfile.ReadError(str(error)) from None
    elif (mode := _MODES.get(compression)) is not None:
        with tarfile.open(fileobj=section, mode=mode, tarinfo=_Member) as archive:
            yield archive
    else:
        raise tarfile.ReadError(f"{name} is compressed in an unknown way")


class _Member(tarfile.TarInfo):
    """A member of an archive from a stranger: what tarfile reads before the member is small."""

    @override
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _NAMES and member.size > NAMES_MAX:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member


class _Section(io.RawIOBase):
    """The next `size` bytes of a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__()
        self._file, self._left = file, size

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
