"""What all tests share: bytecode, a garbage collector that does not walk through them, and registries that forget."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from ksmactors.garbage import THRESHOLDS
from ksmactors.interleave.strategies.registry import STRATEGIES
from ksmactors.kernels import VARIANTS
from ksmactors.watch import WATCHERS

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Commands of tests are hundreds of interpreters. Without bytecode each would compile the whole package again."""


def pytest_collection_finish() -> None:
    """Leave what was collected, which lives to the end, out of garbage collection: each pass would go through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Take out of the registries what a test has put there: plug-ins of files that are gone."""
    before = [(registry, {**registry}) for registry in (STRATEGIES, VARIANTS, WATCHERS)]
    yield
    for registry, content in before:
        if len(registry) != len(content):
            registry.clear()
            registry.update(content)
