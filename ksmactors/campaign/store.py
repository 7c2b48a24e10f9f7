"""The store of a campaign: an SQLite file in which blocks are kept as they finish.

A store has no code, and none is run when it is read. It may come from somebody else: its tables must be ours to the
letter, and each row has a checksum. What is in it survives a kill at any moment, since a block is one transaction.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import quote

import orjson

from ksmactors.campaign.blocks import Block
from ksmactors.campaign.finding_records import found_of, record_of
from ksmactors.campaign.identity import refuse_another
from ksmactors.campaign.rows import BlockRow, as_json, as_utf8, block_of, checksum, row_of
from ksmactors.campaign.summary import Found, counted
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.files import read_start
from ksmactors.run.outcome import Outcome

FILE: Final = "campaign.sqlite"
"""The name of a store in its directory."""

LOCK: Final = ".campaign.lock"
"""A file beside it that is locked while a campaign writes."""

FORMAT: Final = 1
"""Version of the tables; a reader refuses another one."""

APPLICATION: Final = 0x4B534D41
"""SQLite's application id of a store."""

VALUE_MAX: Final = 64 << 20
"""Bytes of a value in a table."""

OPERATIONS_MAX: Final = 1_000
"""Millions of operations of SQLite's machine that reading a store may take."""

_TABLES: Final = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE asked (first INTEGER NOT NULL, last INTEGER NOT NULL, at REAL NOT NULL)",
    (
        "CREATE TABLE blocks (first INTEGER PRIMARY KEY, schedules INTEGER NOT NULL, at REAL NOT NULL, "
        "verdicts BLOB NOT NULL, digests BLOB NOT NULL, shapes BLOB NOT NULL, sums TEXT NOT NULL, rows TEXT NOT NULL, "
        "checksum BLOB NOT NULL)"
    ),
    (
        "CREATE TABLE findings (seed INTEGER PRIMARY KEY, signature TEXT NOT NULL, verdict TEXT NOT NULL, "
        "record TEXT, at REAL NOT NULL, checksum BLOB NOT NULL)"
    ),
)
"""The tables, word for word: SQLite keeps this text."""

_COLUMNS: Final = "first, schedules, verdicts, digests, shapes, sums, rows, checksum"


