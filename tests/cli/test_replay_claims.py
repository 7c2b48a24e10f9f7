"""`replay` compares what a finding file says with what it sees, or does not claim that it is the same."""

from __future__ import annotations

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
