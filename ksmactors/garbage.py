"""How often Python looks for garbage in cycles, in a process that is ours: the command line, and its workers."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (200_000, 20, 20)
"""A schedule makes tens of thousands of objects, and nearly all of them go without the collector. With Python's own
700 allocations between two passes, about a tenth of a campaign's time is the collector's."""

_needed_at_the_end: Final[list[bool]] = []
"""Not empty if the collector is needed when the process ends."""


def collect_seldom() -> None:
    """Look for garbage seldom, and never again among what there is by now."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def collect_at_the_end() -> None:
    """Leave the collector on at the end of this process, which has loaded code that is not ours: a file that such code
    has left open, as a module's variable, is written by the interpreter's last pass only."""
    _needed_at_the_end.append(True)


def collect_no_more() -> None:
    """The process ends: the interpreter need not look through all objects twice before the system takes them back."""
    if _needed_at_the_end:
        return
    gc.freeze()
    gc.disable()
