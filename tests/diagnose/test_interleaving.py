"""The rows of a schedule: which turns are shown, what is marked in them, states around departures, locks, gaps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import trio

from ksmactors.campaign.corpus import show
from ksmactors.diagnose.explained import Explained, explained
from ksmactors.diagnose.interleaving import Gap, TurnRow
from ksmactors.diagnose.replaying import Recorded, recorded
from ksmactors.diagnose.turn_looks import TURNS_MAX
from ksmactors.history.cases import CASES
from ksmactors.interleave.schedule_string import encode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


def case(name: str) -> Recorded:
    """The directed schedule of a case."""
    return recorded(trio.run(partial(show, CASES[name])).outcome.schedule)


def replayed(then: Recorded) -> Outcome:
    """What a replay comes to."""
    outcome: Outcome = trio.run(
        partial(run_schedule, then.subject, then.seed, then.strategy, deciding=Replay(then.schedule), keep=True)
    )
    return outcome


def explain(then: Recorded, *, max_schedules: int = 40) -> Explained:
    """What `replay --explain` shows."""
    one: Explained = trio.run(partial(explained, then, replayed(then), max_schedules=max_schedules))
    return one


@cache
def s5e_explained() -> Explained:
    """What is shown of the directed schedule of S5e."""
    return explain(case("S5e"))


def rows(one: Explained) -> list[TurnRow]:
    """The turns that are shown."""
    return [row for row in one.table.rows if isinstance(row, TurnRow)]


def recording(workload: str, seed: int, strategy: str = "random", **params: str) -> Recorded:
    """A schedule at random."""
    subject = make_subject(workload, params=params)
    outcome: Outcome = trio.run(partial(run_schedule, subject, seed, strategy, keep=True))
    return recorded(outcome.schedule, trust=True)


def test_the_crash_of_s5e() -> None:
    """The migration clears the mapping while ksmd waits for the page lock, and ksmd reads it: both steps are marked,
    with the states of page and node around the departure, and the locks."""
    one = s5e_explained()
    assert one.table.actors == ("ksmd", "migrationd/1")
    assert (one.shrunk_from, one.table.departures) == (2, 1)
    met = [(row.actor, done.function, done.operation) for row in rows(one) for done in row.operations if done.met]
    assert met == [
        ("migrationd/1", "move_to_new_page", "writes mapping/2"),
        ("ksmd", "page_stable_node", "reads mapping/2"),
    ]
    given = next(row for row in rows(one) if row.given_by == 1)
    assert (given.actor, given.end) == ("ksmd", "waits for page lock of pfn 2")
    assert given.held == {
        "ksmd": ("ksm_thread_mutex",),
        "migrationd/1": ("page lock of pfn 2", "page lock of pfn 1000000"),
    }
    page = next(change for change in given.changes if change.object == "pfn 2 (node 0)")
    assert {(fact.name, fact.before, fact.after) for fact in page.facts} >= {
        ("refcount", "1", "3"),
        ("mapping", "stable node 1", "stable node 1"),
        ("locked by", "migrationd/1", "migrationd/1"),
    }
    moved = rows(one)[rows(one).index(given) + 1].changes
    assert [(fact.name, fact.before, fact.after) for change in moved for fact in change.facts] == [
        ("mapping", "stable node 1", "none"), ("locked by", "migrationd/1", "no actor"), ("kpfn", "2", "1000000"),
    ]  # fmt: skip
    assert rows(one)[-1].end == f"found here: step {one.table.steps}"
    assert one.broken[:2] == (
        "lifetime: nothing is used after its free, nothing leaks (O1)", "<RmapItem 3 C:0x10000> is appended to no node",
    )  # fmt: skip


def test_the_step_that_broke_the_promise_where_no_two_met() -> None:
    """X8: reclaim drops the page at a step that has the mark; no two steps are known to have met."""
    one = explain(case("X8"))
    marked = [(done.marks, done.met) for row in rows(one) for done in row.operations if done.marks]
    assert (("broken for good",), True) in marked


def test_a_deadlock() -> None:
    """The locks that actors wait for, with their holders, and an attempt that is not said to have succeeded."""
    subject = make_subject("classic.abba")
    outcomes = (trio.run(partial(run_schedule, subject, seed, "random")) for seed in range(50))
    found = next(outcome for outcome in outcomes if outcome.verdict is Verdict.FINDING)
    one = explain(recorded(found.schedule))
    facts = {(change.object, fact.after) for row in rows(one) for change in row.changes for fact in change.facts}
    assert facts >= {("A", "ab"), ("B", "ba")}
    assert [row.operations[-1].operation for row in rows(one)][-2:] == ["tries to take B", "tries to take A"]


def test_a_long_schedule_is_cut() -> None:
    """Of hundreds of departures the latest are shown, and each turn is in a row or in a gap."""
    one = explain(recording("numa_pingpong", 1))
    assert one.table.turns > 500
    assert one.table.departures > 400
    assert len(rows(one)) <= TURNS_MAX
    gaps = [row for row in one.table.rows if isinstance(row, Gap)]
    assert len(rows(one)) + sum(gap.turns for gap in gaps) == one.table.turns
    assert max(row.given_by for row in rows(one)) == one.table.departures
    assert all(len(row.operations) <= 10 for row in rows(one))
    assert one.broken == ()


def test_the_same_twice() -> None:
    """The explanation of a schedule is the same each time."""
    assert explain(case("S5e")).as_json() == s5e_explained().as_json()


def test_not_shrunk_again() -> None:
    """What `shrink` has written is shown as it is, and no schedule is tried."""
    first = s5e_explained()
    again = explain(recorded(first.outcome.schedule))
    assert (again.shrunk_from, again.tried) == (None, 0)
    assert again.table == first.table


def test_as_recorded() -> None:
    """Without schedules to try, a finding is not shrunk."""
    one = explain(case("S5e"), max_schedules=0)
    assert one.shrunk_from is None
    assert one.table.departures == 2


def test_a_recording_that_does_not_fit() -> None:
    """A replay that diverges: a note says from which step on the table is not the recording."""
    then = case("S5e")
    turns = then.schedule.turns
    at = len(turns) * 3 // 4
    then.schedule.turns = [*turns[:at], (turns[at][0] | 1 << 20, turns[at][1]), *turns[at + 1 :]]
    then = recorded(encode(then.schedule))
    outcome = replayed(then)
    assert outcome.verdict is Verdict.DIVERGED
    one: Explained = trio.run(partial(explained, then, outcome, max_schedules=0))
    assert len(one.notes) == 1
    assert one.notes[0].startswith(
        f"the table is not the recording from step {getattr(outcome.error, 'step', None)} on: "
    )
    assert one.defect is not None


def test_nothing_to_follow() -> None:
    """A replay that diverges and leads to nothing by names either: the table ends there, and the note says so."""
    then = replace(case("S1a"), signature="lifetime/x@y")
    then.schedule.turns = [(mask | 1 << 20, chosen) for mask, chosen in then.schedule.turns]
    one = explain(then)
    assert one.notes[0].startswith(
        "the table ends where the replay leaves the recording: the replay diverges at choice 0"
    )
    assert (one.defect, one.broken) == (None, ())
    assert rows(one)[-1].end.startswith("diverged here: step ")


def test_the_orders_on_record() -> None:
    """What made the difference is shown if it is on record for the finding that is shown."""
    then = replace(case("S5e"), difference=("what made the difference:", "  a before b"))
    assert explain(then, max_schedules=0).difference == ()
    named = replace(then, signature=CASES["S5e"].signature)
    assert explain(named, max_schedules=0).as_json()["made_the_difference"] == list(then.difference)
