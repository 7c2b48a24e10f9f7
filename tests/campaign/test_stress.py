"""Campaigns: how seeds are dealt, what they add up to, and that nothing that was found is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

import ksmactors
from ksmactors.campaign.findings import default_directory, prepare, read
from ksmactors.campaign.stress import Campaign, Plan, parse_seeds
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.run.options import split_params
from ksmactors.run.outcome import Verdict
from ksmactors.run.subject import deal_params, make_subject

PROGRAMS = Path(__file__).with_name("programs.py")


def campaign(*names: str, seeds: range = range(8), out: Path | None = None, kernel: str = "series") -> Campaign:
    """Run a campaign of test programs or built-in workloads."""
    subjects = [
        make_subject(
            f"{PROGRAMS}:{name}" if name[0].isupper() else name,
            kernel=kernel,
            max_steps=2_000 if name == "Endless" else 20_000,
        )
        for name in names
    ]
    running = Campaign(Plan(subjects, seeds, "random", out))
    trio.run(running.run)
    return running


@pytest.mark.parametrize(("text", "seeds"), [("3", range(3)), ("2:5", range(2, 5)), ("0:1", range(1))])
def test_seeds_are_a_number_or_a_range(text: str, seeds: range) -> None:
    """N stands for 0..N-1, A:B for A..B-1."""
    assert parse_seeds(text) == seeds


def test_the_largest_seeds() -> None:
    """Seeds have 63 bits, and no campaign has more of them than Python can count."""
    last = (1 << 63) - 1
    assert list(parse_seeds(f"{last}:{last + 1}")) == [last]
    assert len(parse_seeds(f"{last}")) == last


TOO_LARGE = (f"{1 << 64}", f"{1 << 63}", f"1:{(1 << 63) + 1}", "9" * 120)


@pytest.mark.parametrize("text", ["", "x", "5:2", "0", "-3", "1:2:3", *TOO_LARGE])
def test_wrong_seeds_are_refused(text: str) -> None:
    """What is no range of seeds is a usage error that says so."""
    with pytest.raises(UsageError, match="seed"):
        parse_seeds(text)


def test_seeds_are_dealt_in_turn() -> None:
    """Seed s runs workload s mod W, whatever the first seed is."""
    subjects = [make_subject(name) for name in ("exit_race", "fork_storm", "knob_flip")]
    plan = Plan(subjects, range(4, 10), "random")
    assert [plan.subject_of(seed).name for seed in plan.seeds][:3] == ["fork_storm", "knob_flip", "exit_race"]


EQUAL = ("Quiet", "litmus.scan_meets_migration")


def test_equal_campaigns_have_equal_digests() -> None:
    """Two campaigns with equal inputs agree in every sum; other seeds give another digest."""
    first, second = (campaign(*EQUAL) for _ in range(2))
    assert first.tally.as_json() == second.tally.as_json()
    assert first.tally.digest != campaign(*EQUAL, seeds=range(1, 9)).tally.digest


def test_nothing_found_is_sampled() -> None:
    """A campaign that found nothing has the verdict `sampled` and status 0."""
    tally = campaign("Quiet").tally
    assert (tally.verdict, tally.exit_status, tally.schedules) == ("sampled", 0, 8)
    assert tally.first_finding_at is None


def test_one_defect_is_one_finding(tmp_path: Path) -> None:
    """A defect reached by all schedules is one finding with a count, and one file."""
    tally = campaign("Deadlock", out=tmp_path).tally
    (found,) = tally.found.values()
    assert (found.count, tally.first_finding_at, tally.exit_status) == (8, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == [found.file.name if found.file else ""]


def test_a_finding_file_says_all_that_a_replay_needs(tmp_path: Path) -> None:
    """The file is JSON; replaying it reaches the same finding, event by event."""
    (found,) = campaign("Deadlock", out=tmp_path).tally.found.values()
    assert found.file is not None
    content = json.loads(found.file.read_text())
    assert content["signature"] == "deadlock/deadlock@run"
    assert content["replay"] == f"ksmactors replay --trust {found.file}"
    assert content["story"]
    again = ksmactors.replay(found.file, trust=True)
    assert again.verdict is Verdict.FINDING
    assert again.digest == found.outcome.digest


def test_files_of_two_campaigns_do_not_meet(tmp_path: Path) -> None:
    """The same finding in the same directory gets a file of its own each time."""
    campaign("Deadlock", out=tmp_path)
    campaign("Deadlock", out=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_finding_that_cannot_be_written_is_told_with_its_schedule(tmp_path: Path) -> None:
    """If the directory has gone, the finding is kept, says why, and its replay command has the schedule itself."""
    (found,) = campaign("Deadlock", out=tmp_path / "gone").tally.found.values()
    assert found.file is None
    assert "cannot be written" in found.problem
    assert found.replay == f"ksmactors replay --trust {found.outcome.schedule}"


def test_a_crash_ends_the_campaign_and_is_kept(tmp_path: Path) -> None:
    """A workload that raises ends the campaign with status 3; what ran before counts, and a file has the schedule."""
    running = campaign("Quiet", "Crash", seeds=range(40), out=tmp_path)
    assert running.tally.crash is not None
    assert running.tally.exit_status == 3
    assert 0 < running.tally.schedules < 40
    assert running.tally.crash.file is not None
    assert ksmactors.replay(running.tally.crash.file, trust=True).verdict is Verdict.CRASHED


def test_out_of_steps_is_inconclusive() -> None:
    """Schedules that run out of steps give no verdict: status 4, and the first one is told."""
    tally = campaign("Endless", seeds=range(2)).tally
    assert (tally.verdict, tally.exit_status, tally.inconclusive) == ("inconclusive", 4, 2)
    assert tally.given_up is not None
    assert tally.given_up.count == 2


def test_an_interrupted_campaign_keeps_its_sums() -> None:
    """Ctrl-C in the sixth schedule: five are counted, and the hint goes on with the sixth."""
    running = campaign("Interrupted", seeds=range(10, 30))
    assert running.tally.schedules == 5
    assert running.resume_hint == "--seeds 15:30"


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 32), marks=pytest.mark.nightly)], ids=str)
def test_the_lost_mapping_of_v3_9_is_found(seeds: range) -> None:
    """A short campaign on v3.9 finds the mapping that a collision loses; series does not have it."""
    signatures = {"rmap/lost_mapping@rmap_walk_ksm"}
    assert signatures <= campaign("numa_pingpong", seeds=seeds, kernel="v3.9").tally.found.keys()
    assert not campaign("numa_pingpong", seeds=seeds).tally.found


def test_parameters_go_to_the_workloads_that_have_them() -> None:
    """Each of several workloads gets the parameters it declares; one that nobody has is refused."""
    names = ["exit_race", "fork_storm"]
    assert deal_params(names, {"depth": "1", "pages": "2"}) == [{"pages": "2"}, {"depth": "1", "pages": "2"}]
    with pytest.raises(UsageError, match="did you mean depth"):
        deal_params(names, {"dept": "1"})
    with pytest.raises(UsageError, match="KEY=VALUE"):
        split_params(["depth"])


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Findings go below XDG_STATE_HOME, or ~/.local/state if it is unset or not absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_directory() == tmp_path / "state/ksmactors/findings"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_directory() == tmp_path / ".local/state/ksmactors/findings"


def test_a_directory_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    """An --out that is a file, or lies below one, is a usage error before anything runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be created"):
        prepare(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"schedule": 3}', "holds no schedule"),
        ('{"schedule": "x", "format": 99}', "format 99"),
        ("{", "no finding file"),
        ("\udcff", "not text"),
    ],
)
def test_a_damaged_finding_file_says_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    """What is no finding file of this format is refused with its name and the reason."""
    file = tmp_path / "finding.json"
    file.write_text(content, errors="surrogateescape")
    with pytest.raises(ScheduleFormatError, match=said):
        read(str(file))


def test_stress_from_python(tmp_path: Path) -> None:
    """`ksmactors.stress` runs a campaign of one workload and returns its sums."""
    tally = ksmactors.stress(f"{PROGRAMS}:Deadlock", seeds=3, strategy="random", out=tmp_path)
    assert tally.verdict == "finding"
    assert tally.schedules == 3
