"""A folder of findings as regression tests: how each comes out, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from ksmactors.campaign.findings import save, set_expected
from ksmactors.diagnose.regressions import Regression, Result, exit_status, finding_files, replay_regression
from ksmactors.errors import UsageError
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

COUNTER = """
from ksmactors.model import Model, Table


class Counter(Model):
    async def run(self, table: Table) -> None:
        self.value = 0
        await table.concurrent({"one": self.add(table), "two": self.add(table)})
        table.check(self.value == 2, "lost_update", f"the counter is {self.value}")

    async def add(self, table: Table) -> None:
        value = self.value
        await table.step()
        self.value = value + 1
"""

REPAIRED = COUNTER.replace(
    "value = self.value\n        await table.step()", "await table.step()\n        value = self.value"
)
THREE = COUNTER.replace('{"one"', '{"zero": table.step(), "one"')
MOVED = COUNTER.replace("self.value = 0", "self.value = 0\n        await table.step()")
OTHER = COUNTER.replace('"lost_update"', '"miscounted"')
BROKEN = COUNTER.replace("self.value = value + 1", "self.value = value / 0")
ENDLESS = COUNTER.replace("self.value = value + 1", "await self.add(table)")


def lost(directory: Path, source: Path) -> Path:
    """A finding of the counter in a file."""
    source.write_text(COUNTER)
    subject = make_subject(f"{source}:Counter", max_steps=200)
    for seed in range(40):
        outcome = anyio.run(run_schedule, subject, seed, "random", backend="trio")
        if outcome.defect is not None:
            return save(outcome, directory)
    raise AssertionError("no schedule loses an update")


def replayed(file: Path, *, trust: bool = True) -> Regression:
    """The file as a regression, in a process of its own code: a changed workload is loaded again."""
    import sys

    for name in [name for name in sys.modules if name.startswith("ksmactors-file:")]:
        del sys.modules[name]

    async def work() -> Regression:
        return await replay_regression(file, trust=trust)

    return anyio.run(work, backend="trio")


@pytest.mark.parametrize(
    ("now", "expected", "result", "reason"),
    [
        (COUNTER, "fails", Result.AS_EXPECTED, "found model/lost_update@run again, event by event"),
        (COUNTER, "passes", Result.UNEXPECTED, "found model/lost_update@run again, event by event"),
        (MOVED, "fails", Result.AS_EXPECTED, "found model/lost_update@run again, though its events differ"),
        (MOVED, "passes", Result.UNEXPECTED, "found model/lost_update@run again, though its events differ"),
        (THREE, "fails", Result.AS_EXPECTED, "by name leads to the same finding, model/lost_update@run"),
        (THREE, "passes", Result.UNEXPECTED, "by name leads to the same finding, model/lost_update@run"),
        (REPAIRED, "fails", Result.UNEXPECTED, "did not find model/lost_update@run again"),
        (REPAIRED, "passes", Result.AS_EXPECTED, "by name does not find model/lost_update@run again"),
        (OTHER, "fails", Result.UNEXPECTED, "found model/miscounted@run instead of model/lost_update@run"),
        (OTHER, "passes", Result.UNEXPECTED, "found model/miscounted@run instead of model/lost_update@run"),
        (BROKEN, "fails", Result.CRASHED, "ZeroDivisionError"),
        (BROKEN, "passes", Result.CRASHED, "ZeroDivisionError"),
        (ENDLESS, "passes", Result.INCONCLUSIVE, ""),
    ],
)
def test_how_it_comes_out(now: str, expected: str, result: Result, reason: str, tmp_path: Path) -> None:
    """The workload as it was, moved, repaired, with another defect, broken, or without an end."""
    source = tmp_path / "counter.py"
    file = lost(tmp_path, source)
    set_expected(str(file), expected)
    source.write_text(now)
    one = replayed(file)
    assert (one.result, one.expected) == (result, expected), one.reason
    assert reason in one.reason
    assert any("has changed since the finding was recorded" in note for note in one.notes) is (now != COUNTER)


def test_without_a_word_it_fails(tmp_path: Path) -> None:
    """A finding file without `expected` is one that is to show its finding, and the key is all that is added."""
    file = lost(tmp_path, tmp_path / "counter.py")
    before = orjson.loads(file.read_bytes())
    file.chmod(0o640)
    assert "expected" not in before
    assert replayed(file).expected == "fails"
    set_expected(str(file), "passes")
    assert orjson.loads(file.read_bytes()) == before | {"expected": "passes"}
    assert file.stat().st_mode & 0o777 == 0o640


def test_no_code_without_trust(tmp_path: Path) -> None:
    """A finding that names code is refused, and the code is not run."""
    file = lost(tmp_path, tmp_path / "counter.py")
    (tmp_path / "counter.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    one = replayed(file, trust=False)
    assert one.result is Result.REFUSED
    assert "give --trust" in one.reason
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is neither a finding file nor a schedule string"),
        (b"{", "is no finding file"),
        (b"[]", "is neither a finding file nor a schedule string"),
        (b"\xff", "not text"),
        (b'{"schedule": 1}', "holds no schedule"),
        (b'{"schedule": "ksm2:x"}', "schedule"),
        (b'{"schedule": "ksm2:x", "expected": "maybe"}', "its expected must be fails or passes"),
        (b'{"schedule": "ksm2:x", "expected": {}}', "its expected must be fails or passes"),
    ],
)
def test_a_file_that_is_no_finding(content: bytes, reason: str, tmp_path: Path) -> None:
    """It is refused in one line, without the file's name, which stands before it."""
    file = tmp_path / "a.json"
    file.write_bytes(content)
    one = replayed(file)
    assert one.result is Result.REFUSED
    assert reason in one.reason
    assert str(file) not in one.reason
    assert "\n" not in one.reason
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"finding|schedule|text|expected"):
        set_expected(str(file), "passes")
    assert file.read_bytes() == before


