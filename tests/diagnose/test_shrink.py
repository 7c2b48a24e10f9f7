"""Shrinking: few departures, draws of 0, small parameters, few steps; budgets, interruptions, what cannot be shrunk."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

import ksmactors
from ksmactors.campaign.corpus import signature_of
from ksmactors.campaign.findings import save
from ksmactors.diagnose import trying
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.restarts import READABLE_DEPARTURES
from ksmactors.diagnose.shrink import Shrunk, shrink
from ksmactors.errors import NotShownAgain, UsageError
from ksmactors.history.cases import CASES
from ksmactors.interleave.schedule_string import decode, departures, encode
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.interleave.tape import ActorTape, Tape, draws_of_actors
from ksmactors.model import Int, Model, Table
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from workloads.classic import Lost


class Counts(Model):
    """workers count without a lock, as often as is drawn, and a bystander writes elsewhere"""

    workers = Int(4, "workers", low=2, high=9)
    noise = Int(5, "writes of the bystander", low=0, high=50)

    async def run(self, table: Table) -> None:
        count, other = table.variable("count", 0), table.variable("other", 0)

        async def worker() -> None:
            for _ in range(1 + table.draw("rounds", 3)):
                await count.write(await count.read() + 1)
                await other.write(table.draw("value", 100))

        async def bystander() -> None:
            for _ in range(self.noise):
                await other.write(1)

        parts = {f"worker/{number}": worker() for number in range(self.workers)}
        await table.concurrent({"bystander": bystander(), **parts})
        table.check(count.value >= self.workers, "lost", f"{self.workers} workers counted to {count.value}")


class TwoDefects(Model):
    """a late defect that takes two departures, and an early one that takes one"""

    async def run(self, table: Table) -> None:
        early, late = table.variable("early", 0), table.variable("late", 0)

        async def reads() -> None:
            seen = early.value
            await early.read()
            table.check(early.value in (seen, 2), "early", f"early became {early.value}")
            for _ in range(2):
                before = await late.read()
                await late.write(before + 1)
            table.check(late.value > 2, "late", f"late is {late.value}")

        async def writes() -> None:
            await early.write(1)
            await early.write(2)
            await late.write(await late.read() + 1)

        await table.concurrent({"reads": reads(), "writes": writes()})


class Fickle(Lost):
    """finds something in so many schedules, and then nothing more"""

    left = 0

    async def run(self, table: Table) -> None:
        Fickle.left -= 1
        if Fickle.left >= 0:
            await super().run(table)


def first_found(subject: Subject, strategy: str = "random", *, prepared: bool = False, signature: str = "") -> Outcome:
    """The first schedule that finds something, or that signature; `prepared`: with a profile, as in a campaign."""
    calibration = Calibration(run_schedule)

    async def search() -> Outcome:
        for seed in range(200):
            deciding = await calibration.strategy(subject, seed, strategy) if prepared else parse(strategy)
            outcome = await run_schedule(subject, seed, strategy, deciding=deciding)
            if outcome.verdict is Verdict.FINDING and signature in ("", signature_of(outcome)):
                return outcome
        raise AssertionError("not found")

    return trio.run(search)


@cache
def big_finding() -> tuple[Subject, Outcome]:
    """A finding of a big workload with hundreds of departures, whose actors are stuck several times at one point."""
    case = CASES["R7"]
    subject = make_subject("numa_pingpong", kernel=case.kernel, without=case.without, with_=case.with_)
    return subject, first_found(subject, "portfolio", prepared=True)


def shrunk(outcome: Outcome, *, budget: int = 300) -> Shrunk:
    """What shrinking comes to."""
    return trio.run(partial(shrink, recorded(outcome.schedule, trust=True), max_schedules=budget))


@pytest.fixture(scope="module")
def found() -> Outcome:
    """A schedule with many departures that loses a count."""
    return first_found(make_subject(Counts))


def test_few_departures_draws_of_zero_and_small_parameters(found: Outcome) -> None:
    """Of dozens of departures one is left, every draw is 0, and the parameters are smaller."""
    assert len(decode(found.schedule).departures) > 10
    small = shrunk(found)

    assert len(small.departures) == 1
    assert small.departures[0].doing == "writes count"
    schedule = decode(small.outcome.schedule)
    assert [value for _, _, value in schedule.draws if value] == []
    params = dict(small.subject.params)
    assert params["noise"] == "0"
    assert 2 <= int(params["workers"]) < 4
    assert small.outcome.steps < found.steps / 2
    assert small.of == len(decode(found.schedule).departures)
    assert small.tried <= 300


def test_the_result_replays_from_its_own_file(found: Outcome, tmp_path: Path) -> None:
    """What is left is a finding like any other: its file replays it event by event."""
    small = shrunk(found)
    again = ksmactors.replay(save(small.outcome, tmp_path), trust=True)

    assert again.digest == small.outcome.digest
    assert again.defect is not None
    assert found.defect is not None
    assert again.defect.signature == found.defect.signature


def test_shrinking_is_deterministic(found: Outcome) -> None:
    """The same recording comes to the same schedule string after the same number of tries."""
    one, other = shrunk(found), shrunk(found)
    assert (one.outcome.schedule, one.tried, one.story) == (other.outcome.schedule, other.tried, other.story)


def test_watchers_and_step_limit_stay_as_they_were(found: Outcome) -> None:
    """It is tried with one watcher and few steps, but what is left is recorded with all, as at first."""
    before, after = decode(found.schedule).header, decode(shrunk(found).outcome.schedule).header
    assert (after["watch"], after["max_steps"]) == (before["watch"], before["max_steps"])


@pytest.mark.parametrize("budget", [1, 4])
def test_a_budget_is_respected(found: Outcome, budget: int) -> None:
    """No more schedules are tried than the budget has, and what is left finds the same."""
    small = shrunk(found, budget=budget)
    assert small.tried == budget
    assert small.outcome.defect is not None
    assert not small.interrupted


def test_a_departure_moves_to_where_fewer_steps_are() -> None:
    """Among schedules with as many departures the one with the fewest steps is kept."""
    found = first_found(make_subject(Counts, params={"noise": 40}))
    small = shrunk(found)
    assert len(small.departures) == 1
    assert small.outcome.steps <= shrunk(found, budget=small.tried - 1).outcome.steps


@pytest.mark.slow
def test_a_case_of_the_corpus() -> None:
    """A freed node whose page lives (S5a) comes down to a single departure, and to a story of two actors."""
    case = CASES["S5a"]
    subject = make_subject(
        case.workload, params=case.params, kernel=case.kernel, without=case.without, with_=case.with_
    )
    small = shrunk(first_found(subject))
    assert len(small.departures) == 1
    assert {line.split()[0] for line in small.story[1:-1]} == {"ksmd", "migrationd/1"}


def test_all_departures_of_a_big_finding_lead_to_it_again() -> None:
    """What is kept is what was tried: following the departures of a big finding makes the same turns."""
    subject, found = big_finding()
    tapes: list[Tape] = [ReplayTape(decode(found.schedule))]
    trio.run(partial(run_schedule, subject, 0, "", deciding=Replay(decode(found.schedule)), tape=tapes[0]))
    given = departures(tapes[0])
    assert len(given) > 200
    assert max(one.stuck for one in given) > 1
    tapes.append(ActorTape(draws_of_actors(tapes[0])))
    again = trio.run(partial(run_schedule, subject, 0, "", deciding=ReplayByName(given, slack=0), tape=tapes[1]))
    assert tapes[1].turns == tapes[0].turns
    assert signature_of(again) == signature_of(found)


@pytest.mark.slow
def test_a_big_finding_comes_down_to_a_story() -> None:
    """Hundreds of departures in a big workload come down to what can be read, with the same signature, in 20 tries."""
    _, found = big_finding()
    small = shrunk(found, budget=20)
    assert small.of > 200
    assert len(small.departures) <= READABLE_DEPARTURES
    assert signature_of(small.outcome) == signature_of(found)
    assert decode(small.outcome.schedule).header["watch"] == decode(found.schedule).header["watch"]


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 20, 300])
def test_no_other_signature_whatever_the_budget(budget: int) -> None:
    """A defect that takes more departures than another one of the workload is not exchanged for that one."""
    subject = make_subject(TwoDefects)
    for kind in ("early", "late"):
        signature = f"model/{kind}@reads"
        small = shrunk(first_found(subject, signature=signature), budget=budget)
        assert signature_of(small.outcome) == signature
        again = ksmactors.replay(small.outcome.schedule, trust=True)
        assert signature_of(again) == signature
        assert small.tried <= budget


def test_it_ends_when_enough_are_gone(found: Outcome) -> None:
    """With `enough` it ends at the first confirmed candidate that has no more departures, in fewer schedules."""
    small = trio.run(partial(shrink, recorded(found.schedule, trust=True), enough=8))
    assert len(small.departures) <= 8
    assert small.stopped_by == "8 departures"
    assert small.tried < shrunk(found).tried
    assert signature_of(small.outcome) == signature_of(found)


def test_only_what_all_watchers_agree_on_is_reported(found: Outcome) -> None:
    """What is reported as the smallest so far, were it stopped there, would be the result."""
    reported: list[tuple[int, int]] = []
    whole = trio.run(
        partial(
            shrink,
            recorded(found.schedule, trust=True),
            max_schedules=60,
            on_try=lambda tried, left: reported.append((tried, left)),
        )
    )
    assert reported[-1][1] == len(whole.departures)
    for tried, left in reported:
        assert len(shrunk(found, budget=tried).departures) == left


def test_what_the_other_watchers_refuse_is_not_kept(found: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates that only a first try calls a success are dropped for those that were confirmed before."""
    follow = trying.Trials._follow

    async def strictly(trials: trying.Trials, candidate: trying.Candidate, *given: Any, **how: Any) -> Any:
        outcome, tape = await follow(trials, candidate, *given, **how)
        refused = how.get("confirming", False) and len(candidate.departures) < 5
        return replace(outcome, defect=None) if refused else outcome, tape

    monkeypatch.setattr(trying.Trials, "_follow", strictly)
    reported: list[int] = []
    task = partial(shrink, recorded(found.schedule, trust=True), max_schedules=200)
    small = trio.run(partial(task, on_try=lambda _, left: reported.append(left)))
    assert len(small.departures) == min(reported)
    assert min(reported) >= 5
    assert signature_of(small.outcome) == signature_of(found)


