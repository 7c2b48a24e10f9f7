"""A schedule as a scenario with holds: what is written, what cannot be, and whether it leads to the same finding."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ksmactors.campaign.corpus import show, subject_of
from ksmactors.campaign.findings import save
from ksmactors.cli import main
from ksmactors.conformance.language import parse
from ksmactors.conformance.places import places
from ksmactors.diagnose import scenario_text
from ksmactors.diagnose.replaying import by_names, recorded
from ksmactors.diagnose.scenario_text import Written, write_scenario
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES
from ksmactors.interleave.schedule_string import decode
from ksmactors.run.outcome import Outcome

BY_NAME = {case.name: case for case in (CASES.values() if isinstance(CASES, dict) else CASES)}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that does not lead there as it is, is tried around a few times only: no test finds anything so."""
    monkeypatch.setattr(scenario_text, "SEEDS", 3)


def shown(case: Case) -> Outcome:
    return trio.run(show, case).outcome


def written(name: str) -> Written:
    """The scenario for the directed schedule of a case."""
    case = BY_NAME[name]
    outcome = shown(case)
    return trio.run(write_scenario, subject_of(case), 0, outcome, decode(outcome.schedule).departures)


def test_a_switch_within_a_call_is_a_hold() -> None:
    """S5: ksmd stops in the middle of get_ksm_page, a migration goes by, ksmd goes on; the finding is the same."""
    scenario = written("S5")
    assert scenario.led_to == "performed as it is, it leads to naming/freed_while_named@free_stable_node"
    lines = scenario.text.splitlines()
    hold = next(number for number, line in enumerate(lines) if line.startswith("hold "))
    task, place = lines[hold].split()[1], lines[hold].split()[3]
    assert task in ("ksmd", "migrate")
    assert place in places()
    assert lines[hold + 1].startswith(("bg step", "bg migrate"))


@pytest.mark.parametrize("name", ["S4b", "R7", "F5", "H2", "N2"])
def test_cases_of_the_corpus(name: str) -> None:
    """Scenarios for exits, forks, migrations, knobs and chains lead where their schedules do, in the same words."""
    scenario = written(name)
    assert scenario.led_to == f"performed as it is, it leads to {BY_NAME[name].signature}"
    if name == "H2":
        assert scenario == written(name)


def test_an_access_and_its_page_fault_are_one() -> None:
    """H4: A's read is held within its page fault, while run=2 unmerges."""
    lines = written("H4").text.splitlines()
    held = lines.index("bg read A r0 0 1")
    assert lines[held - 1] == "hold A at swapin.relock"
    assert lines[held + 1 :] == ["bg set run 2", "release A"]


EXIT = (
    "ksm2:HU__S3jaTVDLbttADJQfCHosUKC9FntWmtiJg1i3Ip9RFAK9S8kL7UMgqThGkHs_u1zZh-yFA86QM8t_63fjfI8spjG4f7D3sN08b-z"
    "zU-fc4WG33cP-aQebx0cEa2ozICUMqmUkj6ydCG8tC45smt39_GqTslOu2dZmBIKo8P2j1hF0plGahUCwP-uaLoeQT7rmBGKPpvlj-Ahu7gT"
    "fofiICoVw9koQfeoVEHZImOzcPQav8Wtj85QEqbRO5AUOoczGkO1Qqu_V1edUVmcLwctZ4ZQiUl-EQ8oHLSNN6WoSYZzXptciUbeZzj0h8xz"
    "wFdMF5q4LPuH8Dz2Ga0-ZhktObUdMcnEd2kwOqYSGccTE7QG7THhlGWVeQdcEjGrugErQiDHTue3Ah0kH_qrOS7nYFeVJyvk0mwDJbU63CsJ"
    "FqGFCBj2-ZpY48S9GIHtsI6Jwi29ezMf6ptS7l68CA_LPqJ9vGePdy3rg6L4RBgT-TPyuVjeLVVV9rxZfltViua6Wq-pH9R9p-MG8"
)
"""The schedule of `stress litmus.search_meets_exit --without restart-on-stale --seeds 1`, shrunk."""


def test_all_holds_of_an_exit_are_written_before_it() -> None:
    """A process that is gone has no name for a hold."""
    then = recorded(EXIT)
    outcome = trio.run(by_names, then)
    assert outcome.defect is not None
    assert outcome.defect.signature == "rmap/lost_mapping@rmap_walk_ksm"
    scenario = trio.run(write_scenario, then.subject, then.seed, outcome, then.schedule.departures)
    operations = list(parse(scenario.text).operations)
    began = next(index for index, one in enumerate(operations) if one.text == "bg exit C")
    assert [one.text for one in operations[began - 2 : began]] == [
        "hold C at exit.mmap_sem", "hold C at exit.exit_mmap 6",
    ]  # fmt: skip


def test_what_the_language_has_no_words_for_is_named() -> None:
    """A page that no process maps cannot be migrated by a line; the scenario says so, and that it leads nowhere."""
    scenario = written("H1")
    assert scenario.missing == ("migrationd/1 calls migrate_frame for memory that no process maps",)
    assert f"# not expressed: {scenario.missing[0]}\n" in scenario.text
    assert scenario.led_to.startswith("it does not lead to naming/freed_while_named@free_stable_node")


def test_shrink_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`shrink --scenario FILE`: a file that conform performs; one that exists is not written over."""
    case = BY_NAME["S5"]
    finding = save(shown(case), tmp_path)
    file = tmp_path / "scenario.txt"
    assert main(["shrink", str(finding), "--no-cause", "--scenario", str(file), "--out", str(tmp_path)]) == 1
    assert f"{file}: performed as it is, it leads to {case.signature}\n" in capsys.readouterr().err
    assert main(["conform", str(file), "--kernel", case.kernel, "--around", "1"]) in (0, 1)
    assert main(["shrink", str(finding), "--scenario", str(file), "--out", str(tmp_path)]) == 2
    assert "there is a file of that name" in capsys.readouterr().err
