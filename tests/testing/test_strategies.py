"""The hypothesis strategies of `ksmactors.testing`: what they draw is valid, finds planted defects, and shrinks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ksmactors.conformance.language import Scenario, parse
from ksmactors.errors import Finding, UsageError, WorkloadCrashed
from ksmactors.model import Int, Model, Table
from ksmactors.run.subject import make_subject
from ksmactors.testing import (
    ScheduleChoice,
    check,
    check_scenario,
    params,
    perform_scenario,
    scenario_text,
    scenarios,
    schedules,
    seeds,
)

T = TypeVar("T")

SETTINGS = settings(
    database=None, deadline=None, derandomize=True, max_examples=200, phases=[Phase.generate, Phase.shrink]
)  # fmt: skip
"""Hypothesis does not try what else in the smallest example could be otherwise: no test reads that."""


def smallest(strategy: SearchStrategy[T], fails: Callable[[T], bool]) -> T:
    """The example that hypothesis shrinks a failing one to."""
    return find(strategy, fails, settings=settings(SETTINGS, max_examples=1_000))


def finds(run: Callable[[], object]) -> bool:
    """Whether a watcher reports."""
    try:
        run()
    except Finding:
        return True
    return False


@settings(SETTINGS, max_examples=30)
@given(scenarios(nodes=2))
def test_scenarios_are_valid(scenario: Scenario) -> None:
    """The text of a drawn scenario is one, and what hypothesis shows of it is that text."""
    text = scenario_text(scenario)
    assert [line.text for line in parse(text).lines] == [line.text for line in scenario.lines]
    assert repr(scenario).strip() == text.strip()


def test_a_scenario_shrinks_line_by_line() -> None:
    """Of a scenario with a migration, that line is left between the start and the end."""

    def fails(scenario: Scenario) -> bool:
        return any(operation.name == "migrate" for operation in scenario.operations)

    lines = [line.text for line in smallest(scenarios(), fails).lines]
    first, last = lines.index("scan 1"), lines.index("trees")
    assert lines[first + 1 : last - 2] == ["counters", "migrate A r 0 0"]


@pytest.mark.nightly
def test_a_planted_defect_of_a_scenario() -> None:
    """A commit undone is found by a scenario, and shrinks to a shorter one; with all commits it passes."""
    undone = {"without": ["merge-across-nodes-migration"]}
    scenario = smallest(scenarios(), lambda one: finds(lambda: perform_scenario(one, **undone)))

    assert len(list(scenario.operations)) < 70
    perform_scenario(scenario)


class Sum(Model):
    """workers add to a variable without a lock"""

    workers = Int(1, "how many", low=1, high=100)

    async def run(self, table: Table) -> None:
        total = table.variable("total", 0)

        async def work() -> None:
            await total.write(await total.read() + 1)

        await table.concurrent({f"worker/{number}": work() for number in range(self.workers)})
        table.check(total.value == self.workers, "lost_update", f"{self.workers} made {total.value}")


def test_a_planted_defect_of_a_workload() -> None:
    """Two workers and seed 0 are the smallest that lose an update."""
    drawn = st.tuples(params(Sum), schedules())
    given, schedule = smallest(drawn, lambda one: finds(lambda: check(Sum, one[1], params=one[0])))

    assert given == {"workers": 2}
    assert schedule.seed < 20


@pytest.mark.slow
def test_a_commit_undone_is_found() -> None:
    """A litmus test without a commit fails in a drawn schedule, which shrinks to a small seed; with it none does."""
    test = "litmus.search_meets_migration"

    def fails(schedule: ScheduleChoice) -> bool:
        return finds(lambda: check(test, schedule, without="ksm-page-migration"))

    schedule = smallest(schedules(["portfolio"]), fails)
    assert schedule.seed < 1000
    assert schedule.strategy == "portfolio"
    check(test, schedule)


def test_the_error_says_how_to_replay(tmp_path: Path) -> None:
    """A finding has a note with the command: of the schedule string, or of a file where one was asked for."""
    failing = next(seed for seed in range(50) if finds(lambda seed=seed: check(Sum, seed, params={"workers": 2})))
    for out, named in ((None, "ksmactors replay --trust ksm"), (tmp_path, f"ksmactors replay --trust {tmp_path}")):
        with pytest.raises(Finding) as found:
            check(Sum, ScheduleChoice(failing, "portfolio"), params={"workers": 2}, out=out)
        assert [note[: len("replay: ") + len(named)] for note in found.value.__notes__] == [f"replay: {named}"]
    assert len(list(tmp_path.iterdir())) == 1


def test_params_are_those_of_the_workload() -> None:
    """Drawn parameters are accepted, stay in reach of their defaults, and shrink to none."""

    @settings(SETTINGS, max_examples=10)
    @given(params("vm_fleet"))
    def accepted(drawn: dict[str, Any]) -> None:
        make_subject("vm_fleet", params=drawn)

    accepted()
    assert smallest(params("vm_fleet"), lambda _: True) == {}
    assert "file" not in smallest(params("scenario"), lambda drawn: len(drawn) >= 3)
    assert smallest(params(Sum, workers=st.just(7)), bool) == {"workers": 7}


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: params("vm_flet"), "did you mean vm_fleet"),
    (lambda: params(Sum, worker=st.just(1)), "did you mean workers"),
    (lambda: schedules(["pso"]), "did you mean pos"),
    (lambda: seeds(0), "below=0 is no end"),
    (lambda: check("vm_fleet", ScheduleChoice(0, "pso")), "did you mean pos"),
    (lambda: check("vm_fleet", nodes=0), "1 to 64 NUMA nodes"),
    (lambda: perform_scenario(parse("proc A\n"), kernel="v1"), "no kernel 'v1'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_names(wrong: Callable[[], object], message: str) -> None:
    """A wrong name is one line that says what there is."""
    with pytest.raises(UsageError, match=message):
        wrong()


def test_a_scenario_at_once(tmp_path: Path) -> None:
    """The processes of a scenario run concurrently; its file is kept where findings go."""
    lives = (f"proc {name}\nmap {name} r 2\nfill {name} r 0 1\nmergeable {name} r\n" for name in "AB")
    scenario = parse(f"{''.join(lives)}scan 2\n")
    outcome = check_scenario(scenario, 3, out=tmp_path)

    assert outcome.steps > 0
    assert check_scenario(scenario, 3).digest == outcome.digest
    assert (tmp_path / "scenario.txt").read_text() == scenario_text(scenario)


class Broken(Model):
    """raises"""

    async def run(self, table: Table) -> None:
        raise KeyError("mine")


def test_a_workload_that_raises() -> None:
    """Its exception is the cause of what is raised."""
    with pytest.raises(WorkloadCrashed) as crash:
        check(Broken)
    assert isinstance(crash.value.__cause__, KeyError)


def test_without_hypothesis() -> None:
    """The import says what to install."""
    code = "import sys; sys.modules['hypothesis'] = None; import ksmactors.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert "ImportError: ksmactors.testing needs hypothesis: pip install 'ksmactors[testing]'" in done.stderr
