"""Logs in DuckDB: one view, `events`, with a column for every field there is.

Columns: `file`, `line` (of the file, from 1), the keys that every line has, `level`, then each field of the
catalogue; a field that an event does not have is NULL. The database is a temporary file, since a table this wide
and this empty takes a hundred times the space in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import duckdb

from ksmactors.analysis.reading import LogFile, Loss, read_log
from ksmactors.errors import UsageError
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.logs import ALWAYS

_TYPES: Final = {"int": "BIGINT", "bool": "BOOLEAN", "str": "VARCHAR", "str|null": "VARCHAR"}
_TEXT: Final = ("event", "run", "actor", "level")

COLUMNS: Final[dict[str, str]] = {
    **{key: "VARCHAR" if key in _TEXT else "BIGINT" for key in ALWAYS},
    "seed": "HUGEINT",  # 64 bits without a sign
    **{field.name: _TYPES[field.type] for event in CATALOGUE for field in event.fields},
}


class SqlError(UsageError):
    """A query that DuckDB refuses, with DuckDB's message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's result: names of columns, and rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Logs:
    """Several logs at once, to be asked; a context manager.

    `files` says of each log what it holds, `losses` what could not be read.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.files: list[LogFile] = []
        self.losses: list[Loss] = []
        self._directory = TemporaryDirectory(prefix="ksmactors-")
        try:
            self._open(list(dict.fromkeys(paths)))
        except BaseException:
            self._directory.cleanup()
            raise

    def _open(self, paths: Sequence[str]) -> None:
        here = Path(self._directory.name)
        self._database = duckdb.connect(
            str(here / "events.duckdb"),
            config={"temp_directory": str(here), "autoinstall_known_extensions": "false"},
        )
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in COLUMNS.items())
        self.sql(f"CREATE TABLE lines (file VARCHAR, line BIGINT, {columns})")
        for number, path in enumerate(paths):
            clean = here / f"{number}.ndjson"  # never the path as given, which DuckDB would take for a pattern
            file, losses = read_log(path, clean)
            self.files.append(file)
            self.losses.extend(losses)
            if file.events:
                self._load(path, clean)
        self.sql("CREATE VIEW events AS SELECT * FROM lines WHERE event IS NOT NULL")

    def _load(self, path: str, clean: Path) -> None:
        types = ", ".join(f"\"{name}\": '{type_}'" for name, type_ in COLUMNS.items())
        self.sql(
            "INSERT INTO lines SELECT ?, row_number() OVER (), * FROM read_json(?, format = 'newline_delimited', "
            f"ignore_errors = true, columns = {{{types}}})",
            path, str(clean),
        )  # fmt: skip

    @property
    def events(self) -> int:
        """How many events there are."""
        return sum(file.events for file in self.files)

    def sql(self, query: str, *values: object) -> Answer:
        """Run SQL; SqlError, one line, if DuckDB refuses it. A query that answers nothing has no columns."""
        try:
            result: Any = self._database.execute(query, list(values))
            if result is None or not result.description:
                return Answer([], [])
            return Answer([column[0] for column in result.description], result.fetchall())
        except duckdb.Error as error:
            raise SqlError(f"SQL: {_one_line(str(error))}") from error

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of `sql`."""
        return self.sql(query, *values).rows

    def close(self) -> None:
        """Forget everything."""
        self._database.close()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _one_line(message: str) -> str:
    """DuckDB's message without the drawing of where in the query it is."""
    return " ".join(message.partition("\n\nLINE ")[0].split())
