"""The file of a store: opened, made and locked. It may come from somebody else, so its tables must be ours."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import quote

from ksmactors.campaign.damage import cut_off
from ksmactors.campaign.identity import refuse_another
from ksmactors.campaign.rows import as_json
from ksmactors.campaign.store import CampaignStore
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.files import read_start

FILE: Final = "campaign.sqlite"
"""The name of a store in its directory."""

LOCK: Final = ".campaign.lock"
"""A file beside it that is locked while a campaign writes."""

FORMAT: Final = 1
"""Version of the tables; a reader refuses another one."""

APPLICATION: Final = 0x4B534D41
"""SQLite's application id of a store."""

_MAGIC: Final = b"SQLite format 3\0"

VALUE_MAX: Final = 64 << 20
"""Bytes of a value in a table."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_MAX,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 10_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 16,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
"""What SQLite may do with a store."""

_TABLES: Final = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE asked (first INTEGER NOT NULL, last INTEGER NOT NULL, at REAL NOT NULL, checksum BLOB NOT NULL)",
    (
        "CREATE TABLE blocks (first INTEGER PRIMARY KEY, schedules INTEGER NOT NULL, at REAL NOT NULL, "
        "verdicts BLOB NOT NULL, digests BLOB NOT NULL, shapes BLOB NOT NULL, sums BLOB NOT NULL, rows BLOB NOT NULL, "
        "checksum BLOB NOT NULL)"
    ),
    (
        "CREATE TABLE findings (seed INTEGER PRIMARY KEY, signature TEXT NOT NULL, verdict TEXT NOT NULL, "
        "record TEXT, at REAL NOT NULL, checksum BLOB NOT NULL)"
    ),
)
"""The tables, word for word: SQLite keeps this text."""


@contextmanager
def open_to_read(directory: Path) -> Iterator[CampaignStore]:
    """Open the store in a directory, also while a campaign writes there.

    Raises:
        UsageError: there is none.
        ScheduleFormatError: it is none, is damaged, or is of another version.
    """
    path = _file_in(directory)
    if path is None:
        raise UsageError(f"{directory}: there is no store of a campaign ({FILE}); give the --out of a campaign")
    _check_start(path)
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
    set_aside: Callable[[Path], None] | None = None,
) -> Iterator[CampaignStore]:
    """Open the store in a directory, or make one; nobody else may write there meanwhile.

    Args:
        directory: it exists.
        identity: what the campaign is of (`campaign.identity`).
        made: what a new store says beside that (`made_with`).
        begun: when a new one was begun, in seconds since 1970; None: now.
        replace: whether a store of another campaign is replaced.
        set_aside: a store of another campaign gets another name, which this is called with; None: it is refused.

    Raises:
        UsageError: another campaign writes there, the store there is of another one, or it cannot be made.
        ScheduleFormatError: the store there is none, is damaged, or is of another version.
    """
    with _locked(directory):
        path = directory / FILE
        if os.path.lexists(path):
            _check_start(path)
        elif any(os.path.lexists(f"{path}{end}") for end in ("-wal", "-shm", "-journal")):
            raise UsageError(f"--out {directory}: has parts of a store whose {FILE} is gone; give another --out")
        if replace and path.exists() and not _is_of(path, identity):
            remove(directory)
        elif set_aside is not None and path.exists() and not _is_of(path, identity):
            set_aside(_move_aside(path, directory))
        _create(path, directory)
        with _opened(path, "rw") as store:
            _make_or_check(store, {"identity": identity, "made": made, "begun": begun or time()}, directory)
            try:
                yield store
            finally:  # a single file again, which can be read in a read-only directory, unless somebody is reading
                with suppress(sqlite3.Error):
                    store.database.execute("PRAGMA journal_mode = DELETE")


def remove(directory: Path) -> None:
    """Delete the store in a directory."""
    for end in ("", "-wal", "-shm"):
        (directory / f"{FILE}{end}").unlink(missing_ok=True)


def _move_aside(path: Path, directory: Path) -> Path:
    """Give a store the first free name with a number; return it. It is a single file then, if it is sound."""
    with suppress(UsageError, sqlite3.Error), _opened(path, "rw") as store:
        _check_tables(store)
        store.database.execute("PRAGMA journal_mode = DELETE")
    number = next(number for number in count(1) if not os.path.lexists(path.with_name(f"{path.stem}.{number}.sqlite")))
    aside = path.with_name(f"{path.stem}.{number}.sqlite")
    try:
        for end in ("-wal", "-shm", ""):
            if os.path.lexists(f"{path}{end}"):
                Path(f"{path}{end}").rename(f"{aside}{end}")
    except OSError as error:
        raise UsageError(f"--out {directory}: {path.name} cannot be renamed ({error.strerror})") from None
    return aside


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


def _check_start(path: Path) -> None:
    """Refuse what is no regular file, or begins as no database does. An empty one is a store that was just made.

    Raises:
        UsageError: it is no regular file, or cannot be read.
        ScheduleFormatError: it is no database.
    """
    if read_start(path, len(_MAGIC), "store") not in (b"", _MAGIC):
        raise ScheduleFormatError(f"{path}: is no store of a campaign (no SQLite file)")


def _create(path: Path, directory: Path) -> None:
    """Make an empty file, only its owner's to read, if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UsageError(f"--out {directory}: {path.name} cannot be written ({error.strerror})") from None


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[CampaignStore]:
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    try:
        db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
    except sqlite3.Error as error:
        raise UsageError(f"store {path}: cannot be opened ({error})") from None
    try:
        for limit, most in _LIMITS.items():
            db.setlimit(limit, most)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", f"query_only = {int(mode == 'ro')}"):
            db.execute(f"PRAGMA {pragma}")
        yield CampaignStore(db, path)
    finally:
        with suppress(sqlite3.Error):
            db.close()


def _make_or_check(store: CampaignStore, about: Mapping[str, Any], directory: Path) -> None:
    db = store.database
    ((objects,),) = store.select("SELECT count(*) FROM sqlite_master")
    new = objects == 0
    if not new:
        _check_tables(store)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if new:
            _make(db, about)
    except sqlite3.Error as error:
        what = f"{store.path.name} cannot be written ({error})"
        raise UsageError(f"--out {directory}: {what}; make room, or give another --out") from None
    if not new:
        if [problem for (problem,) in store.select("PRAGMA quick_check(1)")] != ["ok"]:
            raise store.damaged(cut_off(store.path) or "its pages are damaged")
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


def _check_tables(store: CampaignStore) -> None:
    """Refuse a file that has not exactly the tables of a store.

    Raises:
        ScheduleFormatError: it is of another version, or no store.
    """
    ((application,),) = store.select("PRAGMA application_id")
    if application != APPLICATION:
        raise store.damaged(cut_off(store.path) or "it is the SQLite file of another program")
    ((version,),) = store.select("PRAGMA user_version")
    if version != FORMAT:
        raise ScheduleFormatError(f"{store.path}: is a store in format {version}, this version reads {FORMAT}")
    tables = [sql for (sql,) in store.select("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]
    if tables != list(_TABLES):
        raise store.damaged(_other(tables))


def _other(tables: Sequence[str]) -> str:
    """Return how the tables of a file differ from those of a store."""
    there = {_table(sql) for sql in tables}
    for sql in _TABLES:
        if _table(sql) not in there:
            return f"it has no table {_table(sql)}"
        if sql not in tables:
            return f"table {_table(sql)} has other columns"
    return "its tables are others"


def _table(sql: str) -> str:
    """Return the name of what a statement creates."""
    return (*sql.split(), "", "", "")[2]
