"""Logs in DuckDB: one view, `events`, with a column for every field, or for those that are asked for.

Columns: `file`, `line` (of the file, from 1), the keys that every line has, `level`, then each field of the catalogue;
a field that an event does not have is NULL. The database is a temporary file, since such a wide and sparse table takes
a hundred times the space in memory.

Once the logs are loaded, no query can access another file, the network or DuckDB's settings, unless `unsafe` is set.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import duckdb

from ksmactors.analysis.reading import LINE_MAX, EventSource, LogFile, LogReader, Loss, know_fields
from ksmactors.analysis.views import VIEWS
from ksmactors.errors import UsageError
from ksmactors.escaping import escaped
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.declared import PluginEvent
from ksmactors.events.logs import ALWAYS

_TYPES: Final = {"int": "BIGINT", "bool": "BOOLEAN", "str": "VARCHAR", "str|null": "VARCHAR"}
_TEXT: Final = ("event", "run", "timestamp", "actor", "level")

COLUMNS: Final[dict[str, str]] = {
    **{key: "VARCHAR" if key in _TEXT else "BIGINT" for key in ALWAYS},
    "seed": "HUGEINT",  # 64 bits without a sign
    **{field.name: _TYPES[field.type] for event in CATALOGUE for field in event.fields},
}


CHUNK: Final = 32 << 20
"""Bytes of events that are handed to DuckDB at once."""

ROOM_MIN: Final = 256 << 20
"""Bytes left free on the file system of the temporary database: no log may fill the disk."""

MEMORY: Final = "1GB"
"""DuckDB's memory limit; beyond it DuckDB uses the temporary directory."""

STOP_SECONDS: Final = 0.05
"""Seconds between two requests to DuckDB to stop."""

BLOCK: Final = 1_000
"""Rows of an answer that are in memory at once."""

Line: TypeAlias = dict[str, Any]
"""An event as its line in the log has it, with `file` and the number of the `line`."""

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Gets a path, how many bytes of it were read, and how many it has; None if that is not known."""

_FIELDS: Final = {event.name: [field.name for field in event.fields] for event in CATALOGUE}


def know_events(events: Collection[PluginEvent]) -> None:
    """Have the fields of plug-ins' events read, as those of the catalogue are: each a column of the table `events`."""
    know_fields([field for event in events for field in event.fields])
    for event in events:
        _FIELDS[event.name] = [field.name for field in event.fields]
        COLUMNS.update({field.name: _TYPES[field.type] for field in event.fields})


_WORD: Final = re.compile(r"\w+")

T = TypeVar("T")


class SqlError(UsageError):
    """A query that DuckDB refuses, with DuckDB's message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's result: names of columns, and rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A query's result as it is computed: names of columns, and blocks of rows; to be read once."""

    columns: list[str]
    blocks: Iterator[list[tuple[Any, ...]]]


