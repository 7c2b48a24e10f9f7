"""Output options never replace what the command reads, nor each other's file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ksmactors.cli import main
from ksmactors.cli.outputs import refuse_overwriting

Capsys = pytest.CaptureFixture[str]

CODE = '''
from ksmactors.variant import Ksm
from ksmactors.workload import Workload

class Idle(Workload):
    async def run(self, host):
        pass

class Same(Ksm):
    """Changes nothing."""
'''

SCENARIO = "proc A\nmap A r 4\nfill A r 0 1\nmergeable A r\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finding, a log, a scenario with its recording, the store of a campaign, and a workload."""
    directory = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        without = ["--without", "merge-across-nodes-migration"]
        assert main(["run", "numa_pingpong", "--seed", "1", *without, "--log", "s.jsonl", "--out", "found", "-q"]) == 1
        (found,) = Path("found").iterdir()
        found.rename("found/f.json")
        Path("w.py").write_text(CODE)
        Path("s.txt").write_text(SCENARIO)
        Path("s.out").write_text("")
        assert main(["stress", "litmus.scan_meets_exit", "--seeds", "2", "--jobs", "1", "--out", "store", "-q"]) == 0
    return directory


@pytest.fixture(autouse=True)
def _files(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of that directory for each test, with a finding that has two more names."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("link.json").symlink_to("found/f.json")
    Path("hard.json").hardlink_to("found/f.json")


def contents() -> dict[str, bytes]:
    """All files, by name."""
    return {str(file): file.read_bytes() for file in Path().rglob("*") if file.is_file()}


REFUSED = [
    ("replay found/f.json --log found/f.json", "--log found/f.json: is the finding that is replayed"),
    ("replay found/f.json --log link.json", "--log link.json: is the finding that is replayed"),
    ("replay link.json --junit ./found/../found/f.json", "is the finding that is replayed"),
    ("replay found/f.json --sarif hard.json", "--sarif hard.json: is the finding that is replayed"),
    ("replay found --junit found/f.json", "--junit found/f.json: is a finding that is replayed"),
    ("shrink found/f.json --scenario found/f.json", "--scenario found/f.json: is the finding that is shrunk"),
    ("report found/f.json --html found/f.json --force", "--html found/f.json: is a finding or log that is read"),
    ("report s.jsonl --perfetto s.jsonl --force", "--perfetto s.jsonl: is a finding or log that is read"),
    ("report s.jsonl --perfetto x --html ./x", "--html and --perfetto name the same file, x"),
    ("analyze s.jsonl --html s.jsonl --force", "--html s.jsonl: is a log that is analyzed"),
    ("analyze events.parquet --parquet . --force", "--parquet events.parquet: is a log that is analyzed"),
    ("analyze found/f.json s.jsonl --compare --html found/f.json --force", "is a log that is analyzed"),
    ("campaign store --html store/campaign.sqlite --force", "is a store that is read"),
    ("campaign store --export d --html d/schedules.parquet", "--html and --export name the same file"),
    ("reproduce s.txt --c s.txt --force", "--c s.txt: is what the program is made of"),
    ("reproduce s.txt --report s.txt --force", "--report s.txt: is what the program is made of"),
    ("reproduce found/f.json --c found/f.json --force", "--c found/f.json: is what the program is made of"),
    ("reproduce s.txt --c x --report ./x", "--c and --report name the same file, x"),
    ("conform s.txt --junit s.txt", "--junit s.txt: is a scenario that is performed"),
    ("conform s.txt --against . --junit s.out", "--junit s.out: is a recording that is compared"),
    ("conform s.txt --with w.py:Same --junit w.py", "--junit w.py: is the code of a variant"),
    ("run w.py:Idle --log w.py", "--log w.py: is the code of"),
    (
        "run scenario -p file=s.txt --log s.txt",
        "--log s.txt: is a file that the workload, a variant, a watcher",
    ),
    ("run w.py:Idle --log x --junit x", "--log and --junit name the same file, x"),
    ("run w.py:Idle --junit x --sarif ./x", "--junit and --sarif name the same file, x"),
    ("run w.py:Idle --strategy recording:to=w.py", "--strategy recording w.py: is"),
    ("run w.py:Idle --strategy recording:to=x --log x", "--log and --strategy recording name the same file"),
    ("stress w.py:Idle --seeds 1 --log w.py", "--log w.py: is the code of"),
    ("stress w.py:Idle --seeds 1 --out d --log d/campaign.sqlite", "--log and --out name the same file"),
    ("explore w.py:Idle --junit w.py", "--junit w.py: is the code of"),
    ("compare scenario -p file=s.txt --with zero-pages --html s.txt --force", "--html s.txt: is a file that"),
    ("corpus X8 --strategy recording:to=x --junit x", "--junit and --strategy recording name the same file, x"),
]


@pytest.mark.parametrize(("line", "says"), REFUSED, ids=[line for line, _ in REFUSED])
def test_an_output_that_is_an_input_is_refused(line: str, says: str, capsys: Capsys) -> None:
    """The status is 2, one line names the option and what the file is, and no file has changed."""
    Path("d").mkdir()
    Path("events.parquet").write_bytes(Path("s.jsonl").read_bytes())
    before = contents()
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert not said.out
    assert len(lines := said.err.splitlines()) == 1, lines
    assert says in lines[0]
    assert contents() == before


def test_a_file_that_the_finding_names_is_not_replaced(capsys: Capsys) -> None:
    """Commands that replay a finding do not write to the scenario that it was made with."""
    assert main(["run", "scenario", "-p", "file=s.txt", "--json"]) == 0
    schedule = json.loads(capsys.readouterr().out)["schedule"]
    Path("f.json").write_text(json.dumps({"format": 1, "schedule": schedule}))
    for line in (
        "replay f.json --log s.txt",
        "report f.json --html s.txt --force",
        "report f.json --perfetto s.txt --force",
        "reproduce f.json --c s.txt --force",
    ):
        assert main(line.split()) == 2, line
        assert "s.txt: is a file that the workload, a variant" in capsys.readouterr().err
        assert Path("s.txt").read_text() == SCENARIO


def test_standard_input_counts_as_the_file_that_it_is(capsys: Capsys) -> None:
    """`replay - < f.json --log f.json` is refused too."""
    kept = os.dup(0)
    try:
        with Path("found/f.json").open("rb") as file:
            os.dup2(file.fileno(), 0)
            assert main(["replay", "-", "--log", "found/f.json"]) == 2
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert "is the finding that is replayed" in capsys.readouterr().err


def test_what_is_no_regular_file_is_no_clash() -> None:
    """Nothing is lost in /dev/null."""
    refuse_overwriting([("--log", "/dev/null"), ("--html", "/dev/null"), ("--c", None)], [("/dev/null", "read")])


@pytest.mark.parametrize(
    "words",
    ["stress --out", "run exit_race --out", "conform --against", "campaign --export", "analyze log --parquet",
     "report log --html", "reproduce H2 --c", "run exit_race --junit"],
)  # fmt: skip
def test_an_empty_name_is_no_directory(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable of a script that is not set does not stand for the working directory."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main([*words.split(), ""]) == 2
    assert "an empty name; write . for this directory" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
