"""`--junit`, `--sarif` and `replay DIR` on the command line, and what a step of GitHub Actions gets."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import anyio.lowlevel
import orjson
import pytest

from ksmactors.cli import main
from ksmactors.files import check_writable
from ksmactors.plugins import Plugin
from ksmactors.run import calibration
from tests.ci.sarif_shape import breaches, relations
from workloads.classic import Lost

PROGRAMS: Final = Path(__file__).parents[1] / "helpers" / "statuses.py"

NINE: Final = '''
from ksmactors.model import Model, Table


class Nine(Model):
    """Finds another thing with each value that is drawn."""

    async def run(self, table: Table) -> None:
        number = table.draw("number", 40)
        await table.step()
        table.check(False, f"wrong_{number}", "::error::x ##[error]x,y:z 100%")
'''


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of GitHub Actions in a repository with a workload."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "nine.py").write_text(NINE)
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(root))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return root


def stress(*more: str) -> int:
    return main(["stress", "nine.py:Nine", "--seeds", "30", "--jobs", "1", "--strategy", "random", *more])


def test_a_step_of_github(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, standard output is one object; ten annotations are on standard error, at the user's line."""
    assert stress("--json", "--out", "findings") == 1
    captured = capsys.readouterr()
    content = orjson.loads(captured.out)
    assert len(content["findings"]) > 10
    lines = [line for line in captured.err.splitlines() if line.startswith("::")]
    line = (
        NINE.splitlines().index('        table.check(False, f"wrong_{number}", "::error::x ##[error]x,y:z 100%")') + 1
    )
    assert len(lines) == 10
    assert all(one.startswith(f"::error file=nine.py,line={line},title=nine.py%3ANine%3A model/") for one in lines[:-1])
    assert lines[-1].startswith(f"::error title=ksmactors::{len(content['findings']) - 9} more are not shown here")
    others = [line for line in captured.err.splitlines() if line not in lines]
    assert not [line for line in others if line.lstrip().startswith("::") or "##[" in line]
    assert "##[" not in captured.out
    summary = (repository.parent / "summary.md").read_text()
    assert summary.startswith("### ksmactors stress: ")
    assert f"nine&#46;py&#58;{line}" in summary


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("stress nowhere", 2, "no workload 'nowhere'"),
        ("stress broken.py:X", 2, "cannot be loaded: ModuleNotFoundError"),
        ("stress --nope", 2, "No such option '--nope'"),
        ("replay none", 2, "cannot be read"),
    ],
)
def test_what_ends_a_command(
    words: str, status: int, says: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a step, the line that says why a command has not worked is an annotation, too."""
    Path("broken.py").write_text("import nothing_here")
    assert main(words.split()) == status
    said, annotated = capsys.readouterr().err.splitlines()
    assert says in said
    assert annotated.startswith("::error title=ksmactors::")
    assert says in annotated


def test_a_plug_in_that_cannot_be_loaded(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes no other one down: a campaign of all workloads runs, and says so."""
    one = Plugin("classic.lost", Lost, "ksmactors 1")
    monkeypatch.setattr("ksmactors.plugins.available", lambda _, **__: ([one], ["x is bad"]))
    monkeypatch.setattr("ksmactors.cli.stress.Workload", object)
    assert main(["stress", "--seeds", "1", "-q", "--jobs", "1"]) in (0, 1)
    assert capsys.readouterr().err.startswith("ksmactors: x is bad\n::warning title=ksmactors::x is bad\n")


def test_without_github_there_is_no_command(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere nothing is annotated, and messages are shown as they are."""
    monkeypatch.delenv("GITHUB_ACTIONS")
    stress("--out", "findings", "-q")
    captured = capsys.readouterr()
    assert "::error file" not in captured.err
    assert "  ::error::x ##[error]x,y:z 100%\n" in captured.out
    assert not (repository.parent / "summary.md").exists()


def test_a_person_form_is_no_command(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a step, a message at the start of a line of the table's findings is no command to the runner."""
    stress("--out", "findings")
    out = capsys.readouterr().out
    assert "  \\x3a:error::x \\x23#[error]x,y:z 100%\n" in out


def written(file: str) -> Any:
    """A SARIF file, which must be one that the standard allows."""
    log = orjson.loads(Path(file).read_bytes())
    assert [*breaches(log), *relations(log)] == []
    return log["runs"][0]


@pytest.mark.parametrize(
    "words", [["stress", "{Finds}", "--jobs", "1", "--seeds", "3"], ["explore", "{Finds}"],
              ["replay", "{file}", "--trust"], ["replay", "{folder}", "--trust"], ["run", "{Finds}"]],
)  # fmt: skip
def test_files_of_each_command(words: list[str], repository: Path) -> None:
    """The same finding has the same rule and fingerprint in each command; JUnit has it as a failure unless expected."""
    finds = f"{PROGRAMS}:Finds"
    assert main(["stress", finds, "--jobs", "1", "--seeds", "1", "--out", "kept", "-q"]) == 1
    (file,) = Path("kept").glob("*.json")
    known = {"Finds": finds, "file": str(file), "folder": "kept"}
    command = [word.format(**known) for word in words]
    main([*command, "-q", "--junit", "r.xml", "--sarif", "r.sarif"])
    (result,) = written("r.sarif")["results"]
    assert result["ruleId"] == "model/wrong"
    assert result["partialFingerprints"]["ksmactorsSignature/v1"] == "statuses.py:Finds model/wrong@run"
    suite = ET.parse("r.xml").getroot()
    expected = words[1] == "{folder}"
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0" if expected else "1")
    assert result["level"] == ("note" if expected else "error")


def test_an_interrupted_command_keeps_what_it_found(repository: Path) -> None:
    """After Ctrl-C both files are written; what was not finished has not passed."""
    words = [
        "stress",
        f"{PROGRAMS}:Interrupted",
        "--seeds",
        "3",
        "--jobs",
        "1",
        "-q",
        "--junit",
        "r.xml",
        "--sarif",
        "r.sarif",
    ]
    assert main(words) == 130
    (case,) = ET.parse("r.xml").getroot().iter("testcase")
    assert [(one.tag, one.get("message")) for one in case] == [("skipped", "interrupted")]
    assert written("r.sarif")["results"] == []


def test_interrupted_while_it_looks(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while findings are looked at for code flows loses none of them."""

    async def press(_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("ksmactors.ci.flows._interleaving_of", press)
    assert main(["stress", f"{PROGRAMS}:Finds", "--seeds", "3", "-q", "--jobs", "1", "--sarif", "r.sarif"]) == 1
    assert "ksmactors: interrupted: code flows" in capsys.readouterr().err
    assert len(written("r.sarif")["results"]) == 1


def test_out_of_steps_is_not_passed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where schedules ran out of steps, no workload has passed: the sums do not say whose they were."""
    monkeypatch.setattr(calibration, "CALIBRATION_STEPS", 1000)
    names = [f"{PROGRAMS}:{name}" for name in ("Endless", "Fine")]
    line = ["stress", *names, "--jobs", "1", "--seeds", "4", "--max-steps", "50", "-q", "--junit", "r.xml"]
    assert main(line) == 4
    cases = list(ET.parse("r.xml").getroot().iter("testcase"))
    assert [[one.tag for one in case] for case in cases] == [["skipped"], ["skipped"]]
    assert cases[1][0].get("message") == "2 of 4 schedules of all workloads ran out of steps"


def test_an_old_file_is_replaced(repository: Path) -> None:
    """A file of the last run is replaced, and a link is replaced itself."""
    Path("elsewhere").write_text("kept")
    Path("r.xml").symlink_to("elsewhere")
    assert stress("-q", "--junit", "r.xml") == 1
    assert not Path("r.xml").is_symlink()
    assert Path("elsewhere").read_text() == "kept"


@pytest.mark.parametrize("path", ["none/r.xml", ".", "pipe", "/dev/full", "/dev/null", "x" * 300, "nine.py/r.xml"])
def test_what_cannot_be_written(path: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said before any schedule runs, in one line."""
    os.mkfifo("pipe")
    assert stress("--junit", path) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    said, annotated = captured.err.splitlines()
    assert said.startswith("ksmactors: --junit ")
    assert annotated.startswith("::error title=ksmactors::--junit ")
    assert sorted(path.name for path in Path().iterdir()) == ["nine.py", "pipe"]


def test_a_disk_that_is_full(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without room for the file no schedule is run; where the room goes in between, the findings are reported."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr("os.posix_fallocate", full)
        assert stress("--sarif", "r.sarif") == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.setattr("ksmactors.cli.ci_output.write_atomically", full)
    assert stress("--junit", "r.xml", "--sarif", "r.sarif", "--out", "findings", "-q") == 1
    err = capsys.readouterr().err
    assert err.count("No space left on device; name another file") == 0
    assert "ksmactors: --junit r.xml: cannot be written (No space left on device)" in err
    assert "ksmactors: --sarif r.sarif: cannot be written (No space left on device)" in err
    assert list(Path("findings").glob("*.json"))


def test_room_is_given_back(tmp_path: Path) -> None:
    """Finding out leaves nothing behind, and an old file is as it was."""
    (tmp_path / "old").write_text("x")
    check_writable(tmp_path / "old")
    check_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]
    assert (tmp_path / "old").read_text() == "x"


def test_a_folder_as_json(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder's object has what that of one replay has, and each regression."""
    stress("--out", "kept", "-q")
    Path("kept", "broken.json").write_text("{")
    capsys.readouterr()
    assert main(["replay", "kept", "--trust", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("::error file=kept/broken.json,line=1,title=broken.json::is no finding file: ")
    content = orjson.loads(captured.out)
    floor = {"workloads", "kernel", "without", "verdict", "schedules", "steps", "choices", "distinct", "seconds",
             "first_finding_at", "findings", "races", "digest"}  # fmt: skip
    assert floor <= content.keys()
    assert content["workloads"] == [str(repository / "nine.py") + ":Nine"]
    results = [one["result"] for one in content["regressions"]]
    assert results[0] == "refused"
    assert set(results[1:]) == {"as expected"}
    assert content["results"]["as_expected"] == len(results) - 1 == len(content["findings"])


def test_what_is_expected_is_written(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--set-expected` runs nothing; a file of the folder that is no finding is said, and the others are written."""
    stress("--out", "kept", "-q")
    Path("kept", "broken.json").write_text("{")
    Path("nine.py").write_text("raise ZeroDivisionError")
    capsys.readouterr()
    assert main(["replay", "kept", "--set-expected", "passes", "--json"]) == 2
    captured = capsys.readouterr()
    content = orjson.loads(captured.out)
    assert content["expected"] == "passes"
    assert all(orjson.loads(Path(file).read_bytes())["expected"] == "passes" for file in content["files"])
    assert "kept/broken.json: is no finding file" in captured.err
    for option in ("--explain", "--log=x", "--strategy=pos", "--junit=x"):
        assert main(["replay", "kept", "--set-expected", "passes", option]) == 2
        assert f"--set-expected replays nothing: leave {option.partition('=')[0]} out" in capsys.readouterr().err
