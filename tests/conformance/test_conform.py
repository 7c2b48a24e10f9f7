"""The command `conform`: what it prints, compares, and with which exit status it ends."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from ksmactors.cli import conform_sides, main
from ksmactors.conformance import emulator
from ksmactors.conformance.emulator import Setting, Transcript
from ksmactors.conformance.emulator_driver import OPERATIONS
from ksmactors.conformance.language import Scenario
from ksmactors.errors import Finding, StepLimit

HERE = Path(__file__).parent
SCENARIOS, RECORDED = HERE / "scenarios", HERE / "results" / "v3.9"
MERGE2 = SCENARIOS / "01_merge2.txt"


def conform(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `ksmactors conform ARGS`."""
    status = main(["conform", *map(str, args)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_without_against_the_results_are_printed_in_the_recorded_form(capsys: pytest.CaptureFixture[str]) -> None:
    """The output can be kept as a recording; but for where it was made it is the real kernel's."""
    status, out, err = conform(capsys, MERGE2, "--kernel", "v3.9")
    recorded = (RECORDED / "01_merge2.out").read_text().replace("# kernel 3.9.6", "# kernel ksmactors v3.9")
    assert (status, out, err) == (0, recorded, "")


def test_series_is_the_default_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a recording nothing else says which kernel is meant."""
    _, out, _ = conform(capsys, MERGE2)
    assert "# kernel ksmactors series\n" in out


def test_agreement_is_silent_but_for_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """The kernel comes from the recording; --quiet leaves the summary out, too."""
    assert conform(capsys, MERGE2, "--against", RECORDED) == (0, "", "1 scenario: 1 same\n")
    assert conform(capsys, MERGE2, "--against", RECORDED / "01_merge2.out", "--quiet") == (0, "", "")


def test_a_difference_is_a_unified_diff_and_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the recording says has a minus, what the emulator does a plus."""
    path = tmp_path / "01_merge2.out"
    path.write_text((RECORDED / "01_merge2.out").read_text().replace("= t8 shared=1", "= t8 shared=2"))
    status, out, err = conform(capsys, MERGE2, "--against", tmp_path)
    assert status == 1
    assert out.startswith(f"--- {path}\n+++ ksmactors v3.9\n@@ ")
    assert "\n-= t8 shared=2 sharing=1 unshared=1 volatile=1 full_scans=1 scanned=7\n" in out
    assert "\n+= t8 shared=1 sharing=1 unshared=1 volatile=1 full_scans=1 scanned=7\n" in out
    assert err == "1 scenario: 1 different\n"


def test_our_own_results_can_be_compared_with(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What was printed once is a recording of the emulator, and names its kernel."""
    _, out, _ = conform(capsys, MERGE2, "--kernel", "v3.9", "--nodes", "3")
    (tmp_path / "mine.out").write_text(out)
    assert conform(capsys, MERGE2, "--against", tmp_path / "mine.out")[0] == 0


def test_a_scenario_without_its_recording_is_not_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One of several is said; if there is none for any, the directory must be the wrong one."""
    mine = tmp_path / "mine.txt"
    mine.write_text("proc A\n")
    status, _, err = conform(capsys, MERGE2, mine, "--against", RECORDED)
    assert (status, err) == (0, f"mine has no recording {RECORDED / 'mine.out'}\n2 scenarios: 1 same, 1 not run\n")
    status, _, err = conform(capsys, mine, "--against", RECORDED)
    assert status == 2
    assert "no recording of any of these scenarios in it" in err


def test_a_recording_of_a_kernel_that_is_not_emulated_lists_those_that_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One line; with --kernel the comparison can be made all the same."""
    path = tmp_path / "01_merge2.out"
    path.write_text((RECORDED / "01_merge2.out").read_text().replace("# kernel 3.9.6", "# kernel 5.4.0"))
    status, out, err = conform(capsys, MERGE2, "--against", path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "recorded on 5.4.0, and v5.4 is not emulated; choose one of" in err
    assert "v3.9" in err
    assert conform(capsys, MERGE2, "--against", path, "--kernel", "v3.9")[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("proc A\nfil A r 0 1\n", "x.txt:2: unknown operation 'fil'; near it: fill"), ("", "x.txt: no operation in it")],
)  # fmt: skip
def test_bad_scenarios_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    """Nothing runs before all scenarios have been read."""
    (tmp_path / "x.txt").write_text(text)
    status, out, err = conform(capsys, MERGE2, tmp_path / "x.txt")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_unknown_kernels_and_paths_are_usage_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each is one line that names what was wrong."""
    for args, word in [
        ((MERGE2, "--kernel", "v9"), "v9"),
        ((tmp_path / "no.txt",), "no.txt"),
        ((tmp_path,), "NAME.txt"),
    ]:
        status, out, err = conform(capsys, *args)
        assert (status, out) == (2, "")
        assert word in err


def test_json_says_the_verdict_of_each(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One object on standard output; reasons go to standard error as well."""
    path = tmp_path / "01_merge2.out"
    path.write_text((RECORDED / "01_merge2.out").read_text().replace("= t8 shared=1", "= t8 shared=2"))
    (tmp_path / "mine.txt").write_text("proc A\n")
    status, out, _ = conform(capsys, MERGE2, tmp_path / "mine.txt", "--against", tmp_path, "--json")
    report = orjson.loads(out)
    assert status == 1
    assert [(one["name"], one["kernel"], one["verdict"]) for one in report["scenarios"]] == [
        ("01_merge2", "v3.9", "different"), ("mine", "series", "not run"),
    ]  # fmt: skip
    assert (report["same"], report["different"], report["not_run"]) == (0, 1, 1)
    assert report["scenarios"][0]["diff"][0] == f"--- {path}"
    assert "has no recording" in report["scenarios"][1]["reason"]


def test_colour_is_asked_for_or_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diff in a pipe is plain; --color always is coloured."""
    path = tmp_path / "01_merge2.out"
    path.write_text((RECORDED / "01_merge2.out").read_text().replace("= t8 shared=1", "= t8 shared=2"))
    assert "\x1b[" not in conform(capsys, MERGE2, "--against", path)[1]
    assert "\x1b[" in conform(capsys, MERGE2, "--against", path, "--color", "always")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in conform(capsys, MERGE2, "--against", path)[1]


@pytest.mark.parametrize(
    ("failure", "status"),
    [(Finding("deadlock", "deadlock", "f", "no actor can run"), 1), (StepLimit("no end"), 4)],
)  # fmt: skip
def test_a_scenario_that_fails_does_not_take_the_others_down(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: Finding | StepLimit, status: int
) -> None:
    """A finding is a finding, a livelock is inconclusive; the next scenario is performed all the same."""
    real = emulator.perform

    async def perform(scenario: Scenario, setting: Setting) -> Transcript:
        if scenario.name == "01_merge2":
            return Transcript(scenario, ("= half",), failure=failure)
        return await real(scenario, setting)

    monkeypatch.setattr(conform_sides, "perform", perform)
    assert conform(capsys, MERGE2, SCENARIOS / "02_merge3.txt", "--against", RECORDED) == (
        status, "", f"01_merge2 failed: {failure}\n2 scenarios: 1 same, 1 failed\n",
    )  # fmt: skip


def test_a_crash_names_the_scenario_and_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of the emulator is status 3, with a traceback and where in which scenario it was."""

    async def crash(*_: object) -> list[str]:
        raise RuntimeError("boom")

    monkeypatch.setitem(OPERATIONS, "counters", crash)
    status, _, err = conform(capsys, MERGE2, "--kernel", "v3.9")
    assert status == 3
    assert "RuntimeError: boom" in err
    assert f"in scenario {MERGE2}, after '> counters'" in err


def test_an_interrupt_keeps_what_was_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second scenario: the first one's verdict is reported, the status is 130."""
    real = emulator.perform

    async def perform(scenario: Scenario, setting: Setting) -> Transcript:
        if scenario.name != "01_merge2":
            raise KeyboardInterrupt
        return await real(scenario, setting)

    monkeypatch.setattr(conform_sides, "perform", perform)
    status, out, err = conform(capsys, MERGE2, SCENARIOS / "02_merge3.txt", "--against", RECORDED)
    assert (status, out) == (130, "")
    assert err == "1 scenario: 1 same\nksmactors: interrupted after 1 of 2 scenarios\n"