def test_which_files_are_findings(tmp_path: Path) -> None:
    """Those that end in .json, in order of name. What a campaign keeps beside them is passed over, others are named."""
    for name in ("b.json", "a.json", "exploration-x.json", ".hidden.json", "campaign.sqlite", "campaign.1.sqlite-wal"):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    files, others = finding_files(tmp_path)
    assert [file.name for file in files] == ["a.json", "b.json", "pipe.json"]
    assert others == ["folder.json", "notes.txt"]
    assert replayed(files[-1]).reason == "is not a regular file"


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_folder_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """It is one line."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be read"):
        finding_files(tmp_path / name)


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([], 0),
        ([Result.AS_EXPECTED], 0),
        ([Result.INCONCLUSIVE, Result.AS_EXPECTED], 4),
        ([Result.INCONCLUSIVE, Result.REFUSED], 2),
        ([Result.REFUSED, Result.UNEXPECTED, Result.INCONCLUSIVE], 1),
        ([Result.UNEXPECTED, Result.CRASHED, Result.REFUSED], 3),
    ],
)
def test_the_worst_counts(results: list[Result], status: int) -> None:
    """The exit status of several regressions is that of the worst."""
    assert exit_status([Regression(Path("x"), result, "") for result in results]) == status


def test_a_schedule_without_a_signature(tmp_path: Path) -> None:
    """Such a file is expected to find anything at all."""
    file = lost(tmp_path, tmp_path / "counter.py")
    content: dict[str, Any] = orjson.loads(file.read_bytes())
    bare = tmp_path / "bare.json"
    bare.write_bytes(orjson.dumps({"schedule": content["schedule"]}))
    assert replayed(bare).result is Result.AS_EXPECTED
    bare.write_bytes(orjson.dumps({"schedule": content["schedule"], "expected": "passes"}))
    assert replayed(bare).result is Result.UNEXPECTED
