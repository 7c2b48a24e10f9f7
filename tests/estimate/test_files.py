"""Memory images: pages from the bytes of files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.estimate.page_index import BATCH_PAGES
from ksmactors.estimate.protocol import EstimatedCounters
from ksmactors.estimate.reader import Request
from ksmactors.mm.const import PAGE_SIZE
from tests.estimate.conftest import pages, read


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Eight pages: 1 four times, 2 twice, 0 and 3 once."""
    path = tmp_path / "image"
    path.write_bytes(pages(1, 1, 2, 0, 1, 2, 1, 3))
    return path


def test_an_image(image: Path) -> None:
    """Pages are counted by content, and by content and node."""
    answer = read(image, nodes=2)

    assert (answer.pages, answer.zero_pages, answer.contents) == (8, 1, 4)
    assert EstimatedCounters(2, 4, 2, 0, 2) == answer.across[1]
    assert answer.across[1].saved_bytes == 4 * PAGE_SIZE
    assert EstimatedCounters(1, 2, 5, 0, 2) == answer.across[0]  # node 0: 1 2 1 1, node 1: 1 0 2 3
    assert answer.pages_by_node == (4, 4)
    assert answer.problems == ()


def test_who_shares(image: Path, tmp_path: Path) -> None:
    """The most shared contents come first, each with where it is, the largest owner first."""
    other = tmp_path / "other"
    other.write_bytes(pages(9, 2, 2, 2, 9))
    first, second, third = read(image, other, nodes=2).shared

    assert [content.pages for content in (first, second, third)] == [5, 4, 2]
    assert [(str(other), 3, PAGE_SIZE), (str(image), 2, 2 * PAGE_SIZE)] == [
        (owner.region.source, owner.pages, owner.first) for owner in first.owners
    ]
    assert second.pages_by_node == (3, 1)
    assert [owner.first for owner in third.owners] == [0]


@pytest.mark.parametrize(("spread", "shared"), [("source", 0), ("region", 0), ("interleave", 1)])
def test_spread(tmp_path: Path, spread: str, shared: int) -> None:
    """Where nodes are not known, the policy decides: by file, or page after page."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths[:2]:
        path.write_bytes(pages(1, 2))
    paths[2].write_bytes(pages(3, 2))
    answer = read(*paths, nodes=3 if spread != "interleave" else 2, spread=spread)

    assert answer.across[1].pages_shared == 2
    assert (2 if spread == "interleave" else 0) == answer.across[0].pages_shared


def test_a_tail_that_is_no_page(image: Path) -> None:
    """Bytes after the last whole page are left out, and that is said."""
    with image.open("ab") as file:
        file.write(b"abc")
    answer = read(image)

    assert answer.pages == 8
    assert (f"{image}: 3 bytes at its end, no whole page, left out",) == answer.problems


def test_what_cannot_be_read(image: Path, tmp_path: Path) -> None:
    """Each is one line, and the rest is counted."""
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    where = "pages are read from files, cores and, with --pid, processes"
    answer = read(tmp_path / "none", tmp_path, tmp_path / "empty", tmp_path / "fifo", image)

    assert answer.pages == 8
    assert (
        f"{tmp_path}/none: No such file or directory",
        f"{tmp_path}: a directory; {where}",
        f"{tmp_path}/empty: 0 bytes, not even one page of 4096",
        f"{tmp_path}/fifo: neither a file nor a block device; {where}",
    ) == answer.problems


def test_truncated_while_read(tmp_path: Path) -> None:
    """A file that gets shorter under the reader is counted as far as it went."""
    path = tmp_path / "image"
    path.write_bytes(pages(*range(3 * BATCH_PAGES)))

    def truncate(label: str, done: int, total: int | None) -> None:
        os.truncate(path, (BATCH_PAGES + 10) * PAGE_SIZE)

    answer = read(path, progress=truncate)

    assert answer.pages == BATCH_PAGES + 10
    assert (
        f"{path}: ends after {BATCH_PAGES + 10} of {3 * BATCH_PAGES} pages; it was truncated while it was read",
    ) == answer.problems


def sparse(path: Path, *extents: tuple[int, bytes], size: int) -> Path:
    """A file of so many pages that has only these, each with the number of its first page."""
    with path.open("wb") as file:
        for first, data in extents:
            file.seek(first * PAGE_SIZE)
            file.write(data)
        file.truncate(size * PAGE_SIZE)
    return path


def test_holes_are_left_out(tmp_path: Path) -> None:
    """A hole was never written: it is no page, and how much that was is said. Zeros that were written are pages, and
    addresses are those in the file."""
    path = sparse(tmp_path / "image", (4, pages(1, 0, 1)), (100, pages(2, 1)), size=200)
    answer = read(path)
    assert (answer.pages, answer.zero_pages, answer.contents, answer.problems) == (5, 1, 3, ())
    assert answer.sources[0].left_out == {"holes": 195}
    assert [owner.first for owner in answer.shared[0].owners] == [4 * PAGE_SIZE]
    assert answer.shared[0].owners[0].pages == 3


def test_a_file_that_is_all_hole(tmp_path: Path) -> None:
    """Nothing in it is a page."""
    answer = read(sparse(tmp_path / "image", size=1000))
    assert (answer.pages, answer.problems) == (0, ())


def test_a_huge_hole_costs_nothing(tmp_path: Path) -> None:
    """A file of a terabyte with two pages is read as two pages."""
    seen: list[int] = []
    path = sparse(tmp_path / "image", (0, pages(1)), (1 << 27, pages(1)), size=1 << 28)

    def progress(label: str, done: int, total: int | None) -> None:
        seen.append(done)

    answer = read(path, progress=progress)
    assert answer.pages == 2
    assert len(seen) == 2


def test_where_holes_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that does not say where data are, everything is read, holes as zeros."""

    def lseek(fd: int, position: int, how: int) -> int:
        if how in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, "Invalid argument")
        return seek(fd, position, how)

    seek = os.lseek
    monkeypatch.setattr(os, "lseek", lseek)
    answer = read(sparse(tmp_path / "image", (1, pages(1)), size=4))
    assert (answer.pages, answer.zero_pages, answer.problems) == (4, 3, ())


def test_stopped_half_way(tmp_path: Path) -> None:
    """A progress that raises stops the reading between two batches."""
    path = tmp_path / "image"
    path.write_bytes(pages(*range(3 * BATCH_PAGES)))
    seen = []

    def stop(label: str, done: int, total: int | None) -> None:
        seen.append((label, done, total))
        raise InterruptedError

    with pytest.raises(InterruptedError):
        read(path, progress=stop)
    assert [(str(path), BATCH_PAGES, 3 * BATCH_PAGES)] == seen


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([], []), "name a FILE"),
        (Request([], [1], core=True), "there is none"),
        (Request(["a"], [], spread="actual"), "files do not say"),
        (Request(["a"], [1], spread="actual"), "files do not say"),
    ],
)
def test_what_does_not_go_together(request_: Request, message: str) -> None:
    """A request that makes no sense is refused before anything is read."""
    with pytest.raises(UsageError, match=message):
        request_.settled()
