"""One schedule: its verdict, and that it is a function of its subject, seed and strategy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ksmactors.campaign.api import stress
from ksmactors.diagnose.replaying import recorded
from ksmactors.errors import Finding, ScheduleFormatError, UsageError
from ksmactors.interleave.schedule_string import Schedule, decode, encode
from ksmactors.interleave.strategies import replay
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.fair import Fair
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.model import Model, Table
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

PROGRAMS = Path(__file__).parents[1] / "campaign" / "programs.py"

SMALL = {"pages": 2, "depth": 1}
"""Parameters of a fork_storm with two children."""


async def one(name: str, seed: int = 3, strategy: str = "random", **more: Any) -> Outcome:
    """Run a schedule of one of the test programs, or of a built-in workload."""
    program = f"{PROGRAMS}:{name}" if name[0].isupper() else name
    return await run_schedule(make_subject(program, **more), seed, strategy, keep=True)


@pytest.mark.parametrize(
    ("name", "verdict", "status", "signature"),
    [
        ("Quiet", Verdict.OK, 0, None),
        ("Crash", Verdict.CRASHED, 3, "run/crashed@run"),
        ("Foreign", Verdict.CRASHED, 3, "run/crashed@run"),
        ("Broken", Verdict.BROKEN, 3, "run/broken@run"),
        ("Deadlock", Verdict.FINDING, 1, "deadlock/deadlock@run"),
        ("Endless", Verdict.INCONCLUSIVE, 4, "run/inconclusive@sleep"),
    ],
)
async def test_how_a_schedule_ended(name: str, verdict: Verdict, status: int, signature: str | None) -> None:
    """Each way to end has its verdict and its exit status, and names the function in which it showed."""
    outcome = await one(name, max_steps=2000)
    assert outcome.verdict is verdict
    assert outcome.verdict.exit_status == status
    assert (outcome.defect.signature if outcome.defect else None) == signature


async def test_only_what_code_raised_has_a_traceback() -> None:
    """A crash is told with the workload's own traceback; a finding needs none."""
    crash, deadlock = await one("Crash"), await one("Deadlock")
    assert crash.defect is not None
    assert deadlock.defect is not None
    assert 'raise KeyError("boom")' in crash.defect.traceback
    assert deadlock.defect.traceback == ""
    assert isinstance(deadlock.error, Finding)


async def test_the_story_ends_with_the_finding() -> None:
    """A finding is told with the events before it, in a person's form, and itself."""
    outcome = await one("Deadlock")
    assert outcome.defect is not None
    assert "finding.found" in outcome.defect.story[-2]
    assert "run.end" in outcome.defect.story[-1]


@pytest.mark.parametrize("strategy", ["random", "portfolio", "pct", "pos", "round_robin"])
async def test_a_replay_is_the_same_event_by_event(strategy: str) -> None:
    """Following the schedule string of a run gives its digest, its turns and its draws."""
    first = await one("exit_race", 5, strategy)
    then = recorded(first.schedule, trust=True)
    again = await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule), keep=True)
    assert again.digest == first.digest
    assert again.schedule == first.schedule
    assert then.agrees(again)


async def test_a_schedule_does_not_depend_on_what_ran_before_it() -> None:
    """The same seed gives the same digest from one subject again, and from a fresh one."""
    subject = make_subject("fork_storm", params=SMALL)
    first = await run_schedule(subject, 2, "portfolio")
    await run_schedule(subject, 1, "portfolio")
    assert (await run_schedule(subject, 2, "portfolio")).digest == first.digest
    assert (await run_schedule(make_subject("fork_storm", params=SMALL), 2, "portfolio")).digest == first.digest


async def test_watchers_change_no_choice() -> None:
    """A schedule is the same with all watchers and with none."""
    assert (await one("numa_pingpong", watch="all")).digest == (await one("numa_pingpong", watch="none")).digest


async def test_a_replay_with_other_parameters_diverges() -> None:
    """A schedule followed on another subject is told to diverge, with the choice and the step."""
    first = await one("fork_storm")
    schedule = decode(first.schedule)
    schedule.header["params"] = {"pages": "6"}
    then = recorded(encode(schedule), trust=True)
    again = await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule))
    assert again.verdict is Verdict.DIVERGED
    assert not then.agrees(again)
    assert "diverges at choice" in then.compare(again)


