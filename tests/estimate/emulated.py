"""The same pages in the emulator: ksmd scans them until the counters hold still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from ksmactors.estimate.protocol import EstimatedCounters
from ksmactors.events.trace import Trace
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import MADV_MERGEABLE, PAGE_SIZE

SCANS = 5
"""More than the counters take to converge, so that it shows if they go on moving."""

NAP_MS = 1_000_000
"""Between two full scans: far longer than one takes."""

FRESH = 1 << 40
"""Tokens from here on are written once only."""


def batches(pages: int, pages_to_scan: int, full_scans: int) -> int:
    """How many batches ksmd takes for so many full scans over so many pages."""
    strategy = parse("round_robin")
    strategy.begin(strategy_rng(1))
    conductor = Conductor(strategy, Tape(1), max_steps=1 << 40)
    kernel = Machine(conductor, Trace(conductor)).kernel
    count = 0

    async def main() -> None:
        nonlocal count
        mm = kernel.mm_alloc("p")
        start = await kernel.mmap(mm, pages, 0)
        await kernel.madvise(mm, start, pages * PAGE_SIZE, MADV_MERGEABLE)
        for page in range(pages):
            await kernel.fault(mm, start + page * PAGE_SIZE, True)
        for knob, value in {"pages_to_scan": pages_to_scan, "sleep_millisecs": NAP_MS, "run": 1}.items():
            assert await kernel.sysfs_store(knob, str(value)) == 0
        conductor.spawn("ksmd", kernel.ksm_scan_thread(), daemon=True)
        await conductor.sleep(NAP_MS * 1_000_000 // 2)
        count = 1
        while kernel.ksm_scan.seqnr < full_scans:
            await conductor.sleep(NAP_MS * 1_000_000)
            count += 1

    trio.run(conductor.run, "main", main)
    return count


@dataclass(frozen=True, slots=True)
class Area:
    """A mergeable region of a process of its own: its node, and its pages as tokens; None: written again and again."""

    nid: int
    tokens: Sequence[int | None]


def converged(
    areas: Sequence[Area], *, nodes: int, merge_across_nodes: int, kernel: str = "series", knobs: dict[str, int]
) -> EstimatedCounters:
    """The counters after SCANS full scans, and the first full scan after which they were that already."""
    strategy = parse("round_robin")
    strategy.begin(strategy_rng(1))
    conductor = Conductor(strategy, Tape(1), max_steps=1 << 40)
    kernel_ = Machine(conductor, Trace(conductor), nodes=nodes, kernel=kernel).kernel
    history: list[tuple[int, ...]] = []
    mms: list[AddressSpace] = []
    fresh = FRESH

    async def main() -> None:
        nonlocal fresh
        restless = []
        for number, area in enumerate(areas):
            mm = kernel_.mm_alloc(f"p{number}")
            mms.append(mm)
            start = await kernel_.mmap(mm, len(area.tokens), area.nid)
            await kernel_.madvise(mm, start, len(area.tokens) * PAGE_SIZE, MADV_MERGEABLE)
            for page, token in enumerate(area.tokens):
                address = start + page * PAGE_SIZE
                await kernel_.fault(mm, address, True)
                if token is None:
                    restless.append((mm, address))
                else:
                    assert await kernel_.user_write(mm, address, kernel_.contents.token(token))
        pages = sum(len(area.tokens) for area in areas)
        settings = {"merge_across_nodes": merge_across_nodes, **knobs, "pages_to_scan": pages + 1}
        for knob, value in {**settings, "sleep_millisecs": NAP_MS, "run": 1}.items():
            assert await kernel_.sysfs_store(knob, str(value)) == 0
        conductor.spawn("ksmd", kernel_.ksm_scan_thread(), daemon=True)
        for scan in range(1, SCANS + 1):
            for mm, address in restless:
                fresh += 1
                assert await kernel_.user_write(mm, address, kernel_.contents.token(fresh))
            await conductor.sleep(NAP_MS * 1_000_000 // (2 if scan == 1 else 1))
            assert kernel_.ksm_scan.seqnr == scan
            history.append(
                (kernel_.ksm_pages_shared, kernel_.ksm_pages_sharing, kernel_.ksm_pages_unshared,
                 kernel_.pages_volatile)
            )  # fmt: skip

    trio.run(conductor.run, "main", main)
    zero_pages = sum(kernel_.zero_page is pte.frame for mm in mms for pte in mm.ptes.values())
    return EstimatedCounters(*history[-1], 1 + history.index(history[-1]), zero_pages)


def scans_to_merge(kernel: str, before: int, *, smart_scan: bool) -> int:
    """How many full scans a page takes to merge that becomes equal to a KSM page after so many scans."""
    strategy = parse("round_robin")
    strategy.begin(strategy_rng(1))
    conductor = Conductor(strategy, Tape(1), max_steps=1 << 40)
    kernel_ = Machine(conductor, Trace(conductor), kernel=kernel).kernel
    scans = 0

    async def main() -> None:
        nonlocal scans
        mm = kernel_.mm_alloc("p")
        start = await kernel_.mmap(mm, 3, 0)
        await kernel_.madvise(mm, start, 3 * PAGE_SIZE, MADV_MERGEABLE)
        for page, token in enumerate((1, 1, 2)):
            await kernel_.fault(mm, start + page * PAGE_SIZE, True)
            assert await kernel_.user_write(mm, start + page * PAGE_SIZE, kernel_.contents.token(token))
        knobs = {"smart_scan": int(smart_scan), "pages_to_scan": 4, "sleep_millisecs": NAP_MS, "run": 1}
        for knob, value in knobs.items():
            assert await kernel_.sysfs_store(knob, str(value)) == 0
        conductor.spawn("ksmd", kernel_.ksm_scan_thread(), daemon=True)
        await conductor.sleep(NAP_MS * 1_000_000 // 2)
        while kernel_.ksm_scan.seqnr < before:
            await conductor.sleep(NAP_MS * 1_000_000)
        assert await kernel_.user_write(mm, start + 2 * PAGE_SIZE, kernel_.contents.token(1))
        while kernel_.ksm_pages_sharing < 2:
            await conductor.sleep(NAP_MS * 1_000_000)
        scans = kernel_.ksm_scan.seqnr - before

    trio.run(conductor.run, "main", main)
    return scans
