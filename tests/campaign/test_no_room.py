"""Campaigns on a full disk, beside what killed ones have left, and with logs that are there already."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ksmactors import plugins
from ksmactors.campaign import fork_server
from ksmactors.campaign.log_parts import PREFIX, directory_for_parts
from ksmactors.campaign.store_files import FILE, open_to_read
from ksmactors.cli import main
from tests.campaign.test_damage import LINE, SEEDS, unfinished


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default directories are temporary ones."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def schedules_in(directory: Path) -> int:
    """Schedules in a store."""
    with open_to_read(directory) as store:
        return sum(stop - first for first, stop in store.stored().items())


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_file_that_cannot_grow(
    jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file may grow beyond 48 KiB, store and log end with one line each; the campaign goes on, with its exit
    status, and what is in the store stays right."""
    monkeypatch.setattr(fork_server.threading, "active_count", lambda: 1)  # workers are forks of what has the limit
    out = tmp_path / "out"
    with files_of_at_most(48 << 10):
        status = main([*LINE, "--jobs", jobs, "--out", str(out), "--detail", "--log", str(tmp_path / "log")])
    done = capsys.readouterr()
    assert status == 1
    assert f'"schedules": {SEEDS}' in done.out
    assert done.err.count("the rest of the log is lost") == 1
    assert done.err.count("the campaign goes on without it: make room") == 1
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob(f"{PREFIX}*"))
    assert 0 < schedules_in(out) < SEEDS
    assert main([*LINE, "--resume", "--jobs", "1", "--out", str(out)]) == 1
    assert schedules_in(out) == SEEDS


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process, or of one that it starts, grows beyond so many bytes."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def test_a_log_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--resume` logs what it runs itself: into a file that has content it does not."""
    log, line = tmp_path / "log", [*LINE, "--seeds", "4", "--jobs", "1", "--out", str(tmp_path), "--log"]
    assert main([*line, str(log)]) == 1
    before = log.read_bytes()
    capsys.readouterr()
    assert main([*line, str(log), "--resume"]) == 2
    assert "give another file" in capsys.readouterr().err
    assert log.read_bytes() == before
    assert main([*line, str(tmp_path / "other"), "--resume"]) == 1


def test_a_store_that_is_set_aside_is_one_file(tmp_path: Path) -> None:
    """What a killed campaign has left in its write-ahead log is in the store that another campaign sets aside."""
    assert main([*LINE, "--jobs", "1", "--out", str(tmp_path / "whole"), "-q"]) == 1
    before = unfinished(tmp_path / "whole", tmp_path / "out")
    count = schedules_in(before)
    for path in before.glob("*-shm"):
        path.unlink()
    assert main([*LINE, "--seeds", "4", "--strategy", "pos", "--jobs", "1", "--out", str(before), "-q"]) == 1
    assert sorted(path.name for path in before.glob("campaign.*")) == ["campaign.1.sqlite", FILE]
    aside = tmp_path / "aside"
    aside.mkdir()
    (before / "campaign.1.sqlite").rename(aside / FILE)
    assert schedules_in(aside) == count > SEEDS // 3


def test_parts_of_logs_that_were_left_are_removed(tmp_path: Path) -> None:
    """The next campaign removes what a killed one has left; nothing of one that is under way, nothing of others."""
    left, held, other = (tmp_path / f"{PREFIX}{name}" for name in ("left", "held", "other"))
    for directory in (left, held, other):
        directory.mkdir()
        (directory / "20").write_text("{}")
    (other / "precious").touch()
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with directory_for_parts(tmp_path) as directory:
        assert directory.parent == tmp_path
        with directory_for_parts(tmp_path):
            assert directory.exists()
    os.close(lock)
    assert sorted(tmp_path.glob(f"{PREFIX}*")) == [held, other]
    assert (held / "20").exists()
    assert (other / "precious").exists()


def test_a_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the working directory was removed, names of files are shown in full."""

    def gone() -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "cwd", gone)
    assert plugins.from_here("/x/y.py:Z") == "/x/y.py:Z"