class Store:
    """An open store. Made by `open_to_write` or `open_to_read`.

    Attributes:
        problem: why nothing is written any more; empty while all is well.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._db = connection

    # -- writing ------------------------------------------------------------------------------------------------------

    def ask(self, seeds: range) -> None:
        """Note which seeds a campaign is to run."""
        self._write(lambda: self._db.execute("INSERT INTO asked VALUES (?, ?, ?)", (seeds.start, seeds[-1], time())))

    def write(self, block: Block, outcomes: Sequence[Outcome]) -> None:
        """Keep a block, with the outcomes of its schedules; it replaces one with the same seeds."""
        self._write(lambda: self._insert(row_of(block), outcomes))

    def crashed(self, outcome: Outcome) -> None:
        """Keep a schedule in which code raised; its seed counts as not done."""
        self._write(lambda: self._insert_finding(outcome))

    def _write(self, change: Callable[[], object]) -> None:
        """Make a change in one transaction. If it fails, nothing is written any more, and the campaign goes on."""
        if self.problem:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            change()
            self._db.execute("COMMIT")
        except UsageError:
            self._db.execute("ROLLBACK")
            raise
        except (sqlite3.Error, OverflowError) as error:
            self.problem = f"{self.path}: cannot be written ({error}); the campaign goes on without it"
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    def _insert(self, row: BlockRow, outcomes: Sequence[Outcome]) -> None:
        self._db.execute("DELETE FROM findings WHERE seed BETWEEN ? AND ?", (row.first, row.first + row.schedules - 1))
        self._insert_row(row, time())
        for outcome in outcomes:
            if outcome.defect is not None:
                self._insert_finding(outcome)

    def _insert_row(self, row: BlockRow, at: float) -> None:
        self._db.execute(
            f"INSERT OR REPLACE INTO blocks (at, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (at, *row),
        )

    def _insert_finding(self, outcome: Outcome) -> None:
        defect = outcome.defect
        assert defect is not None
        first = bool(outcome.schedule) or not defect.actors  # else it is known, but for that of a worker that died
        record = as_json(record_of(Found(outcome))) if first else None
        signature = as_utf8(defect.signature)
        self._db.execute(
            "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)",
            (outcome.seed, signature, outcome.verdict.value, record, time(),
             checksum(outcome.seed, signature, outcome.verdict.value, record or "")),
        )  # fmt: skip

    # -- reading ------------------------------------------------------------------------------------------------------

    def stored(self) -> dict[int, int]:
        """The blocks there are: the first seed of each, and the seed after its last."""
        blocks: dict[int, int] = {}
        before = 0
        for first, count in self._rows("SELECT first, schedules FROM blocks ORDER BY first"):
            if not (counted(first) >= before and counted(count) > 0 and first + count <= 1 << 63):
                raise self.damaged(f"the block {str(first)[:20]} overlaps another one, or has no schedules")
            before = blocks[first] = first + count
        return blocks

    def read(self, first: int) -> tuple[Block, dict[int, tuple[str, Found | None]]]:
        """The block that begins with a seed, and what it found: signatures by seed, with what was found first."""
        (row,) = self._rows(f"SELECT {_COLUMNS} FROM blocks WHERE first = ?", first)
        with self.guarded():
            block = block_of(BlockRow(*row))
        last = block.seeds[-1]
        found = self._found("WHERE seed BETWEEN ? AND ? ORDER BY seed", first, last)
        return block, {seed: (signature, one) for seed, (signature, one, _) in found.items()}

    def blocks(self) -> Iterator[tuple[Block, float]]:
        """All blocks in order of seeds, each with the time at which it was done."""
        before = 0
        for at, *row in self._rows(f"SELECT at, {_COLUMNS} FROM blocks ORDER BY first"):
            with self.guarded():
                block = block_of(BlockRow(*row))
                if block.seeds.start < before:
                    raise ValueError(f"the block {block.seeds.start} overlaps another one")
                before = block.seeds.stop
                moment = float(at)
            yield block, moment

    def findings(self) -> Iterator[tuple[int, str, Found | None, float]]:
        """All that was found, in order of seeds: seed, signature, what was found if it was the first, and when."""
        for seed, row in self._found("ORDER BY seed").items():
            yield seed, *row

    def asked(self) -> list[range]:
        """The seeds that campaigns were to run, in the order in which they were asked for."""
        rows = self._rows("SELECT first, last FROM asked ORDER BY rowid")
        with self.guarded():
            return [range(counted(first), counted(last) + 1) for first, last in rows]

    def about(self) -> dict[str, Any]:
        """What the store is of: `identity`, `made` and `begun`."""
        with self.guarded():
            about = {name: orjson.loads(value) for name, value in self._rows("SELECT name, value FROM about")}
            if not isinstance(about["identity"], dict) or not isinstance(about["made"], dict):
                raise ValueError("it does not say what it is of")
        return about

    def copy(self, other: Store) -> None:
        """Add all rows of another store, whose seeds must be others.

        Raises:
            UsageError: this one cannot be written.
            ScheduleFormatError: the other is damaged.
        """
        asked = other._rows("SELECT * FROM asked ORDER BY rowid")
        rows = (row for row in other._rows(f"SELECT at, {_COLUMNS} FROM blocks ORDER BY first"))
        findings = other._rows("SELECT * FROM findings")
        self._write(lambda: self._copy(other, asked, rows, findings))
        if self.problem:
            raise UsageError(self.problem.partition("; ")[0])

    def _copy(
        self, other: Store, asked: Iterator[Any], rows: Iterator[Any], findings: Iterator[tuple[Any, ...]]
    ) -> None:
        self._db.executemany("INSERT INTO asked VALUES (?, ?, ?)", asked)
        for at, *row in rows:
            with other.guarded():
                block_of(BlockRow(*row))
                moment = float(at)
            self._insert_row(BlockRow(*row), moment)
        self._db.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)", findings)

    def _found(self, where: str, *values: int) -> dict[int, tuple[str, Found | None, float]]:
        found = {}
        columns = "seed, signature, verdict, record, at, checksum"
        rows = self._rows(f"SELECT {columns} FROM findings {where}", *values)
        for seed, signature, verdict, record, at, check in rows:
            with self.guarded():
                if checksum(seed, signature, verdict, record or "") != check:
                    raise ValueError(f"the finding of seed {seed} was changed")
                one = found_of(orjson.loads(record)) if record is not None else None
                found[counted(seed)] = str(signature), one, float(at)
        return found

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with self.guarded():
            yield from self._db.execute(query, values)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            raise self.damaged(str(error)) from None
        except (sqlite3.Error, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self.damaged(str(error) or type(error).__name__) from None

    def damaged(self, why: str) -> ScheduleFormatError:
        """The error that says that the store cannot be read, and why."""
        return ScheduleFormatError(f"{self.path}: is no store of a campaign, or is damaged: {why[:200]}")


@contextmanager
def open_to_read(directory: Path) -> Iterator[Store]:
    """Open the store in a directory, also while a campaign writes there.

    Raises:
        UsageError: there is none.
        ScheduleFormatError: it is none, is damaged, or is of another version.
    """
    path = _file_in(directory)
    if path is None:
        raise UsageError(f"{directory}: there is no store of a campaign ({FILE}); give the --out of a campaign")
    read_start(path, 1, "store")  # a regular file that can be read
    with _opened(path, "ro") as store:
        _check_tables(store)
        yield store


@contextmanager
def open_to_write(
    directory: Path,
    identity: Mapping[str, Any],
    made: Mapping[str, Any],
    *,
    begun: float | None = None,
    replace: bool = False,
) -> Iterator[Store]:
    """Open the store in a directory, or make one; nobody else may write there meanwhile.

    Args:
        directory: it exists.
        identity: what the campaign is of (`campaign.identity`).
        made: what a new store says beside that (`made_with`).
        begun: when a new one was begun, in seconds since 1970; None: now.
        replace: whether a store of another campaign is replaced.

    Raises:
        UsageError: another campaign writes there, the store there is of another one, or it cannot be made.
        ScheduleFormatError: the store there is none, is damaged, or is of another version.
    """
    with _locked(directory):
        path = directory / FILE
        if os.path.lexists(path):
            read_start(path, 1, "store")
        elif any(os.path.lexists(f"{path}{end}") for end in ("-wal", "-shm", "-journal")):
            raise UsageError(f"--out {directory}: has parts of a store whose {FILE} is gone; give another --out")
        if replace and path.exists() and not _is_of(path, identity):
            remove(directory)
        _create(path, directory)
        with _opened(path, "rw") as store:
            _make_or_check(store, {"identity": identity, "made": made, "begun": begun or time()}, directory)
            try:
                yield store
            finally:  # a single file again, which can be read in a read-only directory, unless somebody is reading
                with suppress(sqlite3.Error):
                    store._db.execute("PRAGMA journal_mode = DELETE")


def remove(directory: Path) -> None:
    """Delete the store in a directory."""
    for end in ("", "-wal", "-shm"):
        (directory / f"{FILE}{end}").unlink(missing_ok=True)


def has_store(directory: Path) -> bool:
    """Whether there is a store in a directory."""
    return _file_in(directory) is not None


def _file_in(directory: Path) -> Path | None:
    path = directory / FILE
    try:
        return path if os.path.lexists(path) else None
    except ValueError:  # a NUL in the name
        return None


def _is_of(path: Path, identity: Mapping[str, Any]) -> bool:
    try:
        with _opened(path, "ro") as store:
            _check_tables(store)
            return bool(store.about()["identity"] == identity)
    except UsageError:
        return False


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    path = directory / LOCK
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"--out {directory}: {path} cannot be opened ({error.strerror})") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUse(f"--out {directory}: another campaign writes there; wait, or give another --out") from None
        except OSError as error:
            raise UsageError(f"--out {directory}: {path} cannot be locked ({error.strerror})") from None
        yield
    finally:
        os.close(lock)


class StoreInUse(UsageError):
    """Another campaign writes to the same store."""


def _create(path: Path, directory: Path) -> None:
    """Make an empty file, only its owner's to read, if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UsageError(f"--out {directory}: {path.name} cannot be written ({error.strerror})") from None


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[Store]:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    try:
        db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
    except sqlite3.Error as error:
        raise UsageError(f"store {path}: cannot be opened ({error})") from None
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_MAX)
        if mode == "ro":
            done = iter(range(OPERATIONS_MAX))
            db.set_progress_handler(lambda: next(done, None) is None, 1_000_000)
        yield Store(db, path)
    finally:
        with suppress(sqlite3.Error):
            db.close()


