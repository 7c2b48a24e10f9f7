"""What all tests share: a garbage collector that does not walk through them, and no CI system around them."""

from __future__ import annotations

import gc
import os


def pytest_configure() -> None:
    """Have commands print what they print to a person, also where the tests run in a step of GitHub Actions."""
    os.environ.pop("GITHUB_ACTIONS", None)


def pytest_collection_finish() -> None:
    """Leave what was collected, which lives to the end, out of garbage collection: each pass would go through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
