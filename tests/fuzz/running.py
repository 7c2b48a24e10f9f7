"""Feeding many mutated files of a kind, with a limit of time for each."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.kinds import KINDS
from tests.fuzz.mutating import CHANGES, Change

SECONDS_MAX: Final = 5
MEMORY_MAX: Final = 1 << 30


class Hang(BaseException):
    """An input took longer than it may."""


@dataclass(slots=True)
class Figures:
    """What inputs of a kind have cost: how many, how many of them were accepted, and the slowest in seconds
    of CPU time."""

    kind: str
    inputs: int = 0
    accepted: int = 0
    slowest: float = 0.0
    peak: int = 0
    """Bytes of the whole process."""


def fuzz(name: str, place: Path, examples: int, *, first_seed: int = 0, shrink: bool = True) -> Figures:
    """Feed mutated files; raises what one of them raised, with the smallest that hypothesis can make of it."""
    kind = KINDS[name](place)
    figures = Figures(name)
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)

    @seed(first_seed)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=phases
    )
    @given(sample=st.integers(0, 63), changes=CHANGES)
    def feed(sample: int, changes: list[Change]) -> None:
        data = kind.mutant(sample, changes)
        started = process_time()
        with _limited():
            figures.accepted += kind.feed(data)
        figures.inputs += 1
        figures.slowest = max(figures.slowest, process_time() - started)

    feed()
    figures.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return figures


@contextmanager
def _limited() -> Iterator[None]:
    """Raise Hang in what takes too long, in CPU time or much longer by the clock; only the main thread can be
    interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(_number: int, _frame: FrameType | None) -> None:
        raise Hang(f"more than {SECONDS_MAX} s")

    before = [signal.signal(number, over) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)
