"""`report`: what it writes, what it refuses, and what it says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import trio

from ksmactors.cli import main
from ksmactors.interleave.schedule_string import decode, encode
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pytest.importorskip("perfetto", reason="the extra perfetto is missing")


@pytest.fixture
def finding(tmp_path: Path, capsys: Capsys) -> Path:
    """A finding file."""
    found = tmp_path / "found"
    found.mkdir()
    args = [
        "run",
        "numa_pingpong",
        "--seed",
        "1",
        "--without",
        "merge-across-nodes-migration",
        "--out",
        str(found),
        "-q",
    ]
    assert main(args) == 1
    capsys.readouterr()
    (file,) = found.iterdir()
    return file


@pytest.fixture
def log(tmp_path: Path, capsys: Capsys) -> Path:
    """A log without a finding."""
    file = tmp_path / "run.jsonl"
    assert main(["run", "litmus.scan_meets_exit", "--log", str(file), "--detail", "-q"]) == 0
    capsys.readouterr()
    return file


def refused(capsys: Capsys, *args: object) -> str:
    """What `report` says in one line when it ends with status 2 and has written nothing on standard output."""
    assert main(["report", *map(str, args)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_a_finding_becomes_a_trace(finding: Path, tmp_path: Path, capsys: Capsys) -> None:
    """The status says that there is a finding, standard error what was written; --quiet says nothing."""
    out = tmp_path / "out.pftrace"
    assert main(["report", str(finding), "--perfetto", str(out)]) == 1
    assert "out.pftrace" in capsys.readouterr().err
    assert out.stat().st_size > 10_000
    assert main(["report", str(finding), "--perfetto", str(tmp_path / "again"), "--quiet"]) == 1
    assert capsys.readouterr().err == ""
    assert (tmp_path / "again").read_bytes() == out.read_bytes()


def test_a_log_becomes_a_trace_and_one_that_is_cut_off_does_too(log: Path, tmp_path: Path, capsys: Capsys) -> None:
    """What could not be read is said; a log without a finding ends with 0. One of many is enough for 1."""
    assert main(["report", str(log), "--perfetto", str(tmp_path / "1"), "-q"]) == 0
    log.write_bytes(log.read_bytes()[:-10])
    assert main(["report", str(log), "--perfetto", str(tmp_path / "2"), "-q"]) == 0
    assert "cut off" in capsys.readouterr().err
    assert (tmp_path / "2").stat().st_size > 1000


def test_a_replay_that_differs_is_said(tmp_path: Path, capsys: Capsys) -> None:
    """A schedule without a finding ends with 0; with 1 if its events are others than those on record."""
    subject = make_subject("litmus.scan_meets_exit")
    outcome = trio.run(lambda: run_schedule(subject, 1, "random", keep=True))
    assert main(["report", outcome.schedule, "--perfetto", str(tmp_path / "1"), "-q"]) == 0
    schedule = decode(outcome.schedule)
    schedule.header["digest"] = "00" * 16
    assert main(["report", encode(schedule), "--perfetto", str(tmp_path / "2"), "-q"]) == 1
    assert "its events differ from the recorded ones" in capsys.readouterr().err
    assert (tmp_path / "2").stat().st_size == (tmp_path / "1").stat().st_size


def test_a_file_that_exists_is_replaced_with_force_only(log: Path, tmp_path: Path, capsys: Capsys) -> None:
    """It is as it was, and nothing was replayed for it; what is no file is never replaced."""
    out = tmp_path / "out"
    out.write_text("mine")
    assert "--force" in refused(capsys, log, "--perfetto", out)
    assert out.read_text() == "mine"
    assert main(["report", str(log), "--perfetto", str(out), "--force", "-q"]) == 0
    assert out.stat().st_size > 1000
    (tmp_path / "link").symlink_to(out)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        assert "is not a regular file" in refused(capsys, log, "--perfetto", tmp_path / name, "--force")


def test_nothing_is_left_of_a_trace_that_fails(tmp_path: Path, capsys: Capsys) -> None:
    """A log without an event: one line, no file, and no temporary one."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert main(["report", str(empty), "--perfetto", str(tmp_path / "out")]) == 2
    assert "no event" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["x.json"], "--perfetto FILE"),
        (["missing.json", "--perfetto", "out"], "missing.json: cannot be read"),
        (["missing\x1b[2J", "--perfetto", "out"], "missing\\x1b[2J"),
        (["x.json", "--perfetto", "no/folder/out"], "no directory"),
    ],
)
def test_a_misuse_is_one_line(
    args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """What is missing is named, and shown, not performed."""
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *args)


def test_a_workload_that_is_not_installed_is_one_line(finding: Path, tmp_path: Path, capsys: Capsys) -> None:
    """A finding from elsewhere."""
    content = json.loads(finding.read_text())
    schedule = decode(content["schedule"])
    schedule.header["workload"] = "theirs"
    finding.write_text(json.dumps({**content, "schedule": encode(schedule)}))
    said = refused(capsys, finding, "--perfetto", tmp_path / "out")
    assert "theirs" in said
    assert not (tmp_path / "out").exists()


def test_without_the_package_the_extra_is_named(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """`pip install 'ksmactors[perfetto]'`."""
    monkeypatch.setitem(sys.modules, "perfetto.trace_builder.proto_builder", None)
    assert "ksmactors[perfetto]" in refused(capsys, log, "--perfetto", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_finding_and_a_log_are_told_apart_by_what_is_in_them(finding: Path, log: Path, tmp_path: Path) -> None:
    """Whatever their names are; a schedule string is a finding, too, in a file or as it is."""
    from ksmactors.cli.report_sources import is_finding

    content = json.loads(finding.read_text())
    compact, string, foreign = (tmp_path / name for name in ("a.jsonl", "b", "c.json"))
    compact.write_text(json.dumps(content))
    string.write_text(f"\n {content['schedule']}\n")
    foreign.write_bytes(b"some line\n" + log.read_bytes())
    assert [is_finding(str(one)) for one in (finding, compact, string)] == [True] * 3
    assert is_finding(content["schedule"])
    assert [is_finding(str(one)) for one in (log, foreign)] == [False] * 2
    assert not is_finding("-")


def test_a_log_that_cannot_be_read_is_said_by_the_exit_status(tmp_path: Path, capsys: Capsys) -> None:
    """The rest is written; page and trace have the same status, as `analyze` has."""
    log, empty = tmp_path / "log.jsonl", tmp_path / "empty"
    empty.touch()
    assert main(["run", "litmus.scan_meets_migration", "--seed", "1", "--log", str(log), "--quiet"]) == 0
    for option in ("--html", "--perfetto"):
        out = tmp_path / f"out{option}"
        assert main(["report", str(log), str(empty), option, str(out), "--quiet"]) == 2
        assert "empty: is empty" in capsys.readouterr().err
        assert out.stat().st_size > 0
