"""Stores of campaigns that somebody else made: other bytes, other tables, other values with sound checksums."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.rows import checksum
from ksmactors.campaign.store_files import FILE
from ksmactors.errors import USAGE
from tests.fuzz.commanding import performed
from tests.fuzz.hostile import TEXTS, deep, hostile_header
from tests.fuzz.kind import FORMS, Kind
from tests.fuzz.mutating import TOKENS, VALUES, WORDS, Change, mutated, mutated_json

WAL: Final = b"-- write-ahead log --"
"""Between a database and its log, in a sample that has one."""

LARGE: Final = 100_000_000
"""Bytes of a value that is too large."""

STORE_MAX: Final = 192 << 20
"""Bytes of a mutated store: it is made in the memory of the process whose peak is measured."""

CAMPAIGNS: Final = (
    ["classic.abba", "classic.lost"],
    ["litmus.scan_meets_exit", "--strategy", "random"],
)
"""What samples are campaigns of."""

ENDLESS: Final = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
    "SELECT x AS first, x AS last, x AS at, x AS name, x AS value, x AS seed FROM n"
)

BLOCK: Final = "schedules, at, verdicts, digests, shapes, sums, rows, checksum"

SCHEMAS: Final = (
    "CREATE VIEW more AS SELECT * FROM blocks",
    "DROP TABLE {table}",
    "DROP TABLE {table}; CREATE VIEW {table} AS SELECT 1 AS first, 2 AS last, 3 AS at",
    "ALTER TABLE {table} RENAME TO old; CREATE VIEW {table} AS SELECT * FROM old UNION ALL SELECT * FROM old",
    f"ALTER TABLE {{table}} RENAME TO old; CREATE VIEW {{table}} AS {ENDLESS}",
    "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM blocks; END",
    "CREATE TRIGGER t AFTER DELETE ON findings BEGIN SELECT zeroblob(100000000); END",
    "CREATE INDEX i ON {table} (at)",
    "CREATE INDEX i ON findings (randomblob(seed % 100000000))",
    "ALTER TABLE {table} ADD COLUMN more DEFAULT (randomblob(9))",
    "ALTER TABLE {table} ADD COLUMN more GENERATED ALWAYS AS (zeroblob(100000000)) VIRTUAL",
    "DROP TABLE asked; CREATE TABLE asked (first INTEGER NOT NULL, last INTEGER CHECK (load_extension('x')), at REAL)",
    "DROP TABLE about; CREATE VIRTUAL TABLE about USING fts5(name, value)",
    "DROP TABLE about; CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE sqlite_stat1_ (a); ANALYZE",
    "PRAGMA user_version = {number}",
    "PRAGMA application_id = {number}",
    "PRAGMA encoding = 'UTF-16'; VACUUM",
    "PRAGMA auto_vacuum = 1; VACUUM",
    "PRAGMA page_size = 65536; VACUUM",
)
"""Tables that are others."""

HIDDEN: Final = (
    "UPDATE sqlite_schema SET sql = {text} WHERE name = '{table}'",
    "UPDATE sqlite_schema SET rootpage = {number} WHERE name = '{table}'",
    "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'blocks')",
    "UPDATE sqlite_schema SET type = 'view' WHERE name = '{table}'",
    "UPDATE sqlite_schema SET name = {text} WHERE name = '{table}'",
    "UPDATE sqlite_schema SET tbl_name = 'blocks'",
    "INSERT INTO sqlite_schema VALUES ('view', 'x', 'x', 0, NULL)",
    "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema",
    "DELETE FROM sqlite_schema WHERE name = '{table}'",
)
"""Tables that only look like ours."""

ROWS: Final = (
    "UPDATE {table} SET {column} = {value}",
    "UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT max(rowid) FROM {table})",
    "DELETE FROM {table}",
    "UPDATE about SET value = {value} WHERE name = '{about}'",
    "DELETE FROM about WHERE name = '{about}'",
    "INSERT INTO asked SELECT {number}, {value}, 0, x'' FROM blocks",
    "INSERT OR REPLACE INTO findings SELECT seed + {number}, signature, verdict, record, at, checksum FROM findings",
    f"INSERT OR REPLACE INTO blocks SELECT first + {{number}}, {BLOCK} FROM blocks",
    f"INSERT INTO asked SELECT first, last, at, x'' FROM ({ENDLESS} LIMIT 200000)",
    "UPDATE blocks SET {column} = zeroblob({large})",
)
"""Rows that are others."""

_TABLES: Final = {
    "about": ("name", "value"),
    "asked": ("first", "last", "at", "checksum"),
    "blocks": ("first", "schedules", "at", "verdicts", "digests", "shapes", "sums", "rows", "checksum"),
    "findings": ("seed", "signature", "verdict", "record", "at", "checksum"),
}


class Stores(Kind):
    """Stores: damaged files, tables and rows of somebody else's making, rows that are sound but for what they say."""

    name = "stores"

    @cached_property
    def samples(self) -> list[bytes]:
        made = []
        for number, words in enumerate(CAMPAIGNS):
            for part, seeds in enumerate(("45", "45:60")):
                out = self.place / f"campaign{number}.{part}"
                performed(["stress", *words, "--seeds", seeds, "--jobs", "1", "-q", "--out", str(out)])
                if part == 0:
                    made.append((out / FILE).read_bytes())
        return [*made, _with_log(made[0], self.place / "with_log")]

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        data = self.samples[sample % len(self.samples)]
        way = changes[0][1] % 8
        if way == 0 or WAL in data:
            return mutated(data, self.samples, changes)
        if way == 1:
            return mutated(data[:4096], self.samples, changes) + data[4096:]
        return _changed(data, lambda db: _WAYS[way](db, changes))

    def feed(self, data: bytes) -> bool:
        return self.read(self.place, data)

    def read(self, path: Path, data: bytes) -> bool:
        """Read it with one of the commands that do; `path` is a directory."""
        out = path / "mutants"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        database, _, log = data.partition(WAL)
        (out / FILE).write_bytes(database)
        if log:
            (out / f"{FILE}-wal").write_bytes(log)
        number = zlib.crc32(data)
        form = FORMS[number // 6 % len(FORMS)]
        other = number // 18 % len(CAMPAIGNS)
        merged = self.place / "merged"
        shutil.rmtree(merged, ignore_errors=True)
        lines = (
            ["campaign", str(out), *form],
            ["campaign", str(out), "--export", str(self.place / "export"), "--force", *form],
            ["campaign", "merge", str(out), str(self.place / f"campaign{other}.1"), "--out", str(merged), *form],
            ["analyze", str(out), *form],
            ["analyze", str(out), "--sql", "SELECT * FROM schedules, findings LIMIT 9"],
            ["stress", *CAMPAIGNS[other], "--seeds", "48", "--jobs", "1", "--resume", "--out", str(out), *form],
        )
        accepted = performed(lines[number % len(lines)]) != USAGE  # a sound one is refused if it is of another campaign
        return accepted or performed(lines[0]) != USAGE


def _with_log(data: bytes, place: Path) -> bytes:
    """A database that was being written: part of it is in its write-ahead log."""
    place.mkdir()
    (place / FILE).write_bytes(data)
    with closing(sqlite3.connect(place / FILE, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE findings SET at = at + 1")
        db.execute("INSERT INTO asked SELECT * FROM asked")
        return (place / FILE).read_bytes() + WAL + (place / f"{FILE}-wal").read_bytes()


def _changed(data: bytes, change: Callable[[sqlite3.Connection], None]) -> bytes:
    """The bytes of a database after a change, as far as SQLite has made it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(data)
        ((size,),) = db.execute("PRAGMA page_size")
        db.execute(f"PRAGMA max_page_count = {STORE_MAX // size}")
        with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
            change(db)
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        return bytes(db.serialize())


def _statements(statements: Sequence[str], changes: Sequence[Change]) -> list[str]:
    """Statements with what belongs into them."""
    filled = []
    for which, where, what in changes:
        table = list(_TABLES)[where % len(_TABLES)]
        text = statements[which % len(statements)]
        fills = {
            "table": table,
            "column": _TABLES[table][what % len(_TABLES[table])],
            "number": WORDS[what % len(WORDS)] % (1 << 63),
            "text": _quoted(TEXTS[what % len(TEXTS)]),
            "value": _value(where // 7, what),
            "about": ("identity", "made", "begun")[where % 3],
            "large": LARGE if where % 500 == 0 else where % 100_000,
        }
        filled.append(text.format(**fills))
    return filled


def _value(where: int, what: int) -> str:
    """A value of any type, as SQL has it."""
    token = TOKENS[what % len(TOKENS)]
    texts = (TEXTS[what % len(TEXTS)], json.dumps(VALUES[what % len(VALUES)]), deep((500, 1500, 200_000)[what % 3]))
    choices = (
        "NULL", str(WORDS[what % len(WORDS)] % (1 << 63)), "-1", "9e999", "1.5", f"x'{token.hex()}'",
        "hex(randomblob(9))", *map(_quoted, texts), f"CAST(x'{token.hex()}' AS TEXT)",
    )  # fmt: skip
    return choices[where % len(choices)]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\0", "") + "'"


def _tables(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    for statement in _statements(SCHEMAS, changes):
        with suppress(sqlite3.Error):
            db.executescript(statement)


def _hidden(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    db.execute("PRAGMA writable_schema = ON")
    for statement in _statements(HIDDEN, changes):
        with suppress(sqlite3.Error):
            db.execute(statement)


def _values(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    for statement in _statements(ROWS, changes):
        with suppress(sqlite3.Error):
            db.execute(statement)
    if changes[0][2] % 2:
        _sign(db)


def _contents(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Other JSON in blocks: sums and rows, packed and signed as they should be."""
    _, where, what = changes[0]
    firsts = [first for (first,) in db.execute("SELECT first FROM blocks")]
    first, column = firsts[where % len(firsts)], ("sums", "rows")[what % 2]
    (packed,) = db.execute(f"SELECT {column} FROM blocks WHERE first = ?", (first,)).fetchone()
    text = json.dumps(mutated_json(json.loads(zlib.decompress(packed)), changes))
    if what % 16 == 0:
        text = ("[" + "{}," * (where % 8_000_000) + "0]", deep(200_000), '{"steps":' + "9" * 5000 + "}")[where % 3]
    db.execute(f"UPDATE blocks SET {column} = ? WHERE first = ?", (zlib.compress(text.encode(errors="replace")), first))
    _sign(db)


def _records(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Other findings."""
    for seed, record in db.execute("SELECT seed, record FROM findings WHERE record IS NOT NULL").fetchall():
        content = mutated_json(json.loads(record), changes)
        if changes[0][2] % 5 == 0:
            content = json.loads(record) | {"schedule": TEXTS[changes[0][1] // 8 % len(TEXTS)]}
        if changes[0][2] % 5 == 1:
            content = json.loads(record) | {"seed": WORDS[changes[0][1] // 8 % len(WORDS)]}
        text = json.dumps(content, ensure_ascii=changes[0][2] % 3 == 0).encode(errors="replace").decode()
        db.execute("UPDATE findings SET record = ? WHERE seed = ?", (text, seed))
    _sign(db)


def _identities(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Another identity, or other versions."""
    name = ("identity", "made")[changes[0][1] // 8 % 2]
    (text,) = db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    content = json.loads(text)
    if name == "identity" and changes[0][2] % 2:
        content["subjects"][0] = hostile_header(content["subjects"][0], changes)
    else:
        content = mutated_json(content, changes)
    value = json.dumps(content, ensure_ascii=changes[0][2] % 3 == 0).encode(errors="replace").decode()
    db.execute("UPDATE about SET value = ? WHERE name = ?", (value, name))


_WAYS: Final = {2: _tables, 3: _hidden, 4: _values, 5: _contents, 6: _records, 7: _identities}


def _sign(db: sqlite3.Connection) -> None:
    """Give each row the checksum that belongs to it."""
    columns = "first, schedules, verdicts, digests, shapes, sums, rows"
    for row in db.execute(f"SELECT rowid, {columns} FROM blocks").fetchall():
        db.execute("UPDATE blocks SET checksum = ? WHERE rowid = ?", (_checksum(row[1:]), row[0]))
    for row in db.execute("SELECT rowid, first, last FROM asked").fetchall():
        db.execute("UPDATE asked SET checksum = ? WHERE rowid = ?", (_checksum(row[1:]), row[0]))
    for row in db.execute("SELECT rowid, seed, signature, verdict, record FROM findings").fetchall():
        db.execute("UPDATE findings SET checksum = ? WHERE rowid = ?", (_checksum(row[1:]), row[0]))


def _checksum(values: Sequence[Any]) -> bytes:
    return checksum(*("" if value is None else value for value in values))
