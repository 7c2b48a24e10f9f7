"""Findings from elsewhere: they run no code unasked, the files that they name are shown, and they can be moved."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ksmactors
from ksmactors import kernels
from ksmactors.cli import main
from ksmactors.diagnose.replaying import recorded
from ksmactors.errors import PluginError, UsageError
from ksmactors.interleave.schedule_string import Schedule, decode, encode
from ksmactors.interleave.strategies import registry
from ksmactors.run.outcome import Verdict
from ksmactors.run.trust import FILE_MAX, needs_trust
from ksmactors.watch import WATCHERS
from tests.run.test_header import changed

MINE = '''
"""Code of a user: one class of each kind."""

from pathlib import Path

from ksmactors.errors import Finding
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.ksm.kernel import Ksm
from ksmactors.watch.base import Watcher
from ksmactors.workload import FilePath, Host, Workload

Path(__file__).with_name("has_run").touch()


class Pages(Workload):
    """some pages"""

    file = FilePath(None, "a file that is read")

    def prepare(self) -> None:
        self.content = self.file.read_bytes() if self.file else b""

    async def run(self, host: Host) -> None:
        process = host.process("A")
        await process.write(await process.map(4), 0, 1)


class Never(Watcher):
    """reports always"""

    name = "never"
    summary = "reports always"

    def at_quiescence(self) -> None:
        raise Finding(self.name, "was_quiet", "nowhere", "it was quiet")


class Same(Ksm):
    """does all as ever"""


class Walk(RandomWalk):
    """a walk"""

    name = "walk"
    summary = "a walk"
'''

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _forget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test has loaded and registered is there for no other one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    tables = (registry.STRATEGIES, kernels.VARIANTS, WATCHERS)
    before = [set(table) for table in tables]
    yield
    forget_code()
    for table, names in zip(tables, before, strict=True):
        for name in table.keys() - names:
            del table[name]  # type: ignore[attr-defined]  # the tables differ in what they hold


def forget_code() -> None:
    """Have the files loaded anew, as in a new process."""
    for name in [name for name in sys.modules if name.startswith("ksmactors-file:")]:
        del sys.modules[name]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of a user."""
    path = tmp_path / "work" / "mine.py"
    path.parent.mkdir()
    path.write_text(MINE)
    return path


def found_in(mine: Path, *more: str, strategy: str = "random") -> Path:
    """A finding with code of that file, in a directory beside it; the file is then as if it had never been loaded."""
    out = mine.parent.parent / "found"
    command = ["stress", f"{mine}:Pages", "--watch", f"all,{mine}:Never", "--seeds", "1", "--strategy", strategy]
    assert main([*command, "--out", str(out), "-q", *more]) == 1
    forget_code()
    ran(mine).unlink()
    (file,) = out.glob("*.json")
    return file


def ran(mine: Path) -> Path:
    """What is there once the file has been run."""
    return mine.with_name("has_run")


