"""Memory dumps that are no raw images: read where they say where their pages are, else refused by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from pathlib import Path
from random import Random

import pytest

from ksmactors.mm.const import PAGE_SIZE
from tests.estimate.conftest import pages, read


def lime(*ranges: tuple[int, bytes], version: int = 1, magic: bytes = b"EMiL") -> bytes:
    """A dump of LiME: ranges of physical memory, each with the address of its first byte."""
    return b"".join(
        struct.pack("<4sIQQ8x", magic, version, first, first + len(data) - 1) + data for first, data in ranges
    )


def test_a_lime_dump(tmp_path: Path) -> None:
    """Its pages are found behind the headers, whole pages of memory only; a raw reader would see none of them equal."""
    path = tmp_path / "memory.lime"
    path.write_bytes(lime((PAGE_SIZE, pages(1, 2, 1)), (0x100000 + 16, bytes(PAGE_SIZE - 16) + pages(1, 2) + b"rest")))
    answer = read(path)
    assert (answer.pages, answer.contents, answer.problems) == (5, 2, ())
    assert answer.across[1].pages_sharing == 3
    assert answer.sources[0].kind == "LiME dump"
    assert sorted(owner.first for content in answer.shared for owner in content.owners) == [
        0x1000, 0x2000, 0x101000, 0x102000,
    ]  # fmt: skip


def test_a_lime_dump_that_is_cut_off(tmp_path: Path) -> None:
    """What is there counts, and how much is missing is said."""
    path = tmp_path / "memory.lime"
    path.write_bytes(lime((0, pages(1, 2, 1)))[: -PAGE_SIZE - 1])
    answer = read(path)
    assert answer.pages == 1
    assert answer.problems == (f"{path}: the LiME dump is cut off: 2 of its 3 pages are missing",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lime((0, pages(1)), version=2), "there is no header of LiME, version 1, at offset 0x0"),
        (lime((0, pages(1))) + pages(1), "there is no header of LiME, version 1, at offset 0x1020"),
        (lime((0, pages(1))) + b"EMiL", "the dump of LiME is cut off in a header, at offset 0x1020"),
        (b"EMiL", "the dump of LiME is cut off in a header, at offset 0x0"),
        (struct.pack("<4sIQQ8x", b"EMiL", 1, 9, 3), "there is no header of LiME"),
    ],
)
def test_a_damaged_lime_dump(tmp_path: Path, content: bytes, said: str) -> None:
    """A header that is none is one line."""
    path = tmp_path / "memory.lime"
    path.write_bytes(content)
    answer = read(path)
    assert answer.pages == 0
    assert len(answer.problems) == 1
    assert said in answer.problems[0]


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"KDUMP   ", "kdump"),
        (b"DISKDUMP", "diskdump"),
        (b"makedumpfile\0", "makedumpfile"),
        (b"QEVM\0\0\0\3", "QEVM"),
        (b"LibvirtQemudSave", "libvirt"),
        (b"LibvirtQemudPart", "libvirt"),
        (b"AVML\2\0\0\0", "AVML"),
        (b"PAGEDU64", "Windows"),
        (b"PAGEDUMP", "Windows"),
        (b"\x7fVirtualBox SavedState V2.0", "VirtualBox"),
        (b"QFI\xfb\0\0\0\3", "QEMU"),
        (b"KDMV", "VMware"),
        (struct.pack("<I", 0xBED2BED2), "VMware"),
        (struct.pack("<I", 0xBED2BED0), "VMware"),
        (struct.pack("<I", 0xBAD1BAD1), "VMware"),
        (struct.pack("<I", 0xBED3BED3), "VMware"),
        (b"vhdxfile", "VHDX"),
        (gzip.compress(b"memory", mtime=0), "gzip"),
        (lzma.compress(b"memory"), "xz"),
        (bz2.compress(b"memory"), "bzip2"),
        (struct.pack("<I", 0xFD2FB528), "zstd"),
        (struct.pack("<I", 0x184D2204), "lz4"),
    ],
)
def test_what_is_refused(tmp_path: Path, magic: bytes, name: str) -> None:
    """A dump that cannot be read is called by its name, with what to give instead; others are read."""
    path, image = tmp_path / "dump", tmp_path / "image"
    path.write_bytes(magic.ljust(PAGE_SIZE, b"\1"))
    image.write_bytes(pages(1, 1))
    answer = read(path, image)
    assert answer.pages == 2
    (problem,) = answer.problems
    assert name in problem
    assert "which is not read; " in problem


def test_an_image_that_only_resembles_one(tmp_path: Path) -> None:
    """An image whose first bytes are nearly those of a dump is an image."""
    path = tmp_path / "image"
    path.write_bytes(b"KDUMP  !".ljust(PAGE_SIZE, b"\0") + pages(1))
    assert read(path).pages == 2


@pytest.mark.parametrize("seed", range(40))
def test_nonsense(tmp_path: Path, seed: int) -> None:
    """Whatever follows a known start, it is pages, a refusal or a problem in one line: never a traceback."""
    random = Random(seed)
    start = random.choice([b"\x7fELF\2\1\1", b"EMiL\1\0\0\0", b"KDUMP   ", b"QEVM", b"LibvirtQemudSave", b""])
    path = tmp_path / "nonsense"
    path.write_bytes(start + random.randbytes(random.choice([0, 1, 30, 64, 4095, 4096, 20_000])))
    answer = read(path)
    assert answer.pages or answer.problems
    assert all("\n" not in problem for problem in answer.problems)
