"""The store of a campaign: what is in it, going on from it, and files that are no store or were damaged."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

import ksmactors
from ksmactors.campaign.blocks import Block, packed
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.identity import identity, made_with
from ksmactors.campaign.overview import overview_of
from ksmactors.campaign.placing import store_of
from ksmactors.campaign.rows import block_of, row_of
from ksmactors.campaign.store_files import FILE, StoreInUse, open_to_read, open_to_write
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.cli import main
from ksmactors.errors import UsageError
from ksmactors.run.outcome import Outcome
from ksmactors.run.subject import Subject, make_subject

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default directories are temporary ones."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def subjects(*names: str) -> list[Subject]:
    """Test programs as subjects."""
    return [make_subject(f"{PROGRAMS}:{name}", max_steps=2_000) for name in names or ("Quiet", "Deadlock")]


def run(out: Path, seeds: range, *, resume: bool = False, of: list[Subject] | None = None) -> Drive:
    """Run a campaign with a store, in this process."""
    out.mkdir(exist_ok=True)
    of = of or subjects()
    with store_of(out, of, "random", resume=resume) as store:
        drive = Drive(Plan(of, seeds, "random", out), store, resume)
        store.ask(seeds)
        trio.run(drive.run)
        assert store.problem == ""
    return drive


def sums(drive: Drive) -> dict[str, Any]:
    """What a campaign says, apart from the directory of its files."""
    said = drive.tally.as_json()
    for finding in said["findings"]:
        finding["file"] = finding["file"] and Path(finding["file"]).name
    return said | {"locks": list(drive.tally.locks.edges.values())}


ALL = range(60)

IN_THE_MIDDLE = "first = (SELECT max(first) FROM blocks WHERE first < 30)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Drive, Path]:
    """A campaign that was not disturbed, and its directory, which tests copy."""
    out = tmp_path_factory.mktemp("campaign") / "whole"
    return run(out, ALL), out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a campaign of a few schedules, which tests copy."""
    out = tmp_path_factory.mktemp("campaign") / "small"
    run(out, range(6))
    return out


def forget(out: Path, condition: str) -> None:
    """Take blocks out of a store, as if they had not been written."""
    with sqlite3.connect(out / FILE) as db:
        db.execute(f"DELETE FROM blocks WHERE {condition}")
    db.close()


def test_a_block_is_read_as_it_was_written() -> None:
    """A block becomes a row and the same block again."""
    outcomes: list[Outcome] = []
    small = [make_subject("exit_race", params={"generations": 1, "pages": 1}), make_subject("classic.abba")]
    campaign = Campaign(Plan(small, range(7), "metrics:of=random"))
    campaign.on_outcome = lambda outcome, _: outcomes.append(outcome)
    trio.run(campaign.run)
    block = packed(outcomes, list(range(7)))
    again = block_of(row_of(block))
    assert row_of(again) == row_of(block)
    assert (again.seeds, again.steps, again.micros) == (range(7), [one.steps for one in outcomes], list(range(7)))
    assert block.edges == again.edges != []


@pytest.mark.parametrize(
    "lost",
    [IN_THE_MIDDLE, "first < 40", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("0", "first >= 20", "1"))],
)
def test_resume_runs_what_is_missing(lost: str, whole: tuple[Drive, Path], tmp_path: Path) -> None:
    """Whatever blocks are missing: going on gives the sums and the files of an undisturbed run, and runs only those."""
    undisturbed, place = whole
    out = shutil.copytree(place, tmp_path / "out")
    forget(out, lost)
    with open_to_read(out) as store:
        there = sum(stop - first for first, stop in store.stored().items())
    ran: list[Outcome] = []
    with store_of(out, of := subjects(), "random", resume=True) as store:
        drive = Drive(Plan(of, ALL, "random", out), store, True)
        write = store.write

        def note(block: Block, outcomes: list[Outcome]) -> None:
            ran.extend(outcomes)
            write(block, outcomes)

        store.write = note  # type: ignore[assignment, method-assign]
        trio.run(drive.run)
    assert (there < len(ALL)) == (lost != "0")
    assert len(ran) == len(ALL) - there
    assert sums(drive) == sums(undisturbed)
    assert {path.name for path in out.glob("*.json")} == {path.name for path in place.glob("*.json")}


