"""Finding files and state files on the disk: whole or not there, where they belong, and nobody else's."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from ksmactors.campaign.explore import Budget, exploring, make_search
from ksmactors.campaign.findings import default_directory, kept, prepare, read, save
from ksmactors.campaign.state_file import perform, state_file
from ksmactors.cli import main
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.escaping import encodable
from ksmactors.interleave.strategies.registry import parse
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """A finding."""
    return trio.run(run_schedule, make_subject(f"{PROGRAMS}:Deadlock"), 0, "random")


def named(outcome: Outcome, **changes: str) -> Outcome:
    """The finding of a watcher that calls itself, or what it finds, something else."""
    assert outcome.defect is not None
    return replace(outcome, defect=replace(outcome.defect, **changes))  # type: ignore[arg-type]  # all are texts


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "a\0b", "x" * 5000, "\x1b[2J", "\u202e", "", "..", "é\udcff"]
)
def test_no_name_leads_elsewhere(name: str, outcome: Outcome, tmp_path: Path) -> None:
    """Whatever a watcher calls itself and its finding, the file is in the directory under a plain name."""
    out = tmp_path / "a" / "b"
    path = save(named(outcome, watcher=name, kind=name, message=name), prepare(out))

    assert [path] == list(out.iterdir())
    assert path.name.isascii()
    assert path.name.isprintable()
    assert read(str(path))["watcher"] == encodable(name)


def test_a_full_disk_leaves_no_empty_finding(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is kept, with the schedule itself in the replay command; the directory stays empty."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    found = kept(outcome, tmp_path)

    assert "No space left on device" in found.problem
    assert found.replay == f"ksmactors replay --trust {outcome.schedule}"
    assert list(tmp_path.iterdir()) == []


def test_no_link_is_followed(outcome: Outcome, tmp_path: Path) -> None:
    """A link under the finding's name is neither followed nor replaced: the finding gets the next name."""
    first = save(outcome, prepare(tmp_path / "first"))
    out = prepare(tmp_path / "out")
    (out / first.name).symlink_to(tmp_path / "elsewhere")

    assert save(outcome, out).name == first.name.replace(".json", ".2.json")
    assert not (tmp_path / "elsewhere").exists()


def test_the_default_directory_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings hold what the user's files and kernels have in them: nobody else may read them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    directory = prepare(default_directory())

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700


def test_what_is_no_finding_file(tmp_path: Path) -> None:
    """A device, a pipe, a directory, a NUL in the name, a huge file: one line each, and nothing hangs."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 40)
    cases = {
        "/dev/zero": "not a regular file", str(tmp_path / "pipe"): "not a regular file",
        str(tmp_path): "not a regular file", "a\0b": "cannot be read", str(tmp_path / "huge"): "larger than 64 MiB",
        "/proc/self/mem": "cannot be read",
    }  # fmt: skip
    for source, said in cases.items():
        with pytest.raises(UsageError, match=said):
            read(source)


@pytest.mark.parametrize(
    "content",
    ['{"schedule": "ksm2:x", "signature": 7}', "{" * 100_000, '{"schedule": ' + "9" * 5000 + "}", '{"a": "\\ud800"}'],
)
def test_finding_files_that_make_no_sense(content: str, tmp_path: Path) -> None:
    """Wrong types, nesting and numbers without end, half characters: refused as no finding file."""
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ScheduleFormatError):
        read(str(tmp_path / "x.json"))


def test_the_state_of_an_exploration(tmp_path: Path) -> None:
    """It replaces the one before as a whole; a link under its name, or the old temporary one's, is not followed."""
    exploration = exploring(make_subject("classic.reorder_3"), make_search(None, None), Budget(schedules=3), tmp_path)
    path = state_file(exploration)
    assert path is not None
    for name in (path, path.with_suffix(".new")):
        name.symlink_to(tmp_path / "elsewhere")

    assert perform(exploration, resume=False) == ""
    assert not path.is_symlink()
    assert not (tmp_path / "elsewhere").exists()
    again = exploring(make_subject("classic.reorder_3"), make_search(None, None), Budget(schedules=3), tmp_path)
    assert perform(again, resume=True) == ""
    assert again.tally.schedules == 6


@pytest.mark.parametrize("kind", ["pipe", "huge", "directory", "deep"])
def test_a_state_that_is_none(kind: str, tmp_path: Path) -> None:
    """What lies under the state's name is checked before it is read."""
    exploration = exploring(make_subject("classic.reorder_3"), make_search(None, None), Budget(), tmp_path)
    path = state_file(exploration)
    assert path is not None
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("[" * 100_000)
    if kind == "huge":
        os.truncate(path, 1 << 40)
    with pytest.raises(UsageError, match="--resume"):
        perform(exploration, resume=True)


def test_recording_follows_no_link(tmp_path: Path) -> None:
    """The strategy that writes choices down adds to a regular file; a link in its place is a usage error."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    deciding = parse(f"recording:to={tmp_path / 'link'},of=random")
    with pytest.raises(UsageError, match=r"strategy recording: .*link cannot be written"):
        trio.run(lambda: run_schedule(make_subject("exit_race"), 0, "recording", deciding=deciding))
    assert not (tmp_path / "elsewhere").exists()


def test_a_state_names_no_code_that_runs(tmp_path: Path) -> None:
    """What a state file says that it is of is compared with what was asked for, never loaded."""
    made = exploring(make_subject("classic.reorder_3"), make_search(None, None), Budget(schedules=3), tmp_path)
    perform(made, resume=False)
    path = state_file(made)
    assert path is not None
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'has_run')!r}, 'w')")
    state = json.loads(path.read_text())
    for key, value in {"workload": f"{evil}:X", "watch": [f"{evil}:X"], "with": [f"{evil}:X"]}.items():
        path.write_text(json.dumps({**state, "subject": {**state["subject"], key: value}}))
        again = exploring(make_subject("classic.reorder_3"), make_search(None, None), Budget(schedules=3), tmp_path)
        with pytest.raises(UsageError, match=f"is of another exploration: its {key} is"):
            perform(again, resume=True)
    assert not (tmp_path / "has_run").exists()


def test_a_directory_whose_name_is_not_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is found there can be replayed, and the campaign goes on."""
    out = tmp_path / "\udcff%?"
    words = ["stress", "classic.lost", "--jobs", "1", "--out", str(out), "--json"]
    assert main([*words, "--seeds", "2"]) == 1
    assert main([*words, "--seeds", "4", "--resume"]) == 1
    (file,) = out.glob("*.json")
    assert main(["replay", str(file), "-q"]) == 1
    assert main(["replay", str(out), "--json"]) == 0
    assert main(["campaign", str(out), "--json"]) == 1
    assert main(["compare", *words[1:], "--seeds", "2", "--without", "trivial-tidyups"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_signature_is_short(tmp_path: Path) -> None:
    """To lay out a page around megabytes takes minutes."""
    (tmp_path / "x.json").write_text(json.dumps({"schedule": "ksm2:AAAA", "signature": "x" * 5000}))
    with pytest.raises(ScheduleFormatError, match="its signature is no text of at most 4096 characters"):
        read(str(tmp_path / "x.json"))
