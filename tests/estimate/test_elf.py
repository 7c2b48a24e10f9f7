"""ELF cores: segments, names, and what is wrong with them."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from random import Random

import pytest

from ksmactors.errors import UsageError
from ksmactors.estimate.elf import PT_NOTE, is_core, read_core
from ksmactors.estimate.files import FileReader
from ksmactors.estimate.page_index import PageIndex
from ksmactors.estimate.placement import Spread
from ksmactors.mm.const import PAGE_SIZE
from tests.estimate.conftest import pages, read, silent
from tests.estimate.cores import Load, core

LOADS = (Load(0x10000, pages(1, 2, 1)), Load(0x40000, pages(2, 0), more=3 * PAGE_SIZE))
FILES = ((0x10000, 0x13000, 7, "/usr/lib/libone.so"), (0x50000, 0x51000, 0, "/elsewhere"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core"


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("xnum", [False, True])
def test_every_shape(path: Path, wide: bool, order: str, xnum: bool) -> None:
    """32 and 64 bits, both byte orders, few and very many segments: all are read alike."""
    path.write_bytes(core(LOADS, wide=wide, order=order, files=FILES, xnum=xnum))
    answer = read(path)

    assert (answer.pages, answer.zero_pages, answer.contents) == (5, 1, 3)
    assert [(s.kind, s.pages, s.left_out) for s in answer.sources] == [("core", 5, {"not dumped": 3})]
    assert [[(owner.region.name, owner.first) for owner in content.owners] for content in answer.shared] == [
        [("/usr/lib/libone.so+0x7000", 0x10000)],
        [("/usr/lib/libone.so+0x7000", 0x11000), ("", 0x40000)],
    ]
    assert answer.problems == ()


def test_cut_off(path: Path) -> None:
    """Of a truncated core, the pages that are there are counted, and how many are missing is said."""
    data = core(LOADS)
    path.write_bytes(data[: -PAGE_SIZE - 1])
    answer = read(path)

    assert answer.pages == 3
    assert (f"{path}: the core is cut off: 2 of its 5 pages are missing",) == answer.problems


def test_two_segments_of_the_same_pages(path: Path) -> None:
    """A page in the file counts once, though two segments name it."""
    data = bytearray(core([Load(0x10000, pages(1, 2, 3)), Load(0x90000, pages(4))]))
    second = 64 + 2 * 56
    first_offset = struct.unpack_from("<Q", data, 64 + 56 + 8)[0]
    struct.pack_into("<Q", data, second + 8, first_offset + 2 * PAGE_SIZE)
    struct.pack_into("<QQ", data, second + 32, 2 * PAGE_SIZE, 2 * PAGE_SIZE)
    path.write_bytes(data)

    assert read(path).pages == 4


def test_segments_that_start_within_a_page(path: Path) -> None:
    """Only whole pages, at addresses that are a multiple of 4096, are pages."""
    path.write_bytes(core([Load(0x10F00, bytes(0x100) + pages(1, 1) + b"rest")]))
    answer = read(path)

    assert answer.pages == 2
    assert [owner.first for owner in answer.shared[0].owners] == [0x11000]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pages(1), "not an ELF file, so not a core; without --core its bytes are taken as pages"),
        (b"\x7fELF", "the core is cut off within the ELF header"),
        (core(LOADS)[:40], "the core is cut off within the ELF header"),
        (core(LOADS)[:100], "the core is cut off within the 3 program headers"),
        (core(LOADS, xnum=True)[:100], "the core is cut off within the first section header"),
        (core(LOADS, kind=3), r"an ELF file of type ET_DYN, not a core \(ET_CORE\)"),
        (core(LOADS, kind=0xFE00), r"an ELF file of type 65024, not a core"),
        (core([]), "a core without PT_LOAD segments"),
        (b"\x7fELF\7\1" + bytes(100), "ELF class 7, byte order 1: no such thing"),
    ],
    ids=["raw", "magic", "header", "table", "xnum", "library", "unknown", "empty", "class"],
)
def test_no_core(path: Path, data: bytes, message: str) -> None:
    """What is no core, though it has to be one, is refused in a line that says why."""
    path.write_bytes(data)
    answer = read(path, core=True)

    assert answer.pages == 0
    (problem,) = answer.problems
    with pytest.raises(UsageError, match=message):
        raise UsageError(problem)


def test_a_library_is_an_image(path: Path) -> None:
    """An ELF file that is no core is taken as bytes, unless --core is given."""
    path.write_bytes(core(LOADS, kind=3))

    assert read(path).sources[0].kind == "file"


def test_damage(path: Path) -> None:
    """Whatever bytes of the headers are damaged: pages or a line, and no other error."""
    random = Random(1)
    intact = core(LOADS, files=FILES)
    page_index = PageIndex(1)
    reader = FileReader(page_index, Spread("interleave", 1), [], silent)
    refused = 0
    for _ in range(80):
        data = bytearray(intact)
        for _ in range(random.randint(1, 6)):
            data[random.randrange(4, 64 + 3 * 56 + 120)] = random.choice((0, 1, 0x7F, 0xFF, random.randrange(256)))
        path.write_bytes(data[: random.choice((len(data), random.randrange(len(data))))])
        before = page_index.pages
        try:
            reader.read(str(path), 0, core=True)
        except UsageError:
            refused += 1
        assert page_index.pages - before <= 5
    assert 0 < refused < 80


def test_offsets_beyond_any_file(path: Path) -> None:
    """Offsets and sizes that no file can have are a core that is cut off."""
    for at, size in ((32, 8), (64 + 56 + 8, 8), (64 + 8, 8), (64 + 56 + 32, 8)):  # table, segment, note, filesz
        data = bytearray(core(LOADS))
        data[at : at + size] = b"\xff" * size
        path.write_bytes(data)

        assert read(path).pages <= 5
    data = bytearray(core(LOADS, xnum=True))
    struct.pack_into("<I", data, 64 + 3 * 56 + 44, (1 << 32) - 1)
    path.write_bytes(data)

    assert read(path).problems == (
        f"{path}: the core is cut off within the 4294967295 program headers; nothing of it can be read",
    )


def test_notes_without_end(path: Path) -> None:
    """A note segment that is cut off costs the names and nothing else; one that claims to be huge, nothing."""
    for size, names in ((1 << 63, 2), (20, 0), (60, 0), (0, 0)):
        data = bytearray(core(LOADS, files=FILES))
        assert struct.unpack_from("<I", data, 64)[0] == PT_NOTE
        struct.pack_into("<Q", data, 64 + 32, size)
        path.write_bytes(data)
        fd = os.open(path, os.O_RDONLY)
        try:
            assert is_core(fd)
            assert len(read_core(fd, str(path)).files) == names
        finally:
            os.close(fd)


def test_a_count_of_headers_is_bounded(tmp_path: Path) -> None:
    """A sparse file that claims 2^32-1 segments is refused, whatever its size."""
    content = bytearray(core(LOADS, xnum=True))
    (first_section,) = struct.unpack_from("<Q", content, 40)
    struct.pack_into("<I", content, first_section + 44, (1 << 32) - 1)
    path = tmp_path / "core"
    path.write_bytes(content)
    os.truncate(path, 1 << 40)
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(UsageError, match="4,294,967,295 program headers, more than 1,048,576"):
            read_core(fd, str(path))
    finally:
        os.close(fd)


def test_a_segment_beyond_all_addresses(path: Path) -> None:
    """No page has an address of more than 64 bits: such a core is refused in one line."""
    path.write_bytes(core([Load((1 << 64) - PAGE_SIZE, pages(1, 2))]))
    with path.open("rb") as file, pytest.raises(UsageError, match="0xfffffffffffff000 goes beyond 64 bits"):
        read_core(file.fileno(), str(path))
    path.write_bytes(core([Load((1 << 64) - 2 * PAGE_SIZE, pages(1, 2))]))
    assert read(path).pages == 2