async def test_a_replay_that_ends_before_its_recording_diverges() -> None:
    """Recorded choices that are left over at the end are a divergence."""
    first = await one("Quiet")
    schedule = decode(first.schedule)
    schedule.turns.extend(schedule.turns[-1:] * 7)
    then = recorded(encode(schedule), trust=True)
    again = await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule))
    assert again.verdict is Verdict.DIVERGED
    assert "7 more choices" in then.compare(again)


async def test_a_replay_that_leaves_its_recording_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording of nothing does not make a replay run up to a step limit that its file names, but diverge."""
    monkeypatch.setattr(replay, "STEPS_FREE", 500)
    first = await one("Endless", max_steps=1000)
    header = decode(first.schedule).header | {"max_steps": 1 << 62}
    then = recorded(encode(Schedule(header)), trust=True)
    again = await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule))
    assert again.verdict is Verdict.DIVERGED
    assert "an end before step" in then.compare(again)


async def test_a_long_way_alone_is_replayed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that takes many steps without a choice says how many, and replays exactly."""
    monkeypatch.setattr(replay, "STEPS_FREE", 500)
    first = await one("Endless", max_steps=5_000)
    assert decode(first.schedule).header["steps"] > 500
    then = recorded(first.schedule, trust=True)
    again = await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule))
    assert again.verdict is first.verdict
    assert then.agrees(again)


def test_a_schedule_that_does_not_say_what_it_is_of() -> None:
    """A schedule string without workload or seed is refused as such."""
    with pytest.raises(ScheduleFormatError, match="has no"):
        recorded(encode(Schedule({"seed": 1}, [], [])))


def test_a_class_is_a_workload_too() -> None:
    """From Python a workload is named by its class; its parameters are checked all the same."""
    from workloads.fork_storm import ForkStorm

    subject = make_subject(ForkStorm, params={"pages": 5})
    assert subject.name == "workloads.fork_storm:ForkStorm"
    assert subject.header()["params"] == {"pages": "5"}
    with pytest.raises(UsageError, match="did you mean pages"):
        make_subject(ForkStorm, params={"page": 5})


class Crowd(Model):
    """more actors than a 64-bit mask has bits"""

    async def run(self, table: Table) -> None:
        count = table.variable("count", 0)
        await table.concurrent({f"one/{number}": count.write(number) for number in range(70)})


def test_more_actors_than_bits() -> None:
    """A schedule of very many actors is counted and told apart like any other."""
    tally = stress(Crowd, seeds=3, strategy="random")

    assert (tally.schedules, tally.distinct) == (3, 3)


@pytest.mark.parametrize("name", ["classic.lost", "classic.abba", "classic.twostage_20", "exit_race", "oom_kill"])
async def test_a_schedule_is_the_same_with_a_task_for_each_actor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one task runs all actors, the schedules are those that there would be with a task for each of them."""
    small = {"kills": 2, "processes": 2, "rounds": 2, "pages": 2} if name == "oom_kill" else {}
    subject = make_subject(name, params=small)
    program = type(subject.workload)
    assert program.own_tasks != name.startswith("classic.")
    for seed in range(4 if name.startswith("classic.") else 2):
        told = []
        for own_tasks in (True, False):
            monkeypatch.setattr(program, "own_tasks", own_tasks)
            outcome = await run_schedule(subject, seed, "portfolio", keep=True)
            told.append((outcome.digest, outcome.schedule, outcome.verdict, outcome.defect))
        assert told[0] == told[1]


async def test_the_strategy_of_a_portfolio_gives_way_after_a_long_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portfolio forwards to the strategy that it drew, and takes over where its random walk begins: a schedule is
    the same whether the conductor asks it or that strategy."""
    monkeypatch.setattr(Fair, "fair_after", 150)
    subject = make_subject("exit_race", params={"generations": 1}, watch="none")
    for seed in range(4):
        flat = await run_schedule(subject, seed, "portfolio")
        with monkeypatch.context() as forwarding:
            forwarding.setattr(Portfolio, "decider", Strategy.decider)
            assert (await run_schedule(subject, seed, "portfolio")).digest == flat.digest
