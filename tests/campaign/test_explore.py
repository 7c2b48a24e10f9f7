"""Exploration: verdicts, budgets, going on after an interruption, programs that are no function of their choices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import ksmactors
from ksmactors.campaign.explore import MAX_STEPS, Budget, Exploration, exploring, make_search
from ksmactors.campaign.state_file import perform, state_file
from ksmactors.campaign.summary import Summary
from ksmactors.campaign.verdicts import Bounded, Convicted, Exhausted, Inconclusive, Sampled
from ksmactors.errors import NotDeterministic, UsageError
from ksmactors.model import Int, Model, Table
from ksmactors.parameters import Bool
from ksmactors.run.subject import make_subject
from workloads.classic import Abba, Lost, Reorder3, Reorder10, Starve, TwoStage


class Right(Model):
    """two workers count under a lock"""

    expect_marks = ("second", "never")
    workers = Int(2, "workers")

    async def run(self, table: Table) -> None:
        count, mutex = table.variable("count", 0), table.mutex("m")

        async def worker() -> None:
            await mutex.lock()
            await count.write(await count.read() + 1)
            if count.value == 2:
                table.mark("second")
            await mutex.unlock()

        await table.concurrent({f"worker/{n}": worker() for n in range(self.workers)})
        table.check(count.value == self.workers, "lost", "")


class Remembers(Model):
    """does something else in every schedule"""

    def prepare(self) -> None:
        self._schedules = 0

    async def run(self, table: Table) -> None:
        self._schedules += 1
        names = "xy" if self._schedules == 1 else "yx"
        variables = [table.variable(name, 0) for name in names]

        async def write() -> None:
            for variable in variables:
                await variable.write(1)

        await table.concurrent({"a": write(), "b": write()})


class ThreeDefects(Model):
    """an actor looks at what two others write"""

    async def run(self, table: Table) -> None:
        a, b = table.variable("a", 0), table.variable("b", 0)

        async def write_b() -> None:
            await b.write(1)
            await b.write(1)

        async def look() -> None:
            table.check(await a.read() != 1, "a_is_1", "")
            table.check(await b.read() != 1, "b_is_1", "")
            table.check(await a.read() != 2, "a_is_2", "")

        async def write_a() -> None:
            await a.read()
            await a.write(2)
            await a.write(1)

        await table.concurrent({"write_b": write_b(), "look": look(), "write_a": write_a()})


class Interrupted(Reorder3):
    """Ctrl-C in the eighth schedule"""

    schedules = 0

    async def run(self, table: Table) -> None:
        Interrupted.schedules += 1
        if Interrupted.schedules == 8:
            raise KeyboardInterrupt
        await super().run(table)


def test_exhausted() -> None:
    """A model that is right is explored to its end, and the verdict is that nothing is left."""
    tally = ksmactors.explore(Right)
    assert tally.judgement == Exhausted()
    assert (tally.verdict, tally.exit_status, tally.schedules) == ("exhausted", 0, 2)


def test_a_finding_and_all_that_there_is() -> None:
    """reorder_3 does not pass: its bug is found within 11 schedules, and all is seen within 200."""
    tally = ksmactors.explore(Reorder3)
    assert tally.judgement == Convicted(1)
    assert tally.searched == Exhausted()
    assert tally.first_finding_at is not None
    assert tally.first_finding_at <= 11
    assert tally.schedules <= 200


def test_a_known_finding_hides_no_other() -> None:
    """The operation that a schedule fails in races like any other, also once the finding is known."""
    tally = ksmactors.explore(ThreeDefects)
    assert tally.searched == Exhausted()
    assert sorted(tally.found) == ["model/a_is_1@look", "model/a_is_2@look", "model/b_is_1@look"]


@pytest.mark.parametrize("model", [Lost, Abba, Starve, TwoStage])
def test_the_small_classics_are_convicted(model: type[Model]) -> None:
    """Each of the two-actor classics is explored to its end, and reported on the way."""
    tally = ksmactors.explore(model)
    assert (tally.verdict, tally.searched) == ("finding", Exhausted())


@pytest.mark.parametrize("bound", [0, 1])
def test_a_bound_is_never_a_proof(bound: int) -> None:
    """With a bound on preemptions the verdict is bounded by it, also if nothing was left out."""
    tally = ksmactors.explore(Right, preemptions=bound)
    assert tally.judgement == Bounded(bound)
    assert tally.as_json()["bound"] == bound


def test_bounds_without_an_end_exhaust() -> None:
    """Without a bound of its own the bounded search goes on until no branch is left out: then it is a proof."""
    assert ksmactors.explore(Right, algorithm="bounded").judgement == Exhausted()


def test_a_budget_ends_it() -> None:
    """An exploration that would not end in years says after its budget that it is inconclusive, and how far it is."""
    tally = ksmactors.explore(Reorder10, max_schedules=20)
    assert isinstance(tally.judgement, Inconclusive)
    assert tally.judgement.left is not None
    assert tally.judgement.left > 1
    assert (tally.schedules, tally.exit_status) == (20, 4)


class Endless(Model):
    """A schedule that never ends, once with nobody who could be asked."""

    alone = Bool(False, "whether there is only one actor")

    async def run(self, table: Table) -> None:
        async def forever() -> None:
            while True:
                await table.step()

        if self.alone:
            await forever()
        await table.concurrent({"one": forever(), "two": forever()})


@pytest.mark.parametrize("alone", [False, True])
def test_seconds_hold_within_a_schedule(alone: bool) -> None:
    """A time budget cuts off the schedule under way; what is cut off counts as not run."""
    tally = ksmactors.explore(Endless, params={"alone": alone}, seconds=0.05, max_steps=1 << 40)
    assert (tally.schedules, tally.exit_status) == (0, 4)
    assert tally.judgement == Inconclusive("the budget ended after 0 schedules", 1)


def test_the_state_is_kept_now_and_then(tmp_path: Path) -> None:
    """An exploration that is killed has lost half a minute at most, and goes on from there."""
    kept: list[dict[str, Any]] = []
    seconds = iter(range(0, 100_000, 11))
    search = make_search(None, None)
    exploration = exploring(make_subject("classic.reorder_10"), search, Budget(schedules=30), tmp_path)
    exploration.clock = lambda: float(next(seconds))
    path = state_file(exploration)
    assert path is not None

    def on_schedule(tally: Summary) -> None:
        if path.exists():
            kept.append(orjson.loads(path.read_bytes()))

    exploration.on_schedule = on_schedule
    assert perform(exploration, resume=False) == ""
    ran = [state["tally"]["sums"]["schedules"] for state in kept]
    assert ran[0] <= 3
    assert len(set(ran)) >= 8


def test_a_budget_leaves_the_bounds_that_were_done() -> None:
    """If a budget ends the bounded search, what it has completed is the verdict."""
    assert ksmactors.explore(Reorder3, algorithm="bounded", max_schedules=20).searched == Bounded(0)


def test_seconds_are_a_budget() -> None:
    """An exploration ends at the first schedule after its seconds, by whatever clock it is given."""
    exploration = exploring(make_subject(Reorder10), make_search(None, None), Budget(seconds=5), None)
    ticks = iter(range(100))
    exploration.clock = lambda: next(ticks)
    perform(exploration, resume=False)
    assert exploration.tally.schedules == 5


def test_stop_at_first() -> None:
    """An exploration can stop at the first finding, and does not say that it has seen all."""
    tally = ksmactors.explore(Reorder3, stop_at_first=True)
    assert tally.schedules == tally.first_finding_at
    assert isinstance(tally.searched, Inconclusive)


def test_marks() -> None:
    """The marks that schedules reach are counted, and those expected that none reaches are named."""
    tally = ksmactors.explore(Right)
    subject = make_subject(Right)
    assert tally.marks == {(subject.name, "second"): 2}
    assert tally.never_reached([subject]) == [f"{subject.name}: never"]


def test_stress_says_what_is_unseen() -> None:
    """A sampled verdict has the schedules, the distinct ones, and how likely one more is new."""
    tally = ksmactors.stress(Right, seeds=40, strategy="random")
    judgement = tally.judgement
    assert isinstance(judgement, Sampled)
    assert (judgement.schedules, judgement.distinct) == (40, tally.distinct)
    assert judgement.unseen == 0.0  # six interleavings: each was met more than once
    assert ksmactors.stress(Right, seeds=1, strategy="random").unseen == 1.0


def test_a_finding_file_replays(tmp_path: Path) -> None:
    """What an exploration finds is written as a finding file, which replays event by event."""
    tally = ksmactors.explore(Reorder3, out=tmp_path)
    (found,) = tally.found.values()
    assert found.file is not None
    outcome = ksmactors.replay(found.file, trust=True)
    assert outcome.defect is not None
    assert outcome.defect.signature == "model/reordered@checker"
    assert list(tmp_path.iterdir()) == [found.file]  # and no state: it came to its end


@pytest.mark.parametrize("algorithm", ["dpor", pytest.param("bounded", marks=pytest.mark.slow)])
def test_it_goes_on_where_its_budget_ended(algorithm: str, tmp_path: Path) -> None:
    """An exploration done in three parts comes to the same as in one, digest and findings included."""
    whole = ksmactors.explore(Reorder3, algorithm=algorithm)
    for part, budget in enumerate((3, 45, 1000)):
        parts = ksmactors.explore(
            Reorder3, algorithm=algorithm, max_schedules=budget, out=tmp_path, resume=part > 0
        )  # fmt: skip
    assert parts.judgement == whole.judgement
    assert parts.searched == whole.searched
    told, wanted = parts.as_json(), whole.as_json()
    for one in (told, wanted):
        for finding in one["findings"]:
            del finding["file"]
            for key in ("met", "concerns", "looks_like"):
                finding.pop(key, None)
    assert told == wanted


def test_it_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C keeps what was done; going on from there comes to the same as an exploration that was left alone."""
    Interrupted.schedules = 100
    whole = ksmactors.explore(Interrupted)
    Interrupted.schedules = 0
    with pytest.raises(KeyboardInterrupt):
        ksmactors.explore(Interrupted, out=tmp_path)
    rest = ksmactors.explore(Interrupted, out=tmp_path, resume=True)
    assert (rest.digest, rest.schedules) == (whole.digest, whole.schedules)
    assert rest.found.keys() == whole.found.keys()


