"""How often Python looks for garbage in cycles, in a process that is ours: the command line, and its workers."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (200_000, 20, 20)
"""A schedule makes tens of thousands of objects, and nearly all of them go without the collector. With Python's own
700 allocations between two passes, about a tenth of a campaign's time is the collector's."""


def collect_seldom() -> None:
    """Look for garbage seldom, and never again among what there is by now."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def collect_no_more() -> None:
    """The process ends: the interpreter need not look through all objects twice before the system takes them back."""
    gc.freeze()
    gc.disable()
