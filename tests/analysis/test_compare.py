"""`analyze --compare`: where two logs part, and which counts differ."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ksmactors.analysis.compare import compare, holm, mann_whitney, sign_test
from ksmactors.analysis.store import Logs
from ksmactors.cli import main
from ksmactors.events import catalogue as ev
from tests.report.conftest import data_of

Capsys = pytest.CaptureFixture[str]
Write = Callable[..., str]

FIRST = ("ksmd", ev.KSM_START_SCAN, 1, 0)
FREED = ("ksmd", ev.FREE_PAGE, 5, 0)
OTHER = ("ksmd", ev.FREE_PAGE, 6, 0)


def test_the_first_event_that_differs_is_told_with_what_came_before(write_log: Write) -> None:
    """The two sides are the events at the same place; what is equal before them is shown."""
    with Logs([write_log([FIRST, FREED], [FREED])]) as one, Logs([write_log([FIRST, OTHER], [FREED])]) as other:
        found = compare(one, other).difference

    assert found is not None
    assert found.index == 1
    assert [line["event"] for line in found.before] == ["ksm_start_scan"]
    assert found.one is not None
    assert found.other is not None
    assert (found.one["pfn"], found.other["pfn"]) == (5, 6)


def test_a_log_that_ends_before_the_other_differs_there(write_log: Write) -> None:
    """The side that has ended has no event."""
    with Logs([write_log([FIRST])]) as one, Logs([write_log([FIRST, FREED])]) as other:
        found = compare(one, other).difference

    assert found is not None
    assert (found.index, found.one) == (1, None)


def test_equal_logs_do_not_differ_whatever_they_are_called(write_log: Write) -> None:
    """Neither the name of the file nor that of the run counts."""
    with Logs([write_log([FIRST, FREED], name="a")]) as one, Logs([write_log([FIRST, FREED], run="b")]) as other:
        comparison = compare(one, other)

    assert comparison.difference is None
    assert [count.what for count in comparison.counts if count.one != count.other] == []


def test_what_happens_more_often_in_every_schedule_is_a_difference(write_log: Write) -> None:
    """Ten of ten pairs are no chance, even corrected for the number of counters; one of ten is."""
    left = [[FREED, FREED] for _ in range(10)]
    right = [[FREED] for _ in range(10)]
    almost = [[FREED, FREED] for _ in range(9)] + [[FREED]]
    with Logs([write_log(*left)]) as one, Logs([write_log(*right)]) as other, Logs([write_log(*almost)]) as third:
        (count,) = [count for count in compare(one, other).counts if count.what == "free_page"]
        (same,) = [count for count in compare(one, third).counts if count.what == "free_page"]

    assert (count.one, count.other, count.differs) == (2.0, 1.0, True)
    assert not same.differs


def test_schedules_with_other_seeds_are_compared_as_a_whole(write_log: Write) -> None:
    """Logs with different numbers of schedules cannot be paired."""
    with Logs([write_log(*[[FREED]] * 12)]) as one, Logs([write_log(*[[FREED, FREED]] * 11)]) as other:
        comparison = compare(one, other)

    assert (comparison.paired, comparison.schedules) == (False, (12, 11))
    assert [count.differs for count in comparison.counts if count.what == "free_page"] == [True]


def test_the_sign_test_is_exact() -> None:
    """Five of five: 2/32. Ties do not count."""
    assert sign_test([2] * 5 + [1], [1] * 6) == pytest.approx(2 / 32)
    assert sign_test([1, 1], [1, 1]) is None


def test_mann_whitney_with_ties_is_what_statistics_packages_say() -> None:
    """The figure is that of scipy.stats.mannwhitneyu(method="asymptotic"); one value on a side says nothing."""
    assert mann_whitney([1, 2, 3, 4, 4], [3, 5, 6, 7, 8]) == pytest.approx(0.0456, abs=1e-3)
    assert mann_whitney([1], [2, 3]) is None
    assert mann_whitney([1, 1], [1, 1]) is None


def test_probabilities_are_corrected_for_their_number() -> None:
    """Holm: the smallest times how many there are, and never less than the one before."""
    assert holm({"a": 0.01, "b": 0.04, "c": None}) == {"a": 0.02, "b": 0.04, "c": None}
    assert holm({"a": 0.04, "b": 0.04}) == {"a": 0.08, "b": 0.08}


def test_the_command_prints_both_sides(write_log: Write, capsys: Capsys) -> None:
    """Lines as `run` prints them; --json has the same."""
    one, other = write_log([FIRST, FREED]), write_log([FIRST, OTHER])

    assert main(["analyze", "--compare", one, other]) == 0
    out = capsys.readouterr().out
    assert "The first event that differs is number 1:" in out
    assert [line[0] for line in out.splitlines()[1:4]] == [" ", "<", ">"]
    assert main(["analyze", "--compare", one, other, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"]["index"] == 1


def test_it_takes_two_logs(tmp_path: Path, capsys: Capsys) -> None:
    """Another number is refused in a line."""
    assert main(["analyze", "--compare", str(tmp_path / "a")]) == 2
    assert capsys.readouterr().err == "ksmactors: --compare takes two logs or findings, not 1\n"


def test_settings_are_no_events(write_log: Write) -> None:
    """What `run.start` says was set is named apart, and the first event that differs comes after it."""

    def start(strategy: str) -> tuple[object, ...]:
        return ("ksmd", ev.RUN_START, "w", "series", 2, strategy)

    with Logs([write_log([start("pct"), FREED])]) as one, Logs([write_log([start("random"), OTHER])]) as other:
        comparison = compare(one, other)

    assert [(setting.what, setting.one, setting.other) for setting in comparison.settings] == [
        ("strategy", "pct", "random")
    ]
    assert comparison.difference is not None
    assert comparison.difference.index == 1
    assert comparison.first == (("r1", 100, 0), ("r1", 100, 0))


def test_the_first_difference_names_its_schedules(write_log: Write) -> None:
    """Of several schedules, those in which the two sides part."""
    with Logs([write_log([FIRST], [FREED])]) as one, Logs([write_log([FIRST], [OTHER])]) as other:
        assert compare(one, other).first == (("r1", 101, 1), ("r1", 101, 1))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Two finding files of one workload, of different seeds, and the log of the first without detail."""
    out = tmp_path_factory.mktemp("pair")
    words = ["stress", "numa_pingpong", "--without", "merge-across-nodes-migration", "--quiet"]
    words += ["--param", "moves=2", "--param", "writes=1"]
    for seeds, name in (("36:37", "a"), ("28:29", "b")):
        assert main([*words, "--seeds", seeds, "--out", str(out / name)]) == 1
    one, other = (next((out / name).glob("*.json")) for name in "ab")
    log = str(out / "a.jsonl")
    assert main(["replay", str(one), "--log", log, "--quiet"]) == 1
    return str(one), str(other), log


