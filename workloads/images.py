"""Pages of real files, chosen so that a schedule does not depend on which file it was.

All that KSM ever looks at is whether two pages are equal, which of two is greater (memcmp), and whether a checksum
has changed. So the pages of an image are dealt by *rank*: distinct pages, in memcmp order; and a page that has
diverged from its image starts with a header that is greater than the start of any image page, and tells diverged
pages apart by its own bytes. Then the order of all contents is the same whatever the file, and so is every event:
the digest of a run on one interpreter's libraries equals that on another's.
"""

from __future__ import annotations

import sys
import sysconfig
from itertools import islice
from pathlib import Path
from typing import Final

from ksmactors.quantity import quantity
from ksmactors.workload import PAGE_SIZE, UsageError

DIVERGED: Final = b"\xff\xff\xff\xff"
"""What diverged pages start with; image pages that start so are passed over."""

MOST_READ: Final = 16 << 20
"""Bytes of an image that are looked at: far more than any workload needs, and quick to read."""


def image_pages(path: Path | None, wanted: int) -> list[bytes]:
    """Distinct pages of a file, in memcmp order: the first `wanted` in the file that are not all zeros.

    Args:
        path: the image, a raw one or an ELF core; None for the interpreter's own libraries, the first that is large
            enough.
        wanted: how many pages of 4096 bytes; the last one of a file is filled up with zeros, as mmap does.

    Raises:
        UsageError: the file cannot be read, is empty, or has too few different pages.
    """
    if path is not None:
        pages = _distinct_pages(path, wanted)
        if len(pages) < wanted:
            there = quantity(len(pages), "different page that is not zero", "different pages that are not zero")
            raise UsageError(f"image {path} has only {there}, not {wanted}: take a larger image, or fewer pages")
        return sorted(pages)
    for candidate in _own_libraries():
        pages = _distinct_pages(candidate, wanted)
        if len(pages) == wanted:
            return sorted(pages)
    raise UsageError(
        f"the interpreter's own libraries have fewer than {wanted} different pages: name an image, or take fewer"
    )


def diverged(page: bytes, generation: int, rank: int) -> bytes:
    """An image page after it was written: a header of 8 bytes, then the rest of the page.

    Args:
        generation, rank: 0 to 65535; pages that differ in either differ, and compare as these do.
    """
    return DIVERGED + generation.to_bytes(2, "big") + rank.to_bytes(2, "big") + page[8:]


def _distinct_pages(path: Path, wanted: int) -> list[bytes]:
    """Return so many distinct pages, or all that there are. Reads no more of the file than it takes, by and by."""
    from ksmactors.images import pages_of_image  # reads core files, with libraries that take time to load

    limit = min(wanted, MOST_READ // PAGE_SIZE)
    while True:
        pages = pages_of_image(path, limit)
        distinct = dict.fromkeys(page for page in pages if any(page) and not page.startswith(DIVERGED))
        if len(distinct) >= wanted or len(pages) < limit or limit == MOST_READ // PAGE_SIZE:
            return list(islice(distinct, wanted))
        limit = min(4 * limit, MOST_READ // PAGE_SIZE)


def _own_libraries() -> list[Path]:
    """Files of machine code that belong to the running interpreter: libpython, extension modules, the executable."""
    libpython = Path(sysconfig.get_config_var("LIBDIR") or ".") / (sysconfig.get_config_var("INSTSONAME") or "")
    extensions = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    candidates = [libpython, *sorted(extensions.glob("*.so")), Path(sys.executable)]
    return [path for path in candidates if path.is_file()]
