"""The store of a campaign: an SQLite file in which blocks are kept as they finish.

A store has no code, and none is run when it is read. It may come from somebody else: its tables must be ours to the
letter, and each row has a checksum. What is in it survives a kill at any moment, since a block is one transaction.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

from ksmactors.campaign.blocks import Block
from ksmactors.campaign.damage import REMEDY, what_is_damaged
from ksmactors.campaign.finding_records import found_of, record_of
from ksmactors.campaign.rows import BlockRow, as_json, as_utf8, block_of, checksum, moment_of, parsed, row_of
from ksmactors.campaign.summary import Found, counted
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.escaping import shortened
from ksmactors.run.outcome import Outcome

OPERATIONS_MAX: Final = 200
"""Millions of operations of SQLite's machine that a query may take before its next row is there, or its end."""

ASKED_MAX: Final = 100_000
"""Campaigns that one store was asked for."""

ABOUT_MAX: Final = 16
"""Facts about a campaign in its store."""

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
        self._ahead: float | None = None
        self._operations = 0
        database.set_progress_handler(self._too_long, 1_000_000)

    def _too_long(self) -> bool:
        """Whether a query has taken so long that it has no end: a stranger's pages may form a cycle."""
        self._operations += 1
        return self._operations > OPERATIONS_MAX

    # -- writing ------------------------------------------------------------------------------------------------------

    def ask(self, seeds: range) -> None:
        """Note which seeds a campaign is to run."""
        self._write(lambda: self._ask(seeds.start, seeds[-1], self._now()))

    def _ask(self, first: int, last: int, at: float) -> None:
        row = first, last, at, checksum(first, last)
        self.database.execute("INSERT INTO asked VALUES (?, ?, ?, ?)", row)

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
        self._operations = 0
        try:
            self.database.execute("BEGIN IMMEDIATE")
            change()
            self.database.execute("COMMIT")
        except UsageError:
            self.database.execute("ROLLBACK")
            raise
        except (sqlite3.Error, OverflowError) as error:
            self.problem = (
                f"{self.path}: cannot be written ({error}); the campaign goes on without it: make room, and go on with "
                "--resume later"
            )
            with suppress(sqlite3.Error):
                self.database.execute("ROLLBACK")

    def _insert(self, row: BlockRow, outcomes: Sequence[Outcome]) -> None:
        seeds = row.first, row.first + row.schedules - 1
        self.database.execute("DELETE FROM findings WHERE seed BETWEEN ? AND ?", seeds)
        self._insert_row(row, self._now())
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
            (outcome.seed, signature, outcome.verdict.value, record, self._now(),
             checksum(outcome.seed, signature, outcome.verdict.value, record or "")),
        )  # fmt: skip

    def _now(self) -> float:
        """The time in seconds since 1970. It never falls: neither while the store is open, whatever the wall clock
        does, nor below what the store has already."""
        if self._ahead is None:
            latest = "SELECT max(at) FROM asked UNION ALL SELECT max(at) FROM findings UNION ALL SELECT * FROM "
            latest += "(SELECT at FROM blocks ORDER BY first DESC LIMIT 1)"
            written = [at for (at,) in self.database.execute(latest) if isinstance(at, float)]
            self._ahead = max([time(), *written]) - monotonic()
        return self._ahead + monotonic()

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
        found = self._found("WHERE seed BETWEEN ? AND ?", first, last)
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
                moment = moment_of(at)
            yield block, moment

    def findings(self) -> Iterator[tuple[int, str, Found | None, float]]:
        """All that was found, in order of seeds: seed, signature, what was found if it was the first, and when."""
        for seed, row in self._found("").items():
            yield seed, *row

    def asked(self) -> list[range]:
        """The seeds that campaigns were to run, in the order in which they were asked for."""
        return [range(first, last + 1) for first, last, _ in self._asked()]

    def _asked(self) -> Iterator[tuple[int, int, float]]:
        rows = self.select("SELECT first, last, at, checksum FROM asked ORDER BY rowid")
        for number, (first, last, at, check) in enumerate(rows):
            with self.guarded():
                if checksum(first, last) != check:
                    raise ValueError("what it was asked for was changed")
                if number >= ASKED_MAX:
                    raise ValueError(f"it was asked for more than {ASKED_MAX} times")
                row = counted(first), counted(last), moment_of(at)
            yield row

    def asked_at(self) -> list[float]:
        """When campaigns were asked for, in seconds since 1970."""
        return [at for _, _, at in self._asked()]

    def about(self) -> dict[str, Any]:
        """What the store is of: `identity`, with at least a subject, `made` and `begun`; and what was noted beside."""
        with self.guarded():
            rows = islice(self.select("SELECT name, value FROM about"), ABOUT_MAX)
            about = {name: parsed(value) for name, value in rows}
            about["begun"] = moment_of(about["begun"])
            of = about["identity"]
            names = [subject["workload"] for subject in of["subjects"]]
            texts = [*names, of["strategy"], of["ksmactors"]]
            if not names or not all(isinstance(text, str) for text in texts):
                raise ValueError("it does not say what it is of")
            about["made"].get("files")
        return about

    def copy(self, other: CampaignStore) -> None:
        """Add all rows of another store, whose seeds must be others.

        Raises:
            UsageError: this one cannot be written.
            ScheduleFormatError: the other is damaged.
        """
        asked = other._asked()
        rows = (row for row in other.select(f"SELECT at, {_COLUMNS} FROM blocks ORDER BY first"))
        findings = other._finding_rows("")
        self._write(lambda: self._copy(other, asked, rows, findings))
        if self.problem:
            raise UsageError(self.problem.partition("; ")[0])

    def _copy(
        self,
        other: CampaignStore,
        asked: Iterator[tuple[int, int, float]],
        rows: Iterator[Any],
        findings: Iterator[tuple[Any, ...]],
    ) -> None:
        for row in asked:
            self._ask(*row)
        for at, *row in rows:
            with other.guarded():
                block_of(BlockRow(*row))
                moment = moment_of(at)
            self._insert_row(BlockRow(*row), moment)
        self.database.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)", findings)

    def _found(self, where: str, *values: int) -> dict[int, tuple[str, Found | None, float]]:
        found = {}
        for seed, signature, _, record, at, _ in self._finding_rows(where, *values):
            with self.guarded():
                found[seed] = str(signature), found_of(parsed(record)) if record is not None else None, at
        return found

    def _finding_rows(self, where: str, *values: int) -> Iterator[tuple[int, str, str, str | None, float, bytes]]:
        """The rows of findings in order of their seeds."""
        before = -1
        columns = "seed, signature, verdict, record, at, checksum"
        for row in self.select(f"SELECT {columns} FROM findings {where} ORDER BY seed", *values):
            seed, signature, verdict, record, at, check = row
            with self.guarded():
                if checksum(seed, signature, verdict, record or "") != check:
                    raise ValueError(f"the finding of seed {seed} was changed")
                if counted(seed) <= before:
                    raise ValueError(f"the finding of seed {seed} is there twice")
                before, at = seed, moment_of(at)
            yield seed, signature, verdict, record, at, check

    def select(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query.

        Raises:
            ScheduleFormatError: SQLite cannot answer it.
        """
        with self.guarded():
            self._operations = 0
            for row in self.database.execute(query, values):  # which closes it, perhaps after the database
                yield row
                self._operations = 0

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what goes wrong with what was read into one error: the store is damaged."""
        try:
            yield
        except UsageError as error:
            raise self.damaged(str(error)) from None
        except (sqlite3.Error, zlib.error, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self.damaged(what_is_damaged(error, self.path)) from None

    def damaged(self, why: str) -> ScheduleFormatError:
        """The error that says that the store cannot be read, and why."""
        what = f"is no store of a campaign, or is damaged: {shortened(why, 200)}"
        return ScheduleFormatError(f"{self.path}: {what}; {REMEDY}")
