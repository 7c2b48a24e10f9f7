"""The rows of a store as tables of DuckDB, for SQL and for Parquet files.

`schedules` has a row for each schedule: seed, workload, strategy, verdict, signature (of what it found, else NULL),
digest and shape (in hexadecimal), steps, choices, seconds, marks (JSON). `findings` has a row for each defect that was
found first by that seed: seed, signature, workload, message, schedule (the string that replays it).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import orjson

from ksmactors.analysis.store import Logs
from ksmactors.campaign.blocks import DIGEST, VERDICTS
from ksmactors.campaign.dealing import StoredDeal
from ksmactors.campaign.merging import shape_of
from ksmactors.campaign.store import CampaignStore
from ksmactors.errors import UsageError

TABLES: Final = {
    "schedules": {
        "seed": "BIGINT", "workload": "VARCHAR", "strategy": "VARCHAR", "verdict": "VARCHAR", "signature": "VARCHAR",
        "digest": "VARCHAR", "shape": "VARCHAR", "steps": "BIGINT", "choices": "BIGINT", "seconds": "DOUBLE",
        "marks": "VARCHAR",
    },
    "findings": {
        "seed": "BIGINT", "signature": "VARCHAR", "workload": "VARCHAR", "message": "VARCHAR", "schedule": "VARCHAR",
    },
}  # fmt: skip
"""The tables, with their columns and types."""

FILES: Final = tuple(f"{name}.{end}" for name in TABLES for end in ("parquet", "unfinished"))
"""The files that `write_tables` writes, those included that are renamed when they are whole."""

VALUE_MAX: Final = 128 << 20
"""Bytes of a row."""


@contextmanager
def tables_of(store: CampaignStore, *, unsafe: bool = False) -> Iterator[Logs]:
    """Load a store into a temporary database of DuckDB; `unsafe` is as for Logs.

    Raises:
        ScheduleFormatError: the store is damaged.
        UsageError: there is no room for temporary files.
    """
    with Logs((), unsafe=True) as database:
        for name, columns in TABLES.items():
            database.sql(f"DROP VIEW IF EXISTS {name}")  # that of logs
            with TemporaryFile() as lines:
                try:
                    lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in _ROWS[name](store))
                    lines.flush()
                except OSError as error:
                    why = f"temporary files cannot be written ({error.strerror})"
                    raise UsageError(f"{why}; name a directory with TMPDIR") from None
                database.sql(
                    f"CREATE TABLE {name} AS SELECT * FROM read_json(?, format = 'newline_delimited', "
                    f"columns = {columns}, maximum_object_size = {VALUE_MAX})",
                    f"/proc/self/fd/{lines.fileno()}",
                )
        if not unsafe:
            database.protect()
        yield database


def write_tables(store: CampaignStore, directory: Path, *, force: bool = False) -> list[Path]:
    """Write each table as a Parquet file into `directory`, which is made if need be; returns the files.

    Raises:
        UsageError: a file exists and `force` is not set, or cannot be written.
        ScheduleFormatError: the store is damaged.
    """
    files = [directory / f"{name}.parquet" for name in TABLES]
    if not force and (there := [file for file in files if os.path.lexists(file)]):
        raise UsageError(f"--export {directory}: {there[0].name} exists; give --force to replace what is there")
    with tables_of(store, unsafe=True) as database:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, file in zip(TABLES, files, strict=True):
                unfinished = file.with_suffix(".unfinished")
                quoted = str(unfinished).replace("'", "''")
                database.sql(f"COPY (SELECT * FROM {name} ORDER BY seed) TO '{quoted}' (FORMAT parquet)")
                unfinished.replace(file)
        except OSError as error:
            raise UsageError(f"--export {directory}: {error.strerror or error}") from None
    return files


def _schedules(store: CampaignStore) -> Iterator[dict[str, Any]]:
    of = store.about()["identity"]
    with store.guarded():
        deal = StoredDeal.of(of)
    found = {seed: signature for seed, signature, _, _ in store.findings()}
    for block, _ in store.blocks():
        marks: list[dict[str, int]] = [{} for _ in block.seeds]
        for (_, name), passed in block.marks.items():
            for place, count in passed:
                marks[place][name] = count
        with store.guarded():
            arms = deal.arms(block)
        for place, seed in enumerate(block.seeds):
            yield {
                "seed": seed,
                "workload": arms[place][0],
                "strategy": arms[place][1],
                "verdict": VERDICTS[block.verdicts[place]].value,
                "signature": found.get(seed),
                "digest": block.digests[place * DIGEST : (place + 1) * DIGEST].hex(),
                "shape": shape_of(block, place).hex(),
                "steps": block.steps[place],
                "choices": block.choices[place],
                "seconds": block.micros[place] / 1_000_000,
                "marks": orjson.dumps(marks[place]).decode(),
            }


def _findings(store: CampaignStore) -> Iterator[dict[str, Any]]:
    for seed, signature, found, _ in store.findings():
        if found is not None and found.outcome.defect is not None:
            yield {
                "seed": seed,
                "signature": signature,
                "workload": found.outcome.workload,
                "message": found.outcome.defect.message,
                "schedule": found.outcome.schedule,
            }


_ROWS: Final[dict[str, Callable[[CampaignStore], Iterator[dict[str, Any]]]]] = {
    "schedules": _schedules,
    "findings": _findings,
}
