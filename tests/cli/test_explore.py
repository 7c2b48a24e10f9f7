"""`explore` as a script sees it: JSON, text, files and exit statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from ksmactors.plugins import from_here

Capsys = pytest.CaptureFixture[str]

PROGRAMS = Path(__file__).parents[1] / "campaign" / "test_explore.py"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def asked(capsys: Capsys, *args: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json: its exit status is `status`, and standard output is one object."""
    assert main([*args, "--json"]) == status
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_json_has_what_the_contract_says(capsys: Capsys) -> None:
    """The object of `explore --json` has all keys of the contract, and what explorations have beside them."""
    content = asked(capsys, "explore", "classic.reorder_3", status=1)
    assert {
        "workloads", "kernel", "without", "verdict", "schedules", "steps", "choices", "distinct", "seconds",
        "first_finding_at", "findings", "races", "digest", "algorithm", "exhausted", "again", "branches_left", "marks",
        "never_reached",
    } <= content.keys()  # fmt: skip
    assert (content["verdict"], content["exhausted"], content["branches_left"]) == ("finding", True, 0)
    assert (content["workloads"], content["algorithm"]) == (["classic.reorder_3"], "dpor")
    assert content["first_finding_at"] <= 11
    assert content["schedules"] == content["distinct"] <= 200
    assert Path(content["findings"][0]["file"]).exists()


def test_what_it_finds_replays(capsys: Capsys) -> None:
    """`replay` of a finding file of `explore` finds the same, event by event."""
    content = asked(capsys, "explore", "classic.twostage", "--stop-at-first", status=1)
    assert main(["replay", content["findings"][0]["file"]]) == 1
    assert "the same finding, event by event" in capsys.readouterr().err


def test_the_verdict_is_told(capsys: Capsys) -> None:
    """A person reads the verdict with what it means, what was run again, and which marks nobody reached."""
    assert main(["explore", f"{PROGRAMS}:Right", "--algorithm", "bounded"]) == 0
    captured = capsys.readouterr()
    assert "verdict: exhausted: every order of dependent operations has been seen" in captured.out
    assert f"never reached: {from_here(f'{PROGRAMS}:Right')}: never" in captured.out
    assert captured.err.startswith(f"explore {PROGRAMS}:Right: bounded, kernel series, at most 20,000 schedules")


def test_findings_are_not_all_there_is_to_say(capsys: Capsys) -> None:
    """Beside its findings an exploration tells whether it has seen everything else."""
    assert main(["explore", "classic.reorder_3"]) == 1
    assert "findings aside: exhausted" in capsys.readouterr().out


def test_a_bound_is_told(capsys: Capsys) -> None:
    """`--preemptions` asks for the bounded search, and is in the verdict."""
    content = asked(capsys, "explore", f"{PROGRAMS}:Right", "--preemptions", "2")
    assert (content["verdict"], content["bound"], content["exhausted"]) == ("bounded", 2, False)


def test_resume(capsys: Capsys, tmp_path: Path) -> None:
    """An exploration that its budget ended exits with 4 and says how to go on; going on comes to the same end."""
    whole = asked(capsys, "explore", "classic.reorder_3", status=1)
    args = ("explore", "classic.reorder_3", "--out", str(tmp_path))
    assert main([*args, "--max-schedules", "1"]) == 4
    captured = capsys.readouterr()
    assert "inconclusive: the budget ended after 1 schedule" in captured.out
    assert (
        captured.err.splitlines(keepends=True)[-1]
        == f"ksmactors: not at its end; go on with --resume --out {tmp_path}\n"
    )
    rest = asked(capsys, *args, "--resume", status=1)
    assert {key: rest[key] for key in ("digest", "schedules", "first_finding_at", "exhausted")} == {
        key: whole[key] for key in ("digest", "schedules", "first_finding_at", "exhausted")
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--algorithm", "magic"], "no algorithm 'magic'; there are: dpor, bounded"),
        (["--algorithm", "dpor", "--preemptions", "1"], "the algorithm dpor has no bound"),
        (["--resume"], "--resume: no exploration of classic.lost was interrupted with --out"),
        (["-p", "wokers=2"], "no parameter 'wokers'"),
    ],
)
def test_usage_is_told_in_one_line(args: list[str], message: str, capsys: Capsys) -> None:
    """What does not exist or does not go together is told in one line, with exit status 2."""
    assert main(["explore", "classic.lost", "-q", *args]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_workload_that_is_not_deterministic(capsys: Capsys) -> None:
    """A workload that is no function of its choices is told in one line, as a crash of its own."""
    assert main(["explore", f"{PROGRAMS}:Remembers", "-q"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("ksmactors: the workload is not deterministic: ")
    assert err.count("\n") == 1


def test_a_search_is_no_strategy(capsys: Capsys) -> None:
    """`stress --strategy dpor` says which command goes through all schedules."""
    assert main(["stress", "classic.lost", "-q", "--strategy", "dpor", "--seeds", "1"]) == 2
    assert "use `ksmactors explore --algorithm dpor`" in capsys.readouterr().err


def test_a_state_that_does_not_say_of_what(capsys: Capsys, tmp_path: Path) -> None:
    """`--resume` with a damaged state file is told in one line, with exit status 2."""
    args = ["explore", "classic.reorder_3", "-q", "--out", str(tmp_path), "--max-schedules", "1"]
    assert main(args) == 4
    (path,) = tmp_path.glob("exploration-*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"subject": 5}))
    capsys.readouterr()
    assert main([*args, "--resume"]) == 2
    err = capsys.readouterr().err
    assert f"--resume: {path} does not say what it is an exploration of" in err
    assert err.count("\n") == 1