@pytest.mark.parametrize("how", ["{path}:{name}", "evil:{name}"])
@pytest.mark.parametrize(
    ("key", "what", "name"),
    [
        ("workload", "workload", "Pages"),
        ("with", "variant", "Same"),
        ("without", "variant", "Same"),
        ("watch", "watcher", "Never"),
        ("strategy", "strategy", "Walk"),
        ("strategy", "strategy", "Walk:weight=2"),
    ],
)
@pytest.mark.parametrize("command", ["replay", "shrink"])
def test_a_file_runs_no_code(
    command: str,
    key: str,
    what: str,
    name: str,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:
    """A header that names a file or a module is refused without --trust: its code does not run, and both are said."""
    path = tmp_path / "evil.py"
    path.write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    spec = how.format(path=path, name=name)
    value = [spec] if key in ("with", "without", "watch") else spec

    for source in (changed(**{key: value}), changed(strategy=f"metrics:of={spec}") if key == "strategy" else None):
        if source is not None:
            assert main([command, source]) == 2
            err = capsys.readouterr().err
            assert f"the finding names the {what} {spec.removesuffix(':weight=2')}, which would run the " in err
            assert (f"the file {path}" if how.startswith("{") else "the module evil") in err
            assert "--trust" in err
            assert needs_trust(source)
    assert not ran(path).exists()
    assert "evil" not in sys.modules


def test_what_is_registered_needs_no_trust() -> None:
    """Plug-ins are installed by the user: by name, or by the module and class that are registered under it."""
    assert not needs_trust(changed())
    for spec in ("exit_race", "workloads.exit_race:ExitRace"):
        assert recorded(changed(workload=spec)).subject.name == spec


def test_a_strategy_that_writes_to_a_file(tmp_path: Path, capsys: Capsys) -> None:
    """A strategy with the name of a file is refused, also where another one wraps it; a file is never touched."""
    for strategy in (f"recording:to={tmp_path / 'x'}", f"metrics:of=recording:to={tmp_path / 'x'},of=pos"):
        assert main(["replay", changed(strategy=strategy)]) == 2
        assert f"the strategy recording with the file {tmp_path / 'x'}, which it could write" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_four_kinds_are_named_in_the_same_ways(mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """By path and by module, on the command line: all of them, and a finding names them so."""
    finding = found_in(mine, "--with", f"{mine}:Same", strategy=f"metrics:of={mine}:Walk")
    header = decode(json.loads(finding.read_text())["schedule"]).header
    assert (header["workload"], header["with"]) == (f"{mine}:Pages", [f"{mine}:Same"])
    assert f"{mine}:Never" in header["watch"]
    assert header["strategy"] == f"metrics:of={mine}:Walk"
    assert main(["replay", str(finding), "--trust"]) == 1
    assert "the same finding, event by event" in capsys.readouterr().err

    monkeypatch.syspath_prepend(mine.parent)
    kinds = ["--with", "mine:Same", "--watch", "mine:Never", "--strategy", "mine:Walk"]
    assert main(["run", "mine:Pages", *kinds, "-q"]) == 1
    del sys.modules["mine"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--with", "{mine}:Never"], "variant {mine}:Never: Never is not a subclass of ksmactors.variant.Ksm"),
        (["--with", "{mine}:Sane"], "its variants are: Same"),
        (["--watch", "{mine}:Same"], "its watchers are: Never"),
        (["--watch", "{mine}"], "write {mine}:CLASS"),
        (["--strategy", "{mine}:Same"], "its strategies are: RandomWalk, Walk"),
        (["--strategy", "{mine}:Walk:weight=9"], "has no parameter 'weight'"),
        (["--with", "nowhere/x.py:Y"], "there is no file "),
        (["--with", "nowhere.at_all:Y"], "No module named 'nowhere'"),
        (["--without", "{mine}:Same"], "no commit or variant"),
    ],
)
def test_a_class_that_is_not_there(options: list[str], said: str, mine: Path, capsys: Capsys) -> None:
    """Each kind says what the file has instead."""
    assert main(["run", "exit_race", *(option.format(mine=mine) for option in options)]) == 2
    assert said.format(mine=mine) in capsys.readouterr().err


def test_the_commands_that_are_printed_say_trust(mine: Path, capsys: Capsys) -> None:
    """Where `--trust` is needed, the replay command in the finding file and on screen has it; else it has not."""
    finding = found_in(mine)
    command = f"ksmactors replay --trust {finding}"
    assert json.loads(finding.read_text())["replay"] == command
    assert main(["stress", f"{mine}:Pages", "--watch", f"{mine}:Never", "--seeds", "1"]) == 1
    assert "replay: ksmactors replay --trust " in capsys.readouterr().out


def test_python_asks_too(mine: Path) -> None:
    """`ksmactors.replay` and `ksmactors.shrink` run no code either, unless told to."""
    finding = found_in(mine)
    for run in (ksmactors.replay, ksmactors.shrink):
        with pytest.raises(UsageError, match="trust=True"):
            run(finding)
    assert not ran(mine).exists()
    assert ksmactors.replay(finding, trust=True).verdict is Verdict.FINDING


def test_a_finding_moves_with_its_files(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """Moved together, the finding finds its files beside it, from any folder; alone, it finds them where they were."""
    data = mine.with_name("data.bin")
    data.write_bytes(b"x")
    monkeypatch.chdir(mine.parent)
    finding = found_in(mine, "-p", "file=data.bin")
    monkeypatch.chdir("/")
    alone = tmp_path / "elsewhere" / "alone.json"
    alone.parent.mkdir()
    shutil.copy(finding, alone)
    assert main(["replay", "--trust", str(alone), "-q"]) == 1
    assert f"reads {data} (1 byte), named by the finding (-p file)" in capsys.readouterr().err

    moved = tmp_path / "moved"
    moved.mkdir()
    for part in ("work", "found"):
        (tmp_path / part).rename(moved / part)
    forget_code()
    assert main(["replay", "--trust", str(moved / "found" / finding.name)]) == 1
    err = capsys.readouterr().err
    assert f"reads {moved / 'work' / 'data.bin'} (1 byte)" in err
    assert "the same finding, event by event" in err
    assert (moved / "work" / "has_run").exists()


def test_of_two_files_it_is_the_one_that_was_recorded(mine: Path, tmp_path: Path, capsys: Capsys) -> None:
    """Where another file lies at the relative place, the recorded one is taken by its hash, wherever it is."""
    finding = found_in(mine)
    copy = tmp_path / "moved" / "found" / finding.name
    copy.parent.mkdir(parents=True)
    shutil.copy(finding, copy)
    other = tmp_path / "moved" / "work" / "mine.py"
    other.parent.mkdir()
    other.write_text(f"{MINE}\n# another\n")
    assert main(["replay", "--trust", str(copy), "-q"]) == 1
    assert ran(mine).exists()
    assert not ran(other).exists()
    assert "has changed" not in capsys.readouterr().err


def test_a_changed_source_is_said(mine: Path, capsys: Capsys) -> None:
    """A file that is another one now is said in one line; then its steps are tried, and its names."""
    finding = found_in(mine)
    mine.write_text(
        MINE.replace('host.process("A")', 'host.process("B")\n        await process.write(await process.map(4), 0, 1)')
    )
    assert main(["replay", "--trust", str(finding), "-q"]) == 1
    err = capsys.readouterr().err
    assert err.count(f"ksmactors: {mine} has changed since the finding was recorded; where its steps do not fit") == 1
    assert "by name" in err


def test_a_schedule_string_alone_has_the_whole_path(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """A workload that was named by a relative path is found from another folder, and the events are the same."""
    monkeypatch.chdir(mine.parent)
    assert main(["run", "mine.py:Pages", "--strategy", "mine.py:Walk", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    monkeypatch.chdir("/")
    forget_code()
    assert main(["replay", "--trust", content["schedule"], "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["digest"] == content["digest"]
    assert "the same schedule, event by event" in captured.err


def test_findings_of_earlier_versions(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path without `sources` is looked for where it was always looked for, then beside the finding."""
    finding = found_in(mine)
    content = json.loads(finding.read_text())
    schedule = decode(content["schedule"])
    header = schedule.header | {"workload": "mine.py:Pages", "watch": ["shadow"]}
    content["schedule"] = encode(Schedule(header, schedule.turns, schedule.draws, schedule.departures))
    del content["sources"]
    for home, cwd in ((mine.parent, "/"), (finding.parent, mine.parent)):
        old = home / "old.json"
        old.write_text(json.dumps(content))
        monkeypatch.chdir(cwd)
        assert Path(recorded(str(old), trust=True).subject.name) == mine.with_name("mine.py:Pages")


@pytest.mark.parametrize(
    "wrong", [7, "x", [7], [{}], [{"file": "x"}], [{"file": 3, "sha256": "y"}], [{"file": "x\0", "sha256": ""}]]
)
def test_sources_that_are_none(wrong: object, mine: Path, tmp_path: Path, capsys: Capsys) -> None:
    """What a finding says of its files is checked like the rest of it."""
    content = json.loads(found_in(mine).read_text())
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({**content, "sources": wrong}))
    assert main(["replay", "--trust", str(path)]) == 2
    assert "sources must" in capsys.readouterr().err


class TestNamedFiles:
    def test_a_file_is_shown_before_it_is_read(self, tmp_path: Path, capsys: Capsys) -> None:
        """The image or scenario that a finding names is said in one line on standard error."""
        scenario = tmp_path / "scenario.txt"
        scenario.write_text("proc A\nmap A r 2\nfill A r 0 7\n")
        assert main(["run", "scenario", "-p", f"file={scenario}", "--json"]) == 0
        schedule = json.loads(capsys.readouterr().out)["schedule"]
        assert main(["replay", schedule, "-q"]) == 0
        assert capsys.readouterr().err == f"ksmactors: reads {scenario} (30 bytes), named by the finding (-p file)\n"
        with pytest.warns(UserWarning, match=r"reads .*scenario\.txt"):
            ksmactors.replay(schedule)

    @pytest.mark.parametrize("kind", ["device", "pipe", "directory", "gone", "large", "none"])
    def test_what_is_not_read(self, kind: str, tmp_path: Path, capsys: Capsys) -> None:
        """A device, a pipe, a directory or a huge file is refused unopened; and so is one that is not there."""
        path = {"device": Path("/dev/zero"), "none": Path()}.get(kind, tmp_path / "file")
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "large":
            path.touch()
            os.truncate(path, FILE_MAX + 1)
        for workload, name in (("scenario", "file"), ("vm_fleet", "image")):
            assert main(["replay", changed(workload=workload, params={name: str(path)})]) == 2
            err = capsys.readouterr().err
            assert "named by the finding" in err
            assert err.count("\n") == 1


def test_a_changed_file_is_not_run_from_a_cache(mine: Path) -> None:
    """Code named by its path is what the file holds now: no translation of an earlier text is written or used."""
    from ksmactors.plugins import load, source_hash

    load("workloads", f"{mine}:Pages")
    first = source_hash(mine)
    forget_code()
    stamp = mine.stat()
    mine.write_text(MINE.replace("some pages", "more pages"))
    os.utime(mine, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert load("workloads", f"{mine}:Pages").value.summary == "more pages"
    assert source_hash(mine) != first
    assert not mine.with_name("__pycache__").exists()


def test_a_file_that_is_too_large_or_none(tmp_path: Path) -> None:
    """A Python file is a regular one of a sensible size."""
    from ksmactors.plugins import SOURCE_MAX, load_workload

    path = tmp_path / "big.py"
    path.touch()
    os.truncate(path, SOURCE_MAX + 1)
    with pytest.raises(UsageError, match="is larger than 16 MiB"):
        load_workload(f"{path}:X")
    path.write_bytes(b"\0")
    with pytest.raises(PluginError, match="cannot be loaded"):
        load_workload(f"{path}:X")
