"""What all tests share: a garbage collector that does not walk through them."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Leave what was collected, which lives to the end, out of garbage collection: each pass would go through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
