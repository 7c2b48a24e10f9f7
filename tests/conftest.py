"""What all tests share: bytecode, a garbage collector that does not walk through them, and registries that forget."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from ksmactors.campaign import fork_server
from ksmactors.garbage import THRESHOLDS
from ksmactors.interleave.strategies.registry import STRATEGIES
from ksmactors.kernels import VARIANTS
from ksmactors.watch import WATCHERS
from tests.helpers.ready import ready_fork_server, share_server

HERE: Final = Path(__file__).parent

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Commands of tests are many interpreters, and each process of pytest-xdist imports all tests. Without bytecode each
would compile them again."""

gc.set_threshold(*THRESHOLDS)
"""From here on, since importing the tests makes many objects of which none is garbage. The process that hands tests out
to others keeps all their reports."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    """A shell without job control has it ignored in what it runs in the background, and so would all that we start."""

IN_MEMORY: Final = Path("/dev/shm")
ROOM_MIN: Final = 4 << 30
"""Bytes that must be free there. A run of all tests leaves about 100 MB, and pytest keeps those of three."""


def pytest_configure(config: pytest.Config) -> None:
    """Start what commands of all tests are forked from, and have the files of tests in memory where there is room: each
    store is synced and then deleted, which a disk takes milliseconds for. Programs must be allowed to run there."""
    if getattr(config.option, "numprocesses", None):  # the parent of processes of pytest-xdist
        share_server()
    if not IN_MEMORY.is_dir() or config.getoption("basetemp") is not None:
        return
    there = os.statvfs(IN_MEMORY)
    if there.f_bavail * there.f_frsize >= ROOM_MIN and not there.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Have Hypothesis draw no constants from our modules, which it parses for them.

    Their number depends on what else a process has imported, so tests that are to draw the same everywhere do not. It
    takes nearly two seconds of each process in a fresh clone.
    """
    if providers := sys.modules.get("hypothesis.internal.conjecture.providers"):
        providers._get_local_constants = lambda: providers._local_constants  # type: ignore[attr-defined]


def pytest_sessionstart() -> None:
    """Import tests from the other end in every second process of pytest-xdist.

    Where nothing is compiled yet, two processes that go the same way compile each module both, at the same time. So
    each compiles half of them, and reads what the other one has written.
    """
    if int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2 == 0:
        return
    for path in sorted(HERE.rglob("test_*.py"), reverse=True):
        with suppress(Exception, pytest.skip.Exception, pytest.fail.Exception):  # collecting will report it
            import_module(".".join(path.relative_to(HERE.parent).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """Leave what was collected, which lives to the end, out of garbage collection: each pass would go through it."""
    gc.collect()
    gc.freeze()


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
