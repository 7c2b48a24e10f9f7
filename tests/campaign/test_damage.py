"""Campaigns that are killed at any moment, and stores that were torn: what is gone on with is right, or refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from ksmactors.campaign.blocks import Block, packed
from ksmactors.campaign.rows import block_of, checksum, parsed, row_of
from ksmactors.campaign.store_files import FILE, LOCK
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.cli import main
from ksmactors.run.outcome import Outcome
from ksmactors.run.subject import make_subject
from tests.campaign.test_store import run, sums
from tests.helpers.children import descendants, descendants_of, started, wait_until_gone

PROGRAMS = Path(__file__).with_name("programs.py")

SEEDS = 60
"""So many that there are blocks in each third of them."""

LINE = ["stress", f"{PROGRAMS}:Quiet", f"{PROGRAMS}:Deadlock", "--seeds", str(SEEDS), "--strategy", "random", "--json"]
LINE += ["--max-steps", "2000"]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default directories are temporary ones."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def said(line: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a campaign says that found something, apart from its seconds and where its files are."""
    capsys.readouterr()
    assert main(line) == 1
    sums: dict[str, Any] = json.loads(capsys.readouterr().out)
    for finding in sums["findings"]:
        finding["file"], finding["replay"] = Path(finding["file"]).name, ""
    return sums | {"seconds": 0}


def block() -> Block:
    """A block of one schedule."""
    outcomes: list[Outcome] = []
    campaign = Campaign(Plan([make_subject(f"{PROGRAMS}:Quiet")], range(1), "random"))
    campaign.on_outcome = lambda outcome, _: outcomes.append(outcome)
    trio.run(campaign.run)
    return packed(outcomes, [1])


def test_a_small_row_cannot_become_a_large_one() -> None:
    """What is packed into a few bytes is not unpacked to millions, nor are there millions of values in a row. A block
    of ours whose text is that dense is read again."""
    row = row_of(block())
    bad = row._replace(rows=zlib.compress(b'{"steps":' + b" " * 5_000_000 + b"[1]}"), checksum=b"")
    with pytest.raises(ValueError, match="cut off, or too large"):
        block_of(bad._replace(checksum=checksum(*bad[:-1])))
    with pytest.raises(ValueError, match="too many values"):
        parsed("[" + "{}," * 2_000_000 + "1]")
    dense = block()._replace(marks={("x" * 5_000_000, "y"): [(0, 1)]})
    assert block_of(row_of(dense)).marks == dense.marks


