"""How many processes a campaign may have."""

from __future__ import annotations

import os
from typing import Final

JOBS_MAX: Final = 1024
"""Processes of a campaign."""


def available_cores() -> int:
    """The cores that this process may use."""
    return min(len(os.sched_getaffinity(0)), JOBS_MAX)
