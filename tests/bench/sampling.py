"""Where the CPU time of some work goes: stacks sampled at a steady rate of CPU time, as shares and as a flame graph.

The timer's signal is handled between two bytecodes of the main thread, where trio and everything that it runs is.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Final
from xml.sax.saxutils import escape, quoteattr

INTERVAL: Final = 0.002
"""Seconds of CPU time between two samples."""

Stack = tuple[str, ...]
"""The functions from the outermost to the innermost, as `module:function`."""


@contextmanager
def sampled() -> Iterator[Counter[Stack]]:
    """Sample the stack while the block runs; the counter has how often each stack was seen."""
    seen: Counter[Stack] = Counter()

    def note(_: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None:
            stack.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        seen[tuple(reversed(stack))] += 1

    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def from_function(stacks: Mapping[Stack, int], ends_with: str) -> Counter[Stack]:
    """The parts of the stacks that begin at a function; others are left out."""
    parts: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        start = next((place for place, name in enumerate(stack) if name.endswith(ends_with)), None)
        if start is not None:
            parts[stack[start:]] += count
    return parts


def shares(stacks: Mapping[Stack, int], part_of: Callable[[Stack], str]) -> list[tuple[str, float]]:
    """The share of each part of all samples, the largest first."""
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        counts[part_of(stack)] += count
    total = counts.total()
    return [(part, count / total) for part, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]


# -- the picture ----------------------------------------------------------------------------------------------------

WIDTH: Final = 1200
ROW: Final = 17
SMALLEST: Final = 0.004
"""Share of the samples from which on a function is drawn."""

CHARACTER: Final = 6.2
"""Width of a character of its name."""

DEPTH: Final = 40
"""Rows that are drawn."""

Box = tuple[int, int, int, str]
"""First sample, number of samples, row, function."""


def flame_graph(stacks: Mapping[Stack, int], title: str, color_of: Callable[[str], str]) -> str:
    """An SVG: one box for each function on a stack, as wide as its share, with its callees above it."""
    total = sum(stacks.values())
    boxes = [box for box in _boxes(stacks) if box[1] >= SMALLEST * total and box[2] < DEPTH]
    height = (max((row for _, _, row, _ in boxes), default=0) + 1) * ROW + 2 * ROW
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
            'font-size="10">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="6" y="{ROW - 4}" font-size="12">{escape(title)}</text>',
    ]
    for first, count, row, name in boxes:
        x, width, y = WIDTH * first / total, WIDTH * count / total, height - (row + 1) * ROW
        short = name.rpartition(":")[2]
        fits = int((width - 4) / CHARACTER)
        text = short if len(short) <= fits else short[: fits - 1] + "." if fits > 3 else ""
        lines.append(
            f"<g><title>{escape(name)} {count / total:.1%}</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill={quoteattr(color_of(name))}/>'
            + (f'<text x="{x + 2:.1f}" y="{y + ROW - 5}">{escape(text)}</text>' if text else "")
            + "</g>"
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _boxes(stacks: Mapping[Stack, int]) -> Iterator[Box]:
    """Neighbouring stacks share the boxes that they have in common; stacks are in alphabetical order."""
    open_: list[tuple[int, str]] = []
    at = 0
    for stack, count in [*sorted(stacks.items()), ((), 0)]:
        common = 0
        while common < min(len(open_), len(stack)) and open_[common][1] == stack[common]:
            common += 1
        for row in range(len(open_) - 1, common - 1, -1):
            first, name = open_[row]
            yield first, at - first, row, name
        del open_[common:]
        open_ += [(at, name) for name in stack[common:]]
        at += count
