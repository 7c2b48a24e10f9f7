"""ksmd with nobody in its way: pages a second, how that grows with the number of pages, and memory a page."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from math import log2
from statistics import median
from time import process_time
from typing import Any

import trio

from ksmactors.conformance.live_ksm import LiveKsm
from ksmactors.events.trace import Trace
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.machine import Machine
from ksmactors.mm.const import MADV_MERGEABLE, PAGE_SIZE
from tests.bench.estimate import ksmd_seconds, unique_pages
from tests.bench.measure import no_gc

SCANS = 3
SIZES = {1_000: 9, 10_000: 3, 100_000: 3}
"""Pages, and how often it is measured with so many; the median counts."""

NAP_NS = 1_000_000_000_000
"""Far longer than all scans take together."""


class Alone:
    """A machine on which one process has so many unique pages, and ksmd does some full scans over them.

    Their contents are `made` before, or each with the write that brings it.
    """

    def __init__(self, pages: int, *, made: bool = True) -> None:
        strategy = parse("round_robin")
        strategy.begin(strategy_rng(1))
        self.pages = pages
        self.conductor = Conductor(strategy, Tape(1), max_steps=1 << 40)
        self.machine = Machine(self.conductor, Trace(self.conductor), nodes=2)
        self.contents = [self.machine.kernel.contents.token(1 + page) for page in range(pages)] if made else []

    def run(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Fault the pages in, then scan; `before` and `after` are called around the scans."""

        async def main() -> None:
            await self._fault_in()
            await self._scan(before, after)

        trio.run(self.conductor.run, "main", main)

    async def _fault_in(self) -> None:
        kernel = self.machine.kernel
        mm = kernel.mm_alloc("guest")
        start = await kernel.mmap(mm, self.pages, 0)
        await kernel.madvise(mm, start, self.pages * PAGE_SIZE, MADV_MERGEABLE)
        for page in range(self.pages):
            content = kernel.contents.token(1 + page)
            await kernel.fault(mm, start + page * PAGE_SIZE, True)
            assert await kernel.user_write(mm, start + page * PAGE_SIZE, content)

    async def _scan(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        kernel, conductor = self.machine.kernel, self.conductor
        await kernel.sysfs_store("pages_to_scan", str(self.pages + 1))  # a batch is a full scan
        await kernel.sysfs_store("sleep_millisecs", str(NAP_NS // 1_000_000))
        await kernel.sysfs_store("run", "1")
        before()
        conductor.spawn("ksmd", kernel.ksm_scan_thread(), daemon=True)
        await conductor.sleep(SCANS * NAP_NS - NAP_NS // 2)
        after()
        assert kernel.ksm_scan.seqnr == SCANS
        assert kernel.pages_scanned == SCANS * self.pages
        assert kernel.ksm_pages_unshared == self.pages


def seconds(pages: int) -> float:
    """CPU time of the scans."""
    times: list[float] = []

    def clock() -> None:
        times.append(process_time())

    with no_gc():
        Alone(pages).run(clock, clock)
    return times[1] - times[0]


def bytes_a_page(pages: int, *, with_content: bool = False) -> float:
    """Bytes that the emulator has come to hold for each page after the scans, contents left out or counted."""
    held: list[int] = []

    def weigh() -> None:
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])

    alone = Alone(pages, made=not with_content)
    gc.collect()
    tracemalloc.start()
    try:
        alone.run(lambda: None, weigh)
    finally:
        tracemalloc.stop()
    return held[0] / pages


def rate(pages: int) -> float:
    """Pages a second of CPU time, on a machine with so many."""
    return SCANS * pages / seconds(pages)


def real_rate(pages: int) -> float:
    """Pages a second of CPU time of this machine's ksmd, over so many unique pages.

    Raises:
        KsmActorsError: there is no KSM here, it may not be used, or it is in use.
    """
    live = LiveKsm()
    with live.taken():
        live.start()
        with unique_pages(pages):
            before = ksmd_seconds()
            live.write("run", "1")
            for _ in range(SCANS):
                live.batch(pages + 1)
            taken = ksmd_seconds() - before
            assert live.counter("unshared") == pages
        return SCANS * pages / taken


def alone_case() -> dict[str, Any]:
    """The three figures of ksmd alone."""
    taken = {pages: median(seconds(pages) for _ in range(repeats)) for pages, repeats in SIZES.items()}
    small, large = min(taken), max(taken)
    growth = (taken[large] / taken[small]) / (large * log2(large) / (small * log2(small)))
    return {
        "pages_per_second": {str(pages): round(SCANS * pages / time) for pages, time in taken.items()}
        | {"at_least": 40_000},
        "growth_relative_to_n_log_n": {"value": round(growth, 2), "at_most": 1},
        "bytes_a_page": {"value": round(bytes_a_page(large)), "at_most": 700},
    }


CASES = {"ksmd_alone": alone_case}