def killed(line: list[str], out: Path, tmp_path: Path, rng: Random) -> None:
    """Start a campaign and kill its parent, its workers' server, a worker, or all of them, when some of it is done."""
    with started([*line, "--jobs", "2", "--out", str(out)], tmp_path) as process:
        size, grown = _size(out), rng.randrange(20_000)
        while process.poll() is None and _size(out) < size + grown:
            trio.run(trio.sleep, 0.002)
        there = [process.pid, *descendants(process.pid)]
        for pid in there if rng.random() < 0.3 else [rng.choice(there)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate(timeout=120)


def _size(out: Path) -> int:
    """Bytes of what a campaign has written."""
    return sum(path.stat().st_size for path in (out / f"{FILE}-wal", out / FILE) if path.exists())


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_thirty_campaigns_that_are_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is killed, whenever and however often: the sums, the findings and the digest are those of an undisturbed
    run."""
    expected = said([*LINE, "--jobs", "1", "--out", str(tmp_path / "whole")], capsys)
    for number in range(30):
        rng, out = Random(number), tmp_path / str(number)
        killed(LINE, out, tmp_path, rng)
        for _ in range(rng.randrange(3)):
            killed([*LINE, "--resume"], out, tmp_path, rng)
        resume = ["--resume"] if (out / FILE).exists() else []
        assert said([*LINE, *resume, "--jobs", "1", "--out", str(out)], capsys) == expected, number


@pytest.mark.slow
def test_a_killed_campaign_is_gone_on_with(tmp_path: Path) -> None:
    """kill -9 of the parent ends the workers, too, and leaves a store from which the rest is run: equal sums."""
    out, seeds = tmp_path / "out", range(40)
    line = ["stress", f"{PROGRAMS}:Quiet", f"{PROGRAMS}:Deadlock", "--seeds", "100", "--strategy", "random", "-q"]
    line += ["--max-steps", "2000", "--jobs", "2", "--json", "--out", str(out)]
    with started(line, tmp_path) as process:
        while not (out / FILE).exists():
            trio.run(trio.sleep, 0.01)
        os.kill(process.pid, signal.SIGKILL)
    drive = run(out, seeds, resume=True)
    assert sums(drive) == sums(run(tmp_path / "whole", seeds))
    assert (out / LOCK).exists()


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """No worker outlives a parent that was killed."""
    line = ["stress", "exit_race", "--seeds", "100000", "--jobs", "2", "-q", "--out", str(tmp_path / "out")]
    with started(line, tmp_path) as process:
        workers = descendants_of(process.pid, 3)
        os.kill(process.pid, signal.SIGKILL)
    assert wait_until_gone(workers) == []


def torn(out: Path, rng: Random) -> None:
    """Damage a store or its write-ahead log as a failing disk may."""
    path = rng.choice([one for one in (out / FILE, out / f"{FILE}-wal", out / f"{FILE}-wal") if one.exists()])
    data = bytearray(path.read_bytes())
    if not data:
        return
    at = rng.randrange(len(data))
    kind = rng.randrange(4)
    if kind == 0:
        del data[at:]
    elif kind == 1:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[at : at + 512] = bytes(len(data[at : at + 512]))
    else:
        start = at - at % 4096
        data[start : start + 4096] = data[:4096]
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [6, pytest.param(400, marks=pytest.mark.nightly)])
def test_torn_stores(rounds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that was torn is gone on with, to the sums of an undisturbed run, or refused in one line."""
    expected = said([*LINE, "--jobs", "1", "--out", str(tmp_path / "whole")], capsys)
    before = unfinished(tmp_path / "whole", tmp_path / "before")
    refused = 0
    for number in range(rounds):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(before, out)
        torn(out, Random(number))
        capsys.readouterr()
        status = main([*LINE, "--resume", "--jobs", "1", "--out", str(out)])
        answer = capsys.readouterr()
        if status == 2:
            refused += 1
            assert answer.err.splitlines()[-1].startswith("ksmactors: ")
            continue
        sums = json.loads(answer.out)
        assert {key: sums[key] for key in ("digest", "schedules", "steps", "marks", "races")} == {
            key: expected[key] for key in ("digest", "schedules", "steps", "marks", "races")
        }, number
        assert [one["signature"] for one in sums["findings"]] == [one["signature"] for one in expected["findings"]]
    assert 0 < refused < rounds


def unfinished(whole: Path, place: Path) -> Path:
    """A store as a kill leaves it: a third of the blocks in the file, a third in the log, the rest not there."""
    place.mkdir()
    shutil.copy(whole / FILE, place / "source")
    with closing(sqlite3.connect(place / "source", isolation_level=None)) as db:
        db.execute(f"DELETE FROM blocks WHERE first >= {SEEDS * 2 // 3}")
        db.execute(f"DELETE FROM findings WHERE seed >= {SEEDS * 2 // 3}")
        rows = db.execute(f"SELECT * FROM blocks WHERE first >= {SEEDS // 3}").fetchall()
        db.execute(f"DELETE FROM blocks WHERE first >= {SEEDS // 3}")
        db.execute("VACUUM")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        for row in rows:
            db.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        shutil.copy(place / "source", place / FILE)
        shutil.copy(place / "source-wal", place / f"{FILE}-wal")
    (place / "source").unlink()
    return place
