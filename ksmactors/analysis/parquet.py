"""Logs as Parquet files: one for each view, for use with other tools."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from ksmactors.analysis.store import Logs
from ksmactors.analysis.views import VIEWS
from ksmactors.errors import UsageError

GROUPED: Final = frozenset({"actors", "schedules"})
"""Views without an order of their own; the others have that of the logs."""

PARTS: Final = ("events", *VIEWS)
"""The files that are written, each with `.parquet` behind it."""

FILES: Final = tuple(f"{part}.{end}" for part in PARTS for end in ("parquet", "unfinished"))
"""Their names, and those that they have until they are whole."""

_ERRNO: Final = re.compile(r'"errno":"(\d{1,4})"')
"""How DuckDB gives the number of an error of the system."""


def write_parquet(logs: Logs, directory: Path, *, force: bool = False) -> list[Path]:
    """Write every view to a file of its own in `directory`, which is made if need be; returns the files.

    The logs must have been opened with `unsafe`: no query reaches files otherwise. A file is whole or not there.

    Raises:
        UsageError: a file exists and `force` is not set, or cannot be written.
    """
    files = [directory / f"{part}.parquet" for part in PARTS]
    if not force and (there := [file for file in files if os.path.lexists(file)]):
        raise UsageError(f"--parquet {directory}: {there[0].name} exists; give --force to replace what is there")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for part, file in zip(PARTS, files, strict=True):
            unfinished = file.with_suffix(".unfinished")
            quoted = str(unfinished).replace("'", "''")
            # 64 bits without a sign: HUGEINT, as the views have it, would become a floating-point number
            order = "ORDER BY ALL" if part in GROUPED else ""
            try:
                logs.sql(
                    f"COPY (SELECT * REPLACE (seed::UBIGINT AS seed) FROM {part} {order}) "
                    f"TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
                )
            except UsageError as error:
                why = _refused(str(error)) or str(error)
                raise UsageError(f"--parquet {directory}: {file.name} cannot be written: {why}") from None
            unfinished.replace(file)
    except OSError as error:
        raise UsageError(f"--parquet {directory}: {error.strerror or error}") from None
    return files


def _refused(words: str) -> str:
    """Return why the system has refused to write, as it says so itself; nothing if DuckDB does not say what it was."""
    number = _ERRNO.search(words)
    return os.strerror(int(number[1])) if number is not None else ""
