"""`estimate` over a million pages, half of them duplicates: memory a page, and pages a second against ksmd here."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from mmap import MADV_MERGEABLE, MADV_NOHUGEPAGE, MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import Any

from ksmactors.conformance.live_ksm import PROC, LiveKsm
from ksmactors.errors import KsmActorsError
from ksmactors.estimate.estimate_result import EstimateResult, EstimateSettings
from ksmactors.estimate.protocol import Knobs
from ksmactors.estimate.reader import Reader, Request
from ksmactors.mm.const import PAGE_SIZE
from tests.bench.measure import cpu_seconds

PAGES = 1 << 20
SCANS = 2
"""Full scans until ksmd has merged everything."""

PART = 4096
"""Pages that are written at a time."""

SHUFFLE = 2_654_435_761
"""Odd, so that multiplying by it visits every number below a power of two once, and neighbours far apart."""

GOLDEN = 0x9E37_79B9_7F4A_7C15
"""Odd: contents with neighbouring numbers differ in their first bytes, and compare in no order."""


def write_pages(path: Path) -> None:
    """PAGES pages, each content twice, far apart."""
    body = os.urandom(PAGE_SIZE - 8)
    with path.open("wb") as file:
        for start in range(0, PAGES, PART):
            numbers = (page * SHUFFLE % PAGES // 2 for page in range(start, start + PART))
            file.write(b"".join(((number * GOLDEN) % (1 << 64)).to_bytes(8, "big") + body for number in numbers))


def estimate(path: Path) -> EstimateResult:
    """All of the work of `ksmactors estimate FILE` but the printing."""
    gathering = Reader(Request([str(path)], []), lambda *_: None)
    gathering.read()
    question = EstimateSettings("series", 2, "interleave", 10, 100, 20, Knobs())
    return EstimateResult.of(question, gathering.page_index, gathering.sources, gathering.problems)


def bytes_a_page(path: Path) -> float:
    """The most memory that the estimate ever held, for each page."""
    tracemalloc.start()
    try:
        answer = estimate(path)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.pages == PAGES
    assert answer.across[1].pages_sharing == PAGES // 2
    return held / PAGES


@contextmanager
def registered(pages: int, fill: Callable[[memoryview], None]) -> Iterator[None]:
    """Private, anonymous memory that is registered with KSM once it is filled."""
    area = mmap(-1, pages * PAGE_SIZE, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    area.madvise(MADV_NOHUGEPAGE)
    with memoryview(area) as view:
        fill(view)
    area.madvise(MADV_MERGEABLE)
    try:
        yield
    finally:
        area.close()


def in_memory(path: Path) -> AbstractContextManager[None]:
    """The pages of a file as registered memory."""

    def fill(view: memoryview) -> None:
        with path.open("rb", buffering=0) as file:
            for start in range(0, len(view), PART * PAGE_SIZE):
                assert file.readinto(view[start : start + PART * PAGE_SIZE]) == PART * PAGE_SIZE

    return registered(PAGES, fill)


def unique_pages(pages: int) -> AbstractContextManager[None]:
    """Pages of which no two are equal, as registered memory: each repeats its number, as the emulator's tokens do."""

    def fill(view: memoryview) -> None:
        for page in range(pages):
            view[page * PAGE_SIZE : (page + 1) * PAGE_SIZE] = (page + 1).to_bytes(8, "big") * (PAGE_SIZE // 8)

    return registered(pages, fill)


def ksmd_seconds() -> float:
    """CPU time that ksmd has had."""
    for directory in PROC.glob("[0-9]*"):
        if (directory / "comm").read_text() == "ksmd\n":
            ticks = (directory / "stat").read_text().rpartition(")")[2].split()[11:13]
            return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    raise AssertionError("LiveKsm has found it")


def ksmd_rate(path: Path) -> float:
    """Pages that this machine's ksmd looks at a second, from a cold start until all are merged.

    Raises:
        KsmActorsError: there is no KSM here, it may not be used, or it is in use.
    """
    live = LiveKsm()
    with live.taken():
        live.start()
        with in_memory(path):
            before = ksmd_seconds()
            live.write("run", "1")
            for _ in range(SCANS):
                live.batch(PAGES + PART)
            taken = ksmd_seconds() - before
            assert live.counter("sharing") >= PAGES // 2
        return SCANS * PAGES / taken


def estimate_case() -> dict[str, Any]:
    """Memory a page, and pages a second."""
    with TemporaryDirectory() as directory:
        if disk_usage(directory).free < 2 * PAGES * PAGE_SIZE:
            return {"skipped": f"{directory} has no room for {PAGES * PAGE_SIZE >> 30} GiB"}
        path = Path(directory) / "pages"
        write_pages(path)
        rate = PAGES / cpu_seconds(lambda: estimate(path))
        figures: dict[str, Any] = {
            "pages_per_second": round(rate),
            "bytes_a_page": {"value": round(bytes_a_page(path)), "at_most": 400},
        }
        try:
            ksmd = ksmd_rate(path)
        except KsmActorsError as error:
            return figures | {"relative_to_ksmd": {"skipped": str(error)}}
        return figures | {
            "ksmd_pages_per_second": round(ksmd),
            "relative_to_ksmd": {"value": round(rate / ksmd, 2), "at_least": 0.25},
        }


CASES = {"estimate": estimate_case}