def test_a_budget_in_seconds(found: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is up it ends, even within a schedule, with the smallest so far, and says so."""
    lefts = []
    for seconds in range(20, 140, 20):
        clock = count()
        monkeypatch.setattr(trying, "monotonic", partial(next, clock))
        small = trio.run(partial(shrink, recorded(found.schedule, trust=True), max_seconds=seconds))
        assert small.stopped_by == f"--max-seconds {seconds}"
        assert not small.interrupted
        assert signature_of(small.outcome) == signature_of(found)
        assert small.left == f"{len(small.departures)} of {small.of} departures left"
        lefts.append(len(small.departures))
    assert any(1 < left < small.of for left in lefts)


def test_a_finding_of_another_signature_is_refused(found: Outcome) -> None:
    """A recording that leads to something else than what is on record is inconclusive, and says what it led to."""
    then = replace(recorded(found.schedule, trust=True), signature="references/wrong_count@put_page")
    with pytest.raises(NotShownAgain, match=r"put_page is not found again: the replay found model/lost@run"):
        trio.run(shrink, then)


def test_nothing_to_shrink() -> None:
    """A recording that finds nothing is refused in one line."""
    subject = make_subject(Lost)
    outcome = trio.run(partial(run_schedule, subject, 0, "default", keep=True))
    with pytest.raises(UsageError, match=r"^there is nothing to shrink: the replay ended with ok$"):
        shrunk(outcome)


def test_a_finding_that_is_not_found_again() -> None:
    """A workload that is no function of its choices is refused in one line, as inconclusive."""
    Fickle.left = 200
    found = first_found(make_subject(Fickle))
    Fickle.left = 1
    with pytest.raises(NotShownAgain, match=r"lost_update@\S+ is not found again by its departures") as caught:
        shrunk(found)
    assert caught.value.exit_status == 4


def test_a_diverging_recording_that_names_lead_nowhere_with(found: Outcome) -> None:
    """A recording of another workload is refused in one line that names the first difference."""
    schedule = decode(found.schedule)
    schedule.header["workload"], schedule.header["params"] = f"{Lost.__module__}:{Lost.__qualname__}", {}
    with pytest.raises(
        UsageError, match=r"nothing to shrink: .*the replay diverges at choice 0 .*recorded ready 1 .*now ready 1 "
    ):
        trio.run(shrink, recorded(encode(schedule), trust=True))


def test_from_python(found: Outcome, tmp_path: Path) -> None:
    """`ksmactors.shrink` takes what `replay` takes."""
    small = ksmactors.shrink(save(found, tmp_path), max_schedules=20, trust=True)
    assert small.tried <= 20
    assert len(small.departures) <= small.of
