"""How the benchmarks measure: CPU time of the process, garbage collector off, medians."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time

REPEATS = 7

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Commands are measured as they are installed: with bytecode, which the first of several runs writes."""


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


@dataclass(frozen=True, slots=True)
class CommandCost:
    """CPU seconds of a process, its seconds by the clock, and the most memory it had, in MiB."""

    cpu: float
    wall: float
    mib: float


def command_cost(command: Sequence[str]) -> CommandCost:
    """Run a command that must succeed, and return what it took."""
    start = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return CommandCost(used.ru_utime + used.ru_stime, perf_counter() - start, used.ru_maxrss / 1024)
