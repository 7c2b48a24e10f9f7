"""Replaying a failure of a marked test."""

from __future__ import annotations

import json

import pytest

from ksmactors.cli import main
from tests.pytest_plugin.project import LOST, Run, replay_of, with_second

pytest_plugins = ("pytester",)


def test_the_printed_command_replays(run: Run) -> None:
    """Pasted, it fails the same way under one schedule; without the name of the test, the file selects it."""
    replay = replay_of(run(LOST))
    for arguments in (replay, replay[1:]):
        result = run("", *arguments)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["this is the recorded schedule", "*1 schedule, 1 distinct, of 1 test"])


def test_the_schedule_string_replays(run: Run, pytester: pytest.Pytester) -> None:
    """A schedule string will do in place of the file."""
    test, option, file = replay_of(run(LOST))
    schedule = json.loads((pytester.path / file).read_text())["schedule"]

    run("", test, option, schedule).assert_outcomes(failed=1)


def test_a_repaired_test_passes_its_replay(run: Run) -> None:
    """Where the code has changed and the steps do not fit, the replay passes if the failure is gone, and says so."""
    replay = replay_of(run(LOST))
    repaired = LOST.replace("        await trio.lowlevel.checkpoint()\n", "")
    result = run(repaired, *replay)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the recorded steps do not fit*"])


def test_no_finding_file_can_be_written(run: Run, pytester: pytest.Pytester) -> None:
    """The command has the schedule string instead, and the reason is said."""
    (pytester.path / "taken").write_text("a file")
    result = run(LOST, "--interleave-out", "taken")

    result.stdout.fnmatch_lines(["the finding file cannot be written: *taken*"])
    run("", *replay_of(result)).assert_outcomes(failed=1)


def test_findings_go_where_they_are_told(run: Run, pytester: pytest.Pytester) -> None:
    """`--interleave-out` names the directory."""
    run(LOST, "--interleave-out", "here")

    assert [path.suffix for path in (pytester.path / "here").iterdir()] == [".json"]


BAD_REPLAYS = (
    ("nothing.json", "nothing.json"),
    ("test_it.py", "is neither a finding file nor a schedule string"),
)


@pytest.mark.parametrize(("source", "message"), BAD_REPLAYS)
def test_what_cannot_be_replayed(run: Run, source: str, message: str) -> None:
    """A wrong source is one line of usage."""
    result = run(LOST, "--interleave-replay", source)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any(message in line for line in result.errlines)


def test_a_replay_of_another_test(run: Run) -> None:
    """If no collected test is it, a single one is taken as its new name; of several, one must be named."""
    replay = replay_of(run(LOST))
    renamed = LOST.replace("test_lost", "test_renamed")
    run(renamed, *replay[1:]).assert_outcomes(failed=1)
    result = run(with_second(renamed, "test_renamed"), *replay[1:])

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any("the schedule is one of test_it.py::test_lost" in line for line in result.errlines)


def test_the_command_line_sends_to_pytest(
    run: Run, pytester: pytest.Pytester, capfd: pytest.CaptureFixture[str]
) -> None:
    """`ksmactors replay` of such a file says which command replays it; so does the file itself."""
    *_, file = replay_of(run(LOST))
    capfd.readouterr()

    assert main(["replay", file]) == 2
    assert f"which pytest replays: pytest test_it.py::test_lost --interleave-replay {file}" in capfd.readouterr().err
    assert json.loads((pytester.path / file).read_text())["replay"].startswith("pytest test_it.py::test_lost ")
