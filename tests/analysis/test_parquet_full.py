"""Parquet files that cannot be written: the system's reason is given, not the words of DuckDB."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ksmactors.analysis.store import Answer, Logs, SqlError
from ksmactors.cli import main

WORDS = (
    'SQL: IO Error: Async write failed for range [offset=14225, size=4096]: {"exception_type":"IO",'
    '"exception_message":"Could not write file \\"p/events.unfinished\\": No space left on device","errno":"28"}'
)
"""What DuckDB says of a full disk."""


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is named, and why it is not written."""

    before = Logs.sql

    def refuse(logs: Logs, query: str, *values: object) -> Answer:
        if query.startswith("COPY"):
            raise SqlError(WORDS)
        return before(logs, query, *values)

    log = tmp_path / "log"
    assert main(["run", "exit_race", "--log", str(log), "--quiet"]) == 0
    monkeypatch.setattr(Logs, "sql", refuse)

    assert main(["analyze", str(log), "--parquet", str(tmp_path / "p")]) == 2

    said = capsys.readouterr().err.splitlines()[-1]
    full = os.strerror(errno.ENOSPC)
    assert said == f"ksmactors: --parquet {tmp_path / 'p'}: events.parquet cannot be written: {full}"
