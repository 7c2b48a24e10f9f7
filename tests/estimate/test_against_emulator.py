"""The estimate against the emulator: the same pages, the same counters, after the same number of full scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from ksmactors.estimate.page_index import MemoryRegion, PageIndex
from ksmactors.estimate.protocol import EstimatedCounters, Knobs, batches, converge
from ksmactors.mm.const import PAGE_SIZE
from tests.estimate import emulated
from tests.estimate.emulated import Area, converged

PLAIN = Knobs()


def page(token: int) -> bytes:
    """The page that the emulator makes of a token."""
    return token.to_bytes(8, "big") * (PAGE_SIZE // 8)


def estimated(areas: Sequence[Area], *, nodes: int, merge_across_nodes: int, knobs: Knobs = PLAIN) -> EstimatedCounters:
    """What the estimate says of pages, as it says it of files and processes."""
    page_index = PageIndex(nodes)
    volatile = 0
    for number, area in enumerate(areas):
        page_index.add_region(MemoryRegion(f"p{number}", number, "", 0))
        settled = [token for token in area.tokens if token is not None]
        volatile += len(area.tokens) - len(settled)
        pages = b"".join(page(token) for token in settled)
        page_index.add(memoryview(pages), 0, bytes([area.nid]) * len(settled))
    zeros = not knobs.use_zero_pages
    counts = page_index.multiplicities(zeros=zeros)
    if not merge_across_nodes:
        counts = sum((page_index.multiplicities(nid, zeros=zeros) for nid in range(nodes)), Counter[int]())
    return converge(counts, volatile, page_index.zero_pages, knobs)


def random_areas(seed: int, *, nodes: int, pages: int) -> list[Area]:
    """Pages with many duplicates, some of zeros, some that never hold still, over a few processes on all nodes."""
    random = Random(seed)
    contents = random.randint(1, pages)
    areas = []
    while pages > 0:
        size = min(pages, random.randint(1, 90))
        pages -= size
        tokens = [
            None if random.randrange(12) == 0 else 0 if random.randrange(10) == 0 else random.randint(1, contents)
            for _ in range(size)
        ]
        areas.append(Area(random.randrange(nodes), tokens))
    return areas


@pytest.mark.parametrize("merge_across_nodes", [0, 1])
@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("kernel", ["series", "v3.9"])
def test_random_pages(kernel: str, nodes: int, merge_across_nodes: int) -> None:
    """Counters and number of full scans are those of the emulator, on any pages, at both values of the knob."""
    areas = random_areas(2 * nodes + merge_across_nodes, nodes=nodes, pages=200)
    expected = converged(areas, nodes=nodes, merge_across_nodes=merge_across_nodes, kernel=kernel, knobs={})

    assert expected == estimated(areas, nodes=nodes, merge_across_nodes=merge_across_nodes)


@pytest.mark.parametrize("merge_across_nodes", [0, 1])
@pytest.mark.parametrize("max_page_sharing", [2, 3, 7, 256])
@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v6.18", "v7.3"])
def test_max_page_sharing(kernel: str, max_page_sharing: int, merge_across_nodes: int) -> None:
    """A KSM page that is full makes room for another; what is left over alone is unshared."""
    areas = random_areas(max_page_sharing, nodes=2, pages=160)
    limits = {"max_page_sharing": max_page_sharing} | quiet(kernel)
    knobs = Knobs.of_kernel(kernel, max_page_sharing=max_page_sharing)
    expected = converged(areas, nodes=2, merge_across_nodes=merge_across_nodes, kernel=kernel, knobs=limits)

    assert expected == estimated(areas, nodes=2, merge_across_nodes=merge_across_nodes, knobs=knobs)


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v6.18", "v7.3"])
def test_use_zero_pages(kernel: str) -> None:
    """Pages of zeros become the zero page, single ones too, and leave all other counters after one scan more."""
    for seed in range(2):
        areas = random_areas(seed, nodes=2, pages=120)
        settings = {"use_zero_pages": 1} | quiet(kernel)
        knobs = Knobs.of_kernel(kernel, use_zero_pages=True)
        expected = converged(areas, nodes=2, merge_across_nodes=1, kernel=kernel, knobs=settings)

        assert expected.ksm_zero_pages
        assert expected == estimated(areas, nodes=2, merge_across_nodes=1, knobs=knobs)


def quiet(kernel: str) -> dict[str, int]:
    """smart_scan off, where there is one: it makes the counters come and go."""
    return {} if kernel == "v6.1" else {"smart_scan": 0}


@pytest.mark.parametrize(
    "tokens",
    [[5], [5, 5], [5, 6, 7], [None], [None, None], [None, 5], [None, 5, 5], [0, 0, 0], [0]],
    ids=str,
)  # fmt: skip
def test_few_pages(tokens: list[int | None]) -> None:
    """The corners agree, too: single pages, only volatile pages, zeros."""
    areas = [Area(0, tokens)]

    assert converged(areas, nodes=1, merge_across_nodes=1, knobs={}) == estimated(areas, nodes=1, merge_across_nodes=1)


def test_the_knob_matters() -> None:
    """Equal pages on two nodes merge across them or within each, in the emulator as in the estimate."""
    areas = [Area(0, [5, 5, 6]), Area(1, [5, 6, 6, 6])]
    split = EstimatedCounters(2, 3, 2, 0, 2)
    whole = EstimatedCounters(2, 5, 0, 0, 2)

    assert split == converged(areas, nodes=2, merge_across_nodes=0, knobs={})
    assert split == estimated(areas, nodes=2, merge_across_nodes=0)
    assert whole == converged(areas, nodes=2, merge_across_nodes=1, knobs={})
    assert whole == estimated(areas, nodes=2, merge_across_nodes=1)


@pytest.mark.parametrize(("pages", "pages_to_scan"), [(1, 1), (7, 2), (8, 2), (9, 2), (5, 100), (1, 3)])
def test_batches(pages: int, pages_to_scan: int) -> None:
    """Full scans take so many batches of pages_to_scan pages: the last one ends the scan, if only that."""
    assert emulated.batches(pages, pages_to_scan, 2) == batches(pages, 2, pages_to_scan)


@pytest.mark.parametrize("kernel", ["v6.12", "v6.18"])
def test_what_smart_scan_delays(kernel: str) -> None:
    """What becomes equal to a KSM page merges two scans later; with smart_scan, up to `late_full_scans` after that."""
    late = Knobs.of_kernel(kernel).late_full_scans
    assert {emulated.scans_to_merge(kernel, before, smart_scan=False) for before in range(12, 22)} == {2}
    assert max(emulated.scans_to_merge(kernel, before, smart_scan=True) for before in range(12, 22)) == 2 + late
