"""Logs to ask questions of: written as the emulator writes them, by actors with a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ksmactors.events.check import validate_all
from ksmactors.events.logs import open_log

Told: TypeAlias = tuple[Any, ...]
"""(actor, code, then the event's fields)."""


class _Actor:
    def __init__(self, name: str) -> None:
        self.name, self.cpu, self.node = name, 1, 0


@pytest.fixture(scope="session")
def write_log(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes schedules, each a list of (actor, code, *fields), one event a step, and returns the log's path."""

    def write(*schedules: Sequence[Told], name: str = "log.ndjson", run: str = "r1") -> str:
        path = str(tmp_path_factory.mktemp("logs") / name)
        with open_log(path) as writer:
            for index, told in enumerate(schedules):
                names = list(dict.fromkeys(actor for actor, *_ in told))
                sink = writer.sink([_Actor(actor) for actor in names], run=run, seed=100 + index, schedule=index)
                records = [
                    (code, step, step * 1000, names.index(actor), *fields)
                    for step, (actor, code, *fields) in enumerate(told)
                ]
                validate_all(records)
                sink(records)
        return path

    return write


@pytest.fixture
def spoil(write_log: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Writes a file of bytes beside the logs, and returns its path."""

    def write(content: bytes, name: str = "spoilt.ndjson") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write
