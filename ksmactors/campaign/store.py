"""The store of a campaign: an SQLite file in which blocks are kept as they finish.

A store has no code, and none is run when it is read. It may come from somebody else: its tables must be ours to the
letter, and each row has a checksum. What is in it survives a kill at any moment, since a block is one transaction.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any, Final

import orjson

from ksmactors.campaign.blocks import Block
from ksmactors.campaign.finding_records import found_of, record_of
from ksmactors.campaign.rows import BlockRow, as_json, as_utf8, block_of, checksum, row_of
from ksmactors.campaign.summary import Found, counted
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.run.outcome import Outcome

_COLUMNS: Final = "first, schedules, verdicts, digests, shapes, sums, rows, checksum"


class CampaignStore:
    """An open store. Made by `open_to_write` or `open_to_read`.

    Attributes:
        database: the connection to its file.
        problem: why nothing is written any more; empty while all is well.
    """

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.problem = ""
        self.database = database

    # -- writing ------------------------------------------------------------------------------------------------------

    def ask(self, seeds: range) -> None:
        """Note which seeds a campaign is to run."""
        row = seeds.start, seeds[-1], time()
        self._write(lambda: self.database.execute("INSERT INTO asked VALUES (?, ?, ?)", row))

    def note(self, name: str, value: object) -> None:
        """Set a fact about the campaign, as JSON has it; `about` returns it under that name."""
        text = as_json(value)
        self._write(lambda: self.database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, text)))

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
            self.database.execute("BEGIN IMMEDIATE")
            change()
            self.database.execute("COMMIT")
        except UsageError:
            self.database.execute("ROLLBACK")
            raise
        except (sqlite3.Error, OverflowError) as error:
            self.problem = f"{self.path}: cannot be written ({error}); the campaign goes on without it"
            with suppress(sqlite3.Error):
                self.database.execute("ROLLBACK")

    def _insert(self, row: BlockRow, outcomes: Sequence[Outcome]) -> None:
        seeds = row.first, row.first + row.schedules - 1
        self.database.execute("DELETE FROM findings WHERE seed BETWEEN ? AND ?", seeds)
        self._insert_row(row, time())
        for outcome in outcomes:
            if outcome.defect is not None:
                self._insert_finding(outcome)

    def _insert_row(self, row: BlockRow, at: float) -> None:
        self.database.execute(
            f"INSERT OR REPLACE INTO blocks (at, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (at, *row),
        )

    def _insert_finding(self, outcome: Outcome) -> None:
        defect = outcome.defect
        assert defect is not None
        first = bool(outcome.schedule) or not defect.actors  # else it is known, but for that of a worker that died
        record = as_json(record_of(Found(outcome))) if first else None
        signature = as_utf8(defect.signature)
        self.database.execute(
            "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)",
            (outcome.seed, signature, outcome.verdict.value, record, time(),
             checksum(outcome.seed, signature, outcome.verdict.value, record or "")),
        )  # fmt: skip

    # -- reading ------------------------------------------------------------------------------------------------------

    def stored(self) -> dict[int, int]:
        """The blocks there are: the first seed of each, and the seed after its last."""
        blocks: dict[int, int] = {}
        before = 0
        for first, count in self.select("SELECT first, schedules FROM blocks ORDER BY first"):
            with self.guarded():
                if not (counted(first) >= before and counted(count) > 0 and first + count <= 1 << 63):
                    raise ValueError(f"the block {first} overlaps another one, or has no schedules")
                before = blocks[first] = first + count
        return blocks

    def read(self, first: int) -> tuple[Block, dict[int, tuple[str, Found | None]]]:
        """The block that begins with a seed, and what it found: signatures by seed, with what was found first."""
        (row,) = self.select(f"SELECT {_COLUMNS} FROM blocks WHERE first = ?", first)
        with self.guarded():
            block = block_of(BlockRow(*row))
        last = block.seeds[-1]
        found = self._found("WHERE seed BETWEEN ? AND ? ORDER BY seed", first, last)
        return block, {seed: (signature, one) for seed, (signature, one, _) in found.items()}

    def blocks(self) -> Iterator[tuple[Block, float]]:
        """All blocks in order of seeds, each with the time at which it was done."""
        before = 0
        for at, *row in self.select(f"SELECT at, {_COLUMNS} FROM blocks ORDER BY first"):
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
        rows = self.select("SELECT first, last FROM asked ORDER BY rowid")
        with self.guarded():
            return [range(counted(first), counted(last) + 1) for first, last in rows]

    def about(self) -> dict[str, Any]:
        """What the store is of: `identity`, `made` and `begun`; and what was noted beside that."""
        with self.guarded():
            about = {name: orjson.loads(value) for name, value in self.select("SELECT name, value FROM about")}
            if not isinstance(about["identity"], dict) or not isinstance(about["made"], dict):
                raise ValueError("it does not say what it is of")
        return about

    def copy(self, other: CampaignStore) -> None:
        """Add all rows of another store, whose seeds must be others.

        Raises:
            UsageError: this one cannot be written.
            ScheduleFormatError: the other is damaged.
        """
        asked = other.select("SELECT * FROM asked ORDER BY rowid")
        rows = (row for row in other.select(f"SELECT at, {_COLUMNS} FROM blocks ORDER BY first"))
        findings = other.select("SELECT * FROM findings")
        self._write(lambda: self._copy(other, asked, rows, findings))
        if self.problem:
            raise UsageError(self.problem.partition("; ")[0])

    def _copy(
        self, other: CampaignStore, asked: Iterator[Any], rows: Iterator[Any], findings: Iterator[tuple[Any, ...]]
    ) -> None:
        self.database.executemany("INSERT INTO asked VALUES (?, ?, ?)", asked)
        for at, *row in rows:
            with other.guarded():
                block_of(BlockRow(*row))
                moment = float(at)
            self._insert_row(BlockRow(*row), moment)
        self.database.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)", findings)

    def _found(self, where: str, *values: int) -> dict[int, tuple[str, Found | None, float]]:
        found = {}
        columns = "seed, signature, verdict, record, at, checksum"
        rows = self.select(f"SELECT {columns} FROM findings {where}", *values)
        for seed, signature, verdict, record, at, check in rows:
            with self.guarded():
                if checksum(seed, signature, verdict, record or "") != check:
                    raise ValueError(f"the finding of seed {seed} was changed")
                one = found_of(orjson.loads(record)) if record is not None else None
                found[counted(seed)] = str(signature), one, float(at)
        return found

    def select(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query.

        Raises:
            ScheduleFormatError: SQLite cannot answer it.
        """
        with self.guarded():
            for row in self.database.execute(query, values):  # noqa: UP028  # which closes it, perhaps after the database
                yield row

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what goes wrong with what was read into one error: the store is damaged."""
        try:
            yield
        except UsageError as error:
            raise self.damaged(str(error)) from None
        except (sqlite3.Error, zlib.error, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self.damaged(str(error) or type(error).__name__) from None

    def damaged(self, why: str) -> ScheduleFormatError:
        """The error that says that the store cannot be read, and why."""
        return ScheduleFormatError(f"{self.path}: is no store of a campaign, or is damaged: {why[:200]}")
