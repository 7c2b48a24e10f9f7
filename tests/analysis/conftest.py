"""Logs to ask questions of: written as the emulator writes them, by actors with a script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ksmactors.analysis import store
from ksmactors.analysis.reading import LogReader
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


Kept: TypeAlias = dict[object, store.Logs]


class _Shared(store.Logs):
    """Logs that stay open when a command closes them."""

    def __exit__(self, *_: object) -> None:
        """Leave them to the next command that asks the same logs."""


@pytest.fixture
def kept_logs(_kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Load the same logs once for all commands of a module: opening a database takes longer than most answers."""

    def load(paths: Iterable[str], *, reader: Any = LogReader, **options: Any) -> store.Logs:
        paths = tuple(paths)
        if reader is not LogReader or not all(map(os.path.isfile, paths)):
            return store_logs(paths, reader=reader, **options)
        options.pop("progress", None)
        written = [Path(path).stat().st_mtime_ns for path in paths]
        key = (paths, *written, *sorted((name, str(value)) for name, value in options.items()))
        if key not in _kept:
            _kept[key] = _Shared(paths, **options)
        return _kept[key]

    store_logs = store.Logs
    monkeypatch.setattr(store, "Logs", load)
    return _kept


@pytest.fixture(scope="module")
def _kept() -> Iterator[Kept]:
    kept: Kept = {}
    with ExitStack() as closing:
        closing.callback(lambda: [logs.close() for logs in kept.values()])
        yield kept


@pytest.fixture
def spoil(write_log: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Writes a file of bytes beside the logs, and returns its path."""

    def write(content: bytes, name: str = "spoilt.ndjson") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write
