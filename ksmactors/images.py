"""Pages of memory images, for workloads: raw images and ELF cores, as `ksmactors estimate` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.estimate.elf import MAGIC, is_core, page_extents, read_core
from ksmactors.estimate.opening import opened
from ksmactors.files import read_start
from ksmactors.mm.const import PAGE_SIZE

__all__ = ["PAGES_MAX", "pages_of_image"]

PAGES_MAX: Final = 1 << 16
"""Pages that are read of an image at most: 256 MiB."""


def pages_of_image(path: Path, limit: int) -> list[bytes]:
    """Read the first pages of an image, in the order of the file.

    Args:
        path: an ELF core, of which the pages of its segments are read; or any other file, as raw memory.
        limit: the most pages of 4096 bytes, at most PAGES_MAX. The last page of a raw file is filled up with zeros.

    Raises:
        UsageError: it cannot be read, has no page, or is a damaged core.
    """
    wanted = min(limit, PAGES_MAX)
    start = read_start(path, PAGE_SIZE, "image")
    if not start:
        raise UsageError(f"image {path} is empty")
    with opened(str(path)) as (fd, _):
        core = start.startswith(MAGIC) and is_core(fd)
        try:
            pages = list(islice(_core_pages(fd, path) if core else _raw_pages(fd), wanted))
        except OSError as error:
            raise UsageError(f"image {path}: cannot be read ({error.strerror})") from None
    if core and not pages:
        raise UsageError(f"image {path}: a core without a whole page in it")
    return pages


def _raw_pages(fd: int) -> Iterator[bytes]:
    """Read a page at a time: a large image is not in memory twice, not even for a moment."""
    for offset in count(0, PAGE_SIZE):
        page = os.pread(fd, PAGE_SIZE, offset)
        if not page:
            break
        yield page.ljust(PAGE_SIZE, b"\0")


def _core_pages(fd: int, path: Path) -> Iterator[bytes]:
    for extent in page_extents(read_core(fd, str(path))):
        for number in range(extent.pages):
            page = os.pread(fd, PAGE_SIZE, extent.offset + number * PAGE_SIZE)
            if len(page) < PAGE_SIZE:
                break  # the core is cut off here
            yield page