def _interrupted(out: Path) -> Path:
    exploration = exploring(make_subject(Reorder3, max_steps=MAX_STEPS), make_search(None, None), Budget(3), out)
    perform(exploration, resume=False)
    path = state_file(exploration)
    assert path is not None
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "v6.1"}, "its kernel is series, not v6.1"),
        ({"params": {"setters": 3}}, "its params is none, not setters=3"),
        ({"algorithm": "bounded"}, "its algorithm is dpor, not bounded"),
    ],
)
def test_a_state_of_something_else_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A state of another kernel, of other parameters or of another search is refused in one line that says so."""
    _interrupted(tmp_path)
    with pytest.raises(UsageError, match=message):
        ksmactors.explore(Reorder3, out=tmp_path, resume=True, **options)


def _with_mask(text: str, place: int) -> str:
    """The state with an actor that there is not in one of the masks of each choice."""
    state = json.loads(text)
    for node in state["search"]["path"]:
        node[place] |= 1 << 13
    return json.dumps(state)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:50], "is no state of an exploration: "),
        (lambda _: "{}", "is no state of an exploration that this version reads"),
        (lambda text: text.replace('"path":[[', '"path":[["x",'), "makes no sense"),
        (lambda text: text.replace('"again":', '"gain":'), "makes no sense"),
        (lambda text: text.replace('"write ', '"read '), r"does not fit: after the same 0 choices it has .*\(read "),
        (lambda text: _with_mask(text, 5), "does not fit: .* it has a sleep set of actors that do not exist"),
        (lambda text: _with_mask(text, 7), "makes no sense"),
    ],
)
def test_a_damaged_state_is_refused(damage: Callable[[str], str], message: str, tmp_path: Path) -> None:
    """A state that is no such thing is refused in one line."""
    path = _interrupted(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(UsageError, match=message):
        ksmactors.explore(Reorder3, out=tmp_path, resume=True)


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    """--resume where nothing was interrupted is a usage error; so is it without a place to look."""
    with pytest.raises(UsageError, match=r"no exploration of .*Reorder3 was interrupted"):
        ksmactors.explore(Reorder3, out=tmp_path, resume=True)
    with pytest.raises(UsageError, match="say with `out`"):
        ksmactors.explore(Reorder3, resume=True)


@pytest.mark.parametrize("algorithm", ["dpor", "bounded"])
def test_a_workload_that_is_not_deterministic(algorithm: str) -> None:
    """A workload that does something else in a later schedule is told, with the first choice and both sides."""
    with pytest.raises(NotDeterministic, match=r"after the same 0 choices .*\(write x\).*then ready .*\(write y\)"):
        ksmactors.explore(Remembers, algorithm=algorithm)


def test_what_does_not_go_together() -> None:
    """DPOR with a bound, and an algorithm that there is not, are usage errors that say what there is."""
    with pytest.raises(UsageError, match="has no bound"):
        make_search("dpor", 2)
    with pytest.raises(UsageError, match="there are: dpor, bounded"):
        make_search("magic", None)


def test_progress_says_how_far_it_is() -> None:
    """The progress line has the schedules, those that are known to follow, and the bound under way."""
    exploration: Exploration = exploring(make_subject(Reorder3), make_search("bounded", None), Budget(30), None)
    perform(exploration, resume=False)
    assert exploration.progress().startswith("24 schedules with 2 preemptions, at least 1 more to run")


def test_verdicts_tell_a_person() -> None:
    """Each verdict says in a sentence what it means, and none is a bare pass."""
    assert str(Exhausted()).startswith("exhausted: every order")
    assert str(Bounded(2)) == "bounded: every schedule with at most 2 preemptions has been seen"
    assert str(Bounded(None, ("sleeps",))) == "bounded: sleeps"
    assert "98 distinct" in str(Sampled(100, 98, 0.961))
    assert str(Convicted(2)) == "finding: 2 different defects"
    assert str(Inconclusive("the budget ended", 25)).endswith("at least 25 more are to be run, of an unknown number")


def test_the_state_is_json(tmp_path: Path) -> None:
    """The state file is JSON, with a version in it."""
    assert json.loads(_interrupted(tmp_path).read_text())["format"] == 1
