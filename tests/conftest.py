"""What all tests share: bytecode, a garbage collector that does not walk through them, and registries that forget."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest

from ksmactors.campaign import fork_server
from ksmactors.garbage import THRESHOLDS
from ksmactors.interleave.strategies.registry import STRATEGIES
from ksmactors.kernels import VARIANTS
from ksmactors.watch import WATCHERS
from tests.helpers.ready import ready_fork_server

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Commands of tests are many interpreters, and each process of pytest-xdist imports all tests. Without bytecode each
would compile them again."""


def pytest_collection_finish() -> None:
    """Leave what was collected, which lives to the end, out of garbage collection: each pass would go through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@pytest.fixture(autouse=True, scope="session")
def _ready_workers() -> Iterator[None]:
    """Fork the workers of campaigns from a process that has imported them, where ksmactors would start an interpreter:
    a process of pytest-xdist has several threads. `test_jobs` has tests of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_server, "started", ready_fork_server)
        yield


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Take out of the registries what a test has put there: plug-ins of files that are gone."""
    before = [(registry, {**registry}) for registry in (STRATEGIES, VARIANTS, WATCHERS)]
    yield
    for registry, content in before:
        if len(registry) != len(content):
            registry.clear()
            registry.update(content)