def _make_or_check(store: Store, about: Mapping[str, Any], directory: Path) -> None:
    db = store._db
    try:
        new = db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if new:
            _make(db, about)
    except sqlite3.Error as error:
        reason = "is no store of a campaign, or cannot be written"
        raise UsageError(f"--out {directory}: {store.path.name} {reason} ({error}); give another --out") from None
    if not new:
        _check_tables(store)
        if [problem for (problem,) in store._rows("PRAGMA quick_check(1)")] != ["ok"]:
            raise store.damaged("SQLite finds its pages damaged")
        advice = "ask for the same, or give another --out"
        refuse_another(about["identity"], store.about()["identity"], f"--out {directory}", advice)


def _make(db: sqlite3.Connection, about: Mapping[str, Any]) -> None:
    db.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        db.execute(table)
    db.executemany("INSERT INTO about VALUES (?, ?)", [(name, as_json(v)) for name, v in about.items()])
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")


def _check_tables(store: Store) -> None:
    """Refuse a file that has not exactly the tables of a store.

    Raises:
        ScheduleFormatError: it is of another version, or no store.
    """
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
        list(store._rows(f"PRAGMA {pragma}"))
    ((application,),) = store._rows("PRAGMA application_id")
    if application != APPLICATION:
        raise store.damaged("SQLite's application id is another one")
    ((version,),) = store._rows("PRAGMA user_version")
    if version != FORMAT:
        raise ScheduleFormatError(f"{store.path}: is a store in format {version}, this version reads {FORMAT}")
    tables = [sql for (sql,) in store._rows("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]
    if tables != list(_TABLES):
        raise store.damaged("its tables are others")
