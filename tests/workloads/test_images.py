"""Pages of real files: which are taken, in which order they compare, and what is said of files that will not do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.images import pages_of_image
from tests.estimate.cores import Load, core
from workloads.images import diverged, image_pages

PAGE = 4096


def page_of(*start: int) -> bytes:
    return bytes(start).ljust(PAGE, b"x")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Six pages: two equal, one of zeros, one that starts as diverged pages do, and half a page at the end."""
    path = tmp_path / "image.bin"
    pages = [page_of(9), bytes(PAGE), page_of(3), page_of(9), page_of(255, 255, 255, 255, 1), page_of(5)]
    path.write_bytes(b"".join(pages) + b"\x04" * 100)
    return path


def test_pages_are_distinct_and_in_memcmp_order(image: Path) -> None:
    """The first different pages of the file, in order of their bytes, without zeros and what looks diverged."""
    assert image_pages(image, 3) == [page_of(3), page_of(5), page_of(9)]


def test_the_last_page_is_filled_up(image: Path) -> None:
    """Half a page at the end of a file counts, with zeros behind it."""
    assert image_pages(image, 4)[1] == (b"\x04" * 100).ljust(PAGE, b"\0")


def test_diverged_pages_are_above_all_image_pages(image: Path) -> None:
    """Diverged pages compare by generation, then rank, and are greater than every page that an image can give."""
    pages = image_pages(image, 4)
    written = [diverged(pages[rank], generation, rank) for generation in range(3) for rank in range(4)]

    assert all(one < other for one, other in pairwise([*pages, *written]))
    assert {len(page) for page in written} == {PAGE}
    assert written[0][8:] == pages[0][8:]


def test_the_default_image_has_pages() -> None:
    """The running interpreter has libraries with enough different pages for a large fleet."""
    assert len(set(image_pages(None, 64))) == 64


def test_too_few_pages(image: Path) -> None:
    """A file with too few different pages is refused, with both numbers."""
    with pytest.raises(UsageError, match=r"image\.bin has only 4 different pages that are not zero, not 5"):
        image_pages(image, 5)


def test_an_empty_file(tmp_path: Path) -> None:
    """An empty file is refused."""
    empty = tmp_path / "empty.bin"
    empty.touch()

    with pytest.raises(UsageError, match=r"image .*empty\.bin is empty"):
        image_pages(empty, 1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.bin", r"cannot be read \(No such file or directory\)"), ("", "is not a regular file")],
)
def test_an_unreadable_file(tmp_path: Path, name: str, reason: str) -> None:
    """A file that cannot be read is refused, with the system's reason."""
    with pytest.raises(UsageError, match=f": {reason}"):
        image_pages(tmp_path / name, 1)


def test_pages_of_a_core_are_those_of_its_segments(tmp_path: Path) -> None:
    """Headers are no pages; segments come in the order of the file, and a page that two of them name comes once."""
    path = tmp_path / "guest.core"
    path.write_bytes(core([Load(0x7000, page_of(9) + page_of(3)), Load(0x1000, page_of(5))]))

    assert pages_of_image(path, 10) == [page_of(9), page_of(3), page_of(5)]
    assert pages_of_image(path, 2) == [page_of(9), page_of(3)]
    assert image_pages(path, 3) == [page_of(3), page_of(5), page_of(9)]


def test_a_core_that_is_cut_off(tmp_path: Path) -> None:
    """What is left of it is read; a core of which no page is left is refused."""
    whole = core([Load(0x7000, page_of(9) + page_of(3))])
    path = tmp_path / "guest.core"
    path.write_bytes(whole[:-PAGE])
    assert pages_of_image(path, 10) == [page_of(9)]

    path.write_bytes(whole[: -2 * PAGE])
    with pytest.raises(UsageError, match="a core without a whole page in it"):
        pages_of_image(path, 10)