def test_other_seeds_extend_a_store(whole: tuple[Drive, Path], tmp_path: Path) -> None:
    """Seeds that follow, precede or overlap are added; the store has each seed once, and what it says is the sum."""
    out = tmp_path / "out"
    for seeds in (range(35, 45), range(10, 25), range(20, 38), ALL):
        run(out, seeds, resume=seeds == ALL)
    with open_to_read(out) as store:
        blocks = store.stored()
        view = overview_of(store, out)
    assert [seed for first, stop in sorted(blocks.items()) for seed in range(first, stop)] == list(ALL)
    tally = whole[0].tally
    assert (view.tally.digest, view.tally.schedules) == (tally.digest, len(ALL))
    assert view.tally.as_json()["marks"] == tally.as_json()["marks"]
    assert {name: found.count for name, found in view.tally.found.items()} == {
        name: found.count for name, found in tally.found.items()
    }
    assert view.left == []


def test_the_default_store_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --out a campaign has a directory of its own in the state directory, which --resume finds."""
    line = ["stress", f"{PROGRAMS}:Quiet", "--json", "--jobs", "1"]
    assert main([*line, "--resume"]) == 2
    assert "--resume: no campaign of this was run without --out" in capsys.readouterr().err
    assert main([*line, "--seeds", "25"]) == 0
    first = json.loads(capsys.readouterr().out)
    (home,) = (tmp_path / "state/ksmactors/campaigns").iterdir()
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    assert main([*line, "--resume"]) == 0  # of the seeds that it was asked for
    second = json.loads(capsys.readouterr().out)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_only_one_writes(tmp_path: Path) -> None:
    """A second campaign in the same directory at the same time is refused; reading is not."""
    of = subjects()
    with store_of(tmp_path, of, "random", resume=False):
        second = store_of(tmp_path, of, "random", resume=False)
        with pytest.raises(StoreInUse, match="another campaign writes there"), second:
            pass
        with open_to_read(tmp_path) as store:
            assert store.stored() == {}
    with store_of(None, of, "random", resume=False) as one, store_of(None, of, "random", resume=False) as other:
        assert one.path != other.path


@pytest.mark.parametrize(
    ("names", "strategy", "more", "why"),
    [
        (("Quiet",), "random", {}, "workloads are"),
        (("Quiet", "Deadlock"), "pos", {}, "strategy is random, not pos"),
        (("Quiet", "Deadlock"), "random", {"kernel": "v6.1"}, "kernel is series, not v6.1"),
        (("Quiet", "Deadlock"), "random", {"params": {"pages": 2}}, "params is"),
    ],
)
def test_another_campaign_is_refused(
    names: tuple[str, ...], strategy: str, more: dict[str, Any], why: str, tmp_path: Path
) -> None:
    """A store of another subject or strategy is left alone, and the message says what differs."""
    run(tmp_path, range(3))
    others = [
        make_subject(f"{PROGRAMS}:{name}", max_steps=2_000, **(more if name == "Quiet" or "params" not in more else {}))
        for name in names
    ]
    with pytest.raises(UsageError, match=why), store_of(tmp_path, others, strategy, resume=True):
        pass
    with open_to_read(tmp_path) as store:
        assert sum(stop - first for first, stop in store.stored().items()) == 3


def test_without_resume_another_campaign_is_set_aside(tmp_path: Path) -> None:
    """Its store gets another name, which is said, and has what it had; twice in a row, too."""
    run(tmp_path, range(3))
    lines: list[str] = []
    for strategy in ("pos", "urw"):
        with store_of(tmp_path, subjects(), strategy, resume=False, tell=lines.append) as store:
            assert store.stored() == {}
    assert [line.rpartition("its store is ")[2] for line in lines] == ["campaign.1.sqlite now", "campaign.2.sqlite now"]
    (tmp_path / "before").mkdir()
    (tmp_path / "campaign.1.sqlite").rename(tmp_path / "before" / "campaign.sqlite")
    with open_to_read(tmp_path / "before") as store:
        assert sum(stop - first for first, stop in store.stored().items()) == 3


def test_a_default_store_of_another_state_is_replaced(tmp_path: Path) -> None:
    """Without --out, a campaign of an older state of ksmactors makes room; with --resume it does not."""
    of = subjects()
    now, made = identity(of, "random"), made_with(of)
    with open_to_write(tmp_path, now | {"code": "before"}, made) as store:
        store.ask(range(3))
    with pytest.raises(UsageError, match="another state of ksmactors"), open_to_write(tmp_path, now, made):
        pass
    with open_to_write(tmp_path, now, made, replace=True) as store:
        assert store.asked() == []


def test_a_store_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    """When the disk is full, the campaign goes on without its store, and what is there stays."""
    of = subjects()
    with store_of(tmp_path, of, "random", resume=False) as store:
        pages = store.database.execute("PRAGMA page_count").fetchone()[0]
        store.database.execute(f"PRAGMA max_page_count = {pages + 1}")
        drive = Drive(Plan(of, range(40), "random"), store)
        trio.run(drive.run)
        assert "cannot be written" in store.problem
    assert drive.tally.schedules == 40
    with open_to_read(tmp_path) as store:
        assert sum(stop - first for first, stop in store.stored().items()) < 40


def test_stores_merge(whole: tuple[Drive, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stores of different seeds become one, with the sums of one run and its finding files; others are refused."""
    for name, seeds in (("a", range(31)), ("b", range(31, 60)), ("c", range(50, 52))):
        run(tmp_path / name, seeds)
    a, b, c, out = (str(tmp_path / name) for name in ("a", "b", "c", "out"))
    assert main(["campaign", "merge", b, a, "--out", out, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["digest"], said["seeds"], said["left"]) == (whole[0].tally.digest, "0:60", 0)
    assert [Path(one["file"]).name for one in said["findings"]] == [one["file"] for one in sums(whole[0])["findings"]]
    assert main(["replay", said["findings"][0]["file"], "--trust", "-q"]) == 1
    for line, why in (
        (["merge", b, c, "--out", str(tmp_path / "other")], "have seed 50 in common"),
        (["merge", a, b, "--out", out], "holds a campaign already"),
        (["merge", a, "--out", str(tmp_path / "other")], "two or more"),
        ([a, b], "shows one store"),
    ):
        capsys.readouterr()
        assert main(["campaign", *line]) == 2
        assert why in capsys.readouterr().err


def test_tables_for_others(tmp_path: Path) -> None:
    """--export writes a row for each schedule and each first finding, which DuckDB reads."""
    duckdb = pytest.importorskip("duckdb")
    drive = run(tmp_path / "out", range(30))
    assert main(["campaign", str(tmp_path / "out"), "--export", str(tmp_path / "to"), "-q"]) == 1
    assert main(["campaign", str(tmp_path / "out"), "--export", str(tmp_path / "to"), "-q"]) == 2
    rows = duckdb.sql(f"SELECT count(*), sum(steps), count(signature) FROM '{tmp_path}/to/schedules.parquet'")
    assert rows.fetchall() == [(30, drive.tally.steps, 15)]
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/to/findings.parquet'").fetchall() == [(1,)]


def test_analyze_reads_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`analyze` runs SQL over the schedules and findings of a store, and cannot reach files with it."""
    out = str(tmp_path / "out")
    run(tmp_path / "out", range(30))
    assert main(["analyze", out, "--json", "--sql", "SELECT count(*), count(signature) FROM schedules"]) == 1
    assert json.loads(capsys.readouterr().out)["rows"] == [[30, 15]]
    assert main(["analyze", out, "--sql", f"COPY (SELECT 1) TO '{tmp_path}/x'"]) == 2
    assert main(["analyze", out, "--races"]) == 2
    assert "analyze answers --sql, --parquet and --json" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_from_python(tmp_path: Path) -> None:
    """`ksmactors.stress` writes a store, goes on with it, and says where it cannot."""
    first = ksmactors.stress(f"{PROGRAMS}:Quiet", seeds=8, out=tmp_path)
    again = ksmactors.stress(f"{PROGRAMS}:Quiet", seeds=10, out=tmp_path, resume=True, jobs=2)
    assert (first.schedules, again.schedules) == (8, 10)
    assert again.digest == ksmactors.stress(f"{PROGRAMS}:Quiet", seeds=10).digest
    with pytest.raises(UsageError, match="resume"):
        ksmactors.stress(f"{PROGRAMS}:Quiet", seeds=10, resume=True)


def test_a_store_that_is_read_runs_nothing(tmp_path: Path) -> None:
    """What a store names is neither loaded nor run: its file may be gone."""
    source = tmp_path / "gone.py"
    shutil.copy(PROGRAMS, source)
    run(tmp_path / "out", range(6), of=[make_subject(f"{source}:Deadlock")])
    source.unlink()
    assert main(["campaign", str(tmp_path / "out"), "-q"]) == 1


def hostile(data: bytes, rng: Random) -> bytes:
    """A store with a few bytes changed, cut off, or repeated."""
    changed = bytearray(data)
    kind = rng.randrange(4)
    for _ in range(rng.choice((1, 3, 30))):
        place = rng.randrange(len(changed))
        if kind == 0:
            changed[place] = rng.randrange(256)
        elif kind == 1:
            changed[place : place + 8] = rng.randbytes(8)
        elif kind == 2:
            other = rng.randrange(len(changed))
            changed[place : place + 64] = changed[other : other + 64]
    return bytes(changed[: rng.randrange(len(changed))] if kind == 3 else changed)


def test_hostile_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged store is one line and status 2, or says what the whole one says; it never is a traceback."""
    run(tmp_path / "out", range(25))
    assert main(["campaign", str(tmp_path / "out"), "--json"]) == 1
    whole = json.loads(capsys.readouterr().out)
    data = (tmp_path / "out" / FILE).read_bytes()
    bad = tmp_path / "bad"
    bad.mkdir()
    rng, refused = Random(1), 0
    for _ in range(40):
        (bad / FILE).write_bytes(hostile(data, rng))
        status = main(["campaign", str(bad), "--json"])
        captured = capsys.readouterr()
        if status == 2:
            refused += 1
            assert captured.err.count("\n") == 1
        else:
            assert json.loads(captured.out)["digest"] == whole["digest"]
    assert refused > 10


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("CREATE VIEW v AS SELECT 1", "its tables are others"),
        ("CREATE TRIGGER t AFTER INSERT ON asked BEGIN DELETE FROM blocks; END", "its tables are others"),
        ("PRAGMA user_version = 2", "format 2, this version reads 1"),
        ("PRAGMA application_id = 7", "the SQLite file of another program"),
        ("DROP TABLE asked", "it has no table asked"),
        ("ALTER TABLE asked DROP COLUMN at", "table asked has other columns"),
        ("UPDATE blocks SET schedules = 3 WHERE first = 4", "was changed"),
        ("UPDATE blocks SET sums = '{}'", "was changed"),
        ("UPDATE findings SET signature = 'x'", "was changed"),
        ("DELETE FROM about", "is damaged"),
        ("UPDATE about SET value = '[]'", "is damaged"),
        ("UPDATE asked SET first = 'x'", "was changed"),
        ("UPDATE asked SET last = 7", "was changed"),
        ("UPDATE about SET value = 'null' WHERE name = 'begun'", "is damaged"),
        ("UPDATE about SET value = '1e300' WHERE name = 'begun'", "is no time"),
        (
            (
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000) "
                "INSERT INTO asked SELECT first, last, asked.at, checksum FROM asked, n"
            ),
            "more than 1000 times",
        ),
    ],
)
def test_a_store_that_was_tampered_with(
    change: str, why: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Tables, versions and rows that are not ours are refused in one line."""
    monkeypatch.setattr("ksmactors.campaign.store.ASKED_MAX", 1000)
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(change)
    db.close()
    assert main(["campaign", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert why in err
    assert err.count("\n") == 1


def test_what_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe, a directory, another database, an empty file: one line each, and nothing waits."""
    for number, make in enumerate((os.mkfifo, os.mkdir, lambda path: path.write_text("x"), lambda path: path.touch())):
        place = tmp_path / str(number)
        place.mkdir()
        make(place / FILE)  # type: ignore[no-untyped-call]
        assert main(["campaign", str(place)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        if number != 3:  # an empty file is the store of a campaign that was killed at once
            assert main(["stress", f"{PROGRAMS}:Quiet", "--seeds", "1", "-q", "--out", str(place)]) == 2
            assert capsys.readouterr().err.count("\n") == 1