class Logs:
    """Several logs at once, for queries; a context manager.

    `files` describes each log, `losses` what could not be read.

    Args:
        paths: the logs; duplicates are read once.
        unsafe: queries may read and write files, load extensions and use the network.
        reader: opens a log.
        progress: called while logs are read.
        columns: of COLUMNS, what queries will ask; loading takes half the time with a third of them. Views that have
            others are not there.

    Raises:
        UsageError: there is no room for the temporary database.
    """

    def __init__(
        self, paths: Iterable[str], *, unsafe: bool = False, columns: Collection[str] = COLUMNS,
        progress: Progress | None = None, reader: Callable[[str], EventSource] = LogReader,
    ) -> None:  # fmt: skip
        self._reader, self._progress = reader, progress
        self._columns = {name: type_ for name, type_ in COLUMNS.items() if name in columns}
        self.files: list[LogFile] = []
        self.losses: list[Loss] = []
        try:
            self._directory = TemporaryDirectory(
                prefix="ksmactors-", dir=_temporary_place(), ignore_cleanup_errors=True
            )
        except OSError as error:
            raise UsageError(f"no directory for temporary files ({error.strerror}); name one with TMPDIR") from None
        self._closing = ExitStack()
        self._closing.callback(self._directory.cleanup)
        try:
            self._open(list(dict.fromkeys(paths)))
            if not unsafe:
                self.protect()
        except BaseException:
            self.close()
            raise

    def _open(self, paths: Sequence[str]) -> None:
        here = self._directory.name
        self._database = duckdb.connect(
            f"{here}/events.duckdb",
            config={"temp_directory": here, "autoinstall_known_extensions": "false", "memory_limit": MEMORY},
        )
        self._closing.callback(self._database.close)
        self._worker = ThreadPoolExecutor(1)
        self._closing.callback(self._stop)
        with suppress(duckdb.Error):  # older versions have no such cache, which knows files by name and time
            self._database.execute("SET enable_external_file_cache = false")
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in self._columns.items())
        self.sql(f"CREATE TABLE lines (file VARCHAR, line BIGINT, {columns})")
        self.sql("CREATE VIEW events AS SELECT * FROM lines")
        for name, query in VIEWS.items():
            if COLUMNS.keys() & _WORD.findall(query) <= self._columns.keys():
                self.sql(f"CREATE VIEW {name} AS {query}")
        self._load_all(paths)

    def _load_all(self, paths: Sequence[str]) -> None:
        """Load the logs in one transaction, on one thread, and without a checkpoint, now or when it is closed:
        else DuckDB writes much twice.

        The other core reads and checks the next lines meanwhile.
        """
        self.sql("SET checkpoint_threshold = '1TB'")
        self.sql("PRAGMA disable_checkpoint_on_shutdown")
        self.sql("SET threads = 1")
        self.sql("BEGIN")
        for path in paths:
            self._read(path)
        self.sql("COMMIT")
        self.sql("RESET threads")

    def protect(self) -> None:
        """From now on no query can access a file, the network or DuckDB's settings."""
        self.sql("SET enable_external_access = false")
        self.sql("SET lock_configuration = true")

    def _read(self, path: str) -> None:
        """Load a log; while DuckDB takes in one chunk of it, the next one is read."""
        reader = self._reader(path)
        chunk, loading = bytearray(), self._worker.submit(lambda: None)
        for block in reader.blocks():
            chunk += block
            if self._progress is not None:
                self._progress(path, reader.consumed, reader.size)
            if len(chunk) > CHUNK:
                self._await(loading)
                loading, chunk = self._worker.submit(self._load, path, chunk), bytearray()
        self._await(loading)
        if chunk:
            self._await(self._worker.submit(self._load, path, chunk))
        file, losses = reader.result()
        self.files.append(file)
        self.losses.extend(losses)

    def _load(self, path: str, chunk: bytearray) -> None:
        """Add events to the table through a file in memory, whose name is never taken for a glob pattern."""
        if shutil.disk_usage(self._directory.name).free < ROOM_MIN:
            raise UsageError(
                f"{path}: no room for its events in {self._directory.name}; name a larger place with TMPDIR"
            )
        types = ", ".join(f"\"{name}\": '{type_}'" for name, type_ in {"line": "BIGINT", **self._columns}.items())
        fd = os.memfd_create("events", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(chunk)
            self._database.execute(
                f"INSERT INTO lines SELECT ?, * FROM read_json(?, format = 'newline_delimited', columns = {{{types}}}, "
                f"maximum_object_size = {2 * LINE_MAX})",
                [escaped(path), f"/proc/self/fd/{fd}"],
            )
        finally:
            os.close(fd)

    @property
    def events(self) -> int:
        """Return the number of events."""
        return sum(file.events for file in self.files)

    def sql(self, query: str, *values: object) -> Answer:
        """Run SQL; SqlError, one line, if DuckDB refuses it. A statement without a result has no columns."""
        stream = self.stream(query, *values)
        return Answer(stream.columns, [row for block in stream.blocks for row in block])

    def stream(self, query: str, *values: object) -> Stream:
        """Like `sql`, but returns the rows in blocks, never all in memory at once."""
        result: Any = self._interruptible(lambda: self._database.execute(query, list(values)))
        if result is None or not result.description:
            return Stream([], iter(()))
        return Stream([column[0] for column in result.description], self._blocks(result))

    def _blocks(self, result: Any) -> Iterator[list[tuple[Any, ...]]]:
        while rows := self._interruptible(lambda: result.fetchmany(BLOCK)):
            yield rows

    def lines(self, condition: str = "true", *values: object) -> Iterator[Line]:
        """The events for which a condition holds, in the order of the logs, as their lines in the log have them."""
        stream = self.stream(f"SELECT * FROM events WHERE {condition}", *values)
        for block in stream.blocks:
            for values_ in block:
                row = dict(zip(stream.columns, values_, strict=True))
                yield {key: row[key] for key in ("file", "line", *ALWAYS, *_FIELDS.get(row["event"], ()))}

    def _interruptible(self, work: Callable[[], T]) -> T:
        """Run DuckDB in a thread of its own, since it does not check for Ctrl-C.

        Raises:
            SqlError: DuckDB refuses, in its words.
        """
        return self._await(self._worker.submit(work))

    @staticmethod
    def _await(work: Future[T]) -> T:
        """What DuckDB's thread has done.

        Raises:
            SqlError: DuckDB refuses, in its words.
        """
        try:
            return work.result()
        except (duckdb.Error, UnicodeError, OverflowError, ValueError) as error:
            raise SqlError(f"SQL: {_one_line(str(error))}") from error

    def _stop(self) -> None:
        """End DuckDB's current work and the thread; a further Ctrl-C is ignored."""
        last = self._worker.submit(lambda: None)
        while not last.done():
            with suppress(KeyboardInterrupt):
                self._database.interrupt()
                wait([last], STOP_SECONDS)
        self._worker.shutdown()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of `sql`."""
        return self.sql(query, *values).rows

    def close(self) -> None:
        """Delete the database."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _temporary_place() -> str:
    """Return the directory for temporary files, without a question mark in its path, which DuckDB misreads."""
    places = [tempfile.gettempdir(), "/var/tmp", "/tmp"]
    return next((place for place in places if "?" not in place and os.access(place, os.W_OK)), places[0])


def _one_line(message: str) -> str:
    """Return DuckDB's message without its drawing of the position in the query."""
    return escaped(" ".join(message.partition("\n\nLINE ")[0].split()))
