"""Made kernels and packages."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Callable

import zstandard

RELEASE = "6.12.1-made-amd64"


def boot_image(release: str = RELEASE) -> bytes:
    """The start of an x86 boot image with a release in its header."""
    image = bytearray(0x800)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (0x300).to_bytes(2, "little")
    text = f"{release} (maker@home) #1 SMP".encode() + b"\0"
    image[0x500 : 0x500 + len(text)] = text
    return bytes(image)


def ar_member(name: str, data: bytes) -> bytes:
    """One member of an ar archive."""
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)


def package(files: dict[str, bytes], compression: str = "xz") -> bytes:
    """A Debian package with these files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return package_of(plain.getvalue(), compression)


def package_of(archive: bytes, compression: str = "xz") -> bytes:
    """A Debian package with this tar archive, as it is."""
    compress: dict[str, Callable[[bytes], bytes]] = {
        "xz": lzma.compress, "zst": zstandard.ZstdCompressor().compress, "": bytes,
    }  # fmt: skip
    data = compress[compression](archive)
    name = f"data.tar.{compression}" if compression else "data.tar"
    return (
        b"!<arch>\n"
        + ar_member("debian-binary", b"2.0\n")
        + ar_member("control.tar.xz", lzma.compress(b"odd"))
        + ar_member(name, data)
    )
