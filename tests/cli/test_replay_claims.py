"""`replay` compares what a finding file says with what it sees, or does not claim that it is the same."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

from ksmactors.cli import main

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finding file, made once."""
    out = tmp_path_factory.mktemp("found")
    line = ["run", "litmus.search_meets_migration", "--seed", "18", "--without", "ksm-page-migration", "-q"]
    assert main([*line, "--out", str(out)]) == 1
    (file,) = out.iterdir()
    return file


@pytest.fixture
def finding(found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finding file in a folder of its own, which a test may alter."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "found").mkdir()
    return Path(shutil.copy(found, tmp_path / "found"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("digest", "00"), ("digest", None), ("step", 5), ("message", "all is well"), ("verdict", "ok"), ("seed", 7)],
)
def test_a_file_that_was_altered_is_not_confirmed(finding: Path, key: str, value: object, capsys: Capsys) -> None:
    """Its replay is that of its schedule string; the line says what the file says otherwise."""
    assert main(["replay", str(finding)]) == 1
    assert "the same finding, event by event" in capsys.readouterr().err

    finding.write_text(json.dumps({**json.loads(finding.read_text()), key: value}))
    for more in ([], ["-q"]):
        assert main(["replay", str(finding), *more]) == 1
        said = capsys.readouterr().err
        assert "the same finding" not in said
        assert f"says otherwise: {key} {value!r} (it is " in said


def test_a_folder_with_an_altered_file_is_unexpected(finding: Path, capsys: Capsys) -> None:
    """As a regression test it fails."""
    assert main(["replay", str(finding.parent)]) == 0
    finding.write_text(json.dumps({**json.loads(finding.read_text()), "step": 5}))
    assert main(["replay", str(finding.parent)]) == 1
    assert "but the file says otherwise: step 5 (it is " in capsys.readouterr().out


def test_a_file_that_says_less_is_confirmed(finding: Path, capsys: Capsys) -> None:
    """A schedule with a signature is enough."""
    content = json.loads(finding.read_text())
    finding.write_text(json.dumps({key: content[key] for key in ("format", "schedule", "signature")}))
    assert main(["replay", str(finding)]) == 1
    assert "the same finding, event by event" in capsys.readouterr().err


def altered(finding: Path, **claims: object) -> str:
    """Have the finding file say something else; returns its name."""
    finding.write_text(json.dumps({**json.loads(finding.read_text()), **claims}))
    return str(finding)


OTHERWISE = "the same schedule, event by event, but {} says otherwise: step 5 (it is 298)"


def test_a_walk_to_the_end_does_not_confirm_an_altered_file(
    finding: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """`--step` compares as `replay` does, once it is at the end."""
    monkeypatch.setattr("sys.stdin", io.StringIO("end\n"))
    main(["replay", altered(finding, step=5), "--step"])
    assert capsys.readouterr().out.endswith(f"the end, at step 298: {OTHERWISE.format(finding)}\n")


@pytest.mark.parametrize("words", [["--until", "9999"], ["--until", "finding.found"]])
def test_a_point_that_is_the_end_does_not_confirm_an_altered_file(
    finding: Path, words: list[str], capsys: Capsys
) -> None:
    """`--until` says what the file says otherwise where the whole schedule has been replayed."""
    main(["replay", altered(finding, step=5), *words])
    assert OTHERWISE.format(finding) in capsys.readouterr().err
    main(["replay", str(finding), *words, "--json"])
    assert json.loads(capsys.readouterr().out)["differs"] == OTHERWISE.format(finding)


def test_continuations_do_not_confirm_an_altered_file(tmp_path: Path, capsys: Capsys) -> None:
    """`--explore` replays it all first. Where no continuation fails, the status is that of a replay that differs."""
    assert main(["run", "classic.lost", "--strategy", "default", "--json"]) == 0
    schedule = json.loads(capsys.readouterr().out)["schedule"]
    file = tmp_path / "finding.json"
    file.write_text(json.dumps({"format": 1, "schedule": schedule, "verdict": "finding"}))
    said = f"the same schedule, event by event, but {file} says otherwise: verdict 'finding' (it is 'ok')"
    assert main(["replay", str(file), "--explore", "1", "--strategy", "default"]) == 1
    assert said in capsys.readouterr().err


def test_standard_input_is_compared_too(finding: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """It is read once."""
    altered(finding, step=5)
    monkeypatch.setattr("sys.stdin", io.StringIO(finding.read_text()))
    assert main(["replay", "-"]) == 1
    assert OTHERWISE.format("standard input") in capsys.readouterr().err


def test_a_report_does_not_confirm_an_altered_file(finding: Path, tmp_path: Path, capsys: Capsys) -> None:
    """`report` says so, too."""
    assert main(["report", altered(finding, step=5), "--html", str(tmp_path / "page.html")]) == 1
    assert OTHERWISE.format(finding) in capsys.readouterr().err


def test_a_replay_names_the_file_of_its_finding(finding: Path, tmp_path: Path, capsys: Capsys) -> None:
    """The JSON object has the finding file that was replayed; a schedule string has none."""
    for words in ([], ["--until", "finding.found"]):
        assert main(["replay", str(finding), *words, "--json"]) == 1
        assert [one["file"] for one in json.loads(capsys.readouterr().out)["findings"]] == [str(finding)]
    schedule = json.loads(finding.read_text())["schedule"]
    assert main(["replay", schedule, "--json"]) == 1
    assert [one["file"] for one in json.loads(capsys.readouterr().out)["findings"]] == [None]
