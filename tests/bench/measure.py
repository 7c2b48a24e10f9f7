"""How the benchmarks measure: CPU time of the process, garbage collector off, medians."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import process_time

REPEATS = 7


@contextmanager
def no_gc() -> Iterator[None]:
    """Keep the garbage collector out of what is timed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    with no_gc():
        start = process_time()
        work()
        return process_time() - start


def medians(*timed: Callable[[], float]) -> list[float]:
    """The median of each over some rounds; each round times all of them, so that a slow moment hits all alike."""
    rounds = [[time() for time in timed] for _ in range(REPEATS)]
    return [median(column) for column in zip(*rounds, strict=True)]