def test_findings_are_replayed_with_all_detail(pair: tuple[str, str, str], capsys: Capsys) -> None:
    """Two findings differ somewhere after their beginning, and events of detail are counted."""
    assert main(["analyze", "--compare", *pair[:2], "--json"]) == 1
    comparison = json.loads(capsys.readouterr().out)

    assert comparison["schedules"] == [1, 1]
    assert comparison["difference"]["index"] > 0
    assert any(count["what"] == "turn.passed" and count["one"] > 0 for count in comparison["counts"])


def test_a_finding_against_its_own_log(pair: tuple[str, str, str], capsys: Capsys) -> None:
    """Detail that only one side has is left out, and so is who won a race: the rest is the same."""
    assert main(["analyze", "--compare", pair[0], pair[2], "--json"]) == 1
    comparison = json.loads(capsys.readouterr().out)

    assert comparison["without_detail"]
    assert comparison["difference"] is None
    assert all(count["one"] == count["other"] for count in comparison["counts"])


def test_both_ends_of_a_pipe_are_read_once(pair: tuple[str, str, str], tmp_path: Path) -> None:
    """A log from a named pipe is compared and put into the page, though it can be read only once."""
    pipe, page = tmp_path / "pipe", tmp_path / "page.html"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(Path(pair[2]).read_bytes()))
    writer.start()
    assert main(["analyze", "--compare", pair[0], str(pipe), "--html", str(page), "--json"]) == 1
    writer.join()
    assert [run["left_out"] for run in data_of(page)["runs"]] == [0, 0]


def test_code_that_a_finding_names_needs_trust(tmp_path: Path, capsys: Capsys) -> None:
    """--trust belongs to findings, which only --compare takes."""
    assert main(["analyze", str(tmp_path / "a"), "--trust"]) == 2
    assert "give --compare too" in capsys.readouterr().err
