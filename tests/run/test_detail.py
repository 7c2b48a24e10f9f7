"""Events of detail: what they say is what happened, and the schedule is the same with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio

from ksmactors.campaign.findings import save
from ksmactors.diagnose.in_detail import replay_in_detail
from ksmactors.events import catalogue as ev
from ksmactors.events.catalogue import CATALOGUE, DETAIL
from ksmactors.events.logs import ALWAYS, EventList
from ksmactors.interleave.actor import READ
from ksmactors.machine import Machine
from ksmactors.run.detail import _Descriptions
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

Events = list[Mapping[str, Any]]

BROKEN = {"without": ["merge-across-nodes-migration"]}
"""What makes numa_pingpong find something, in the middle of things."""


def run(
    workload: str = "numa_pingpong", seed: int = 1, *, detail: bool = True, watch: str = "all", **subject: Any
) -> tuple[Outcome, Events, Machine]:
    """Run one schedule; return what came of it, its events, and its machine as it was left.

    Tests that look at the same schedule share it, and change nothing of it.
    """
    without = tuple(subject.pop("without", ()))
    return _ran(workload, seed, detail, watch, without, **subject)


@cache
def _ran(
    workload: str, seed: int, detail: bool, watch: str, without: tuple[str, ...], **subject: Any
) -> tuple[Outcome, Events, Machine]:
    machines: list[Machine] = []
    log = EventList()
    made = make_subject(workload, watch=watch, without=without, **subject)

    async def play() -> Outcome:
        return await run_schedule(made, seed, "random", log=log, detail=detail, keep=True, on_machine=machines.append)

    return trio.run(play), list(log.events), machines[0]


def named(events: Events, *names: str) -> Events:
    """Those events, in order."""
    return [event for event in events if event["event"] in names]


@pytest.mark.parametrize(
    ("workload", "subject"),
    [
        ("numa_pingpong", {}),
        ("numa_pingpong", BROKEN),
        ("swap_pressure", {}),
        ("hot_remove", {"watch": "none"}),
        ("vm_fleet", {"kernel": "v6.12"}),
    ],
)
def test_a_schedule_is_the_same_in_detail(workload: str, subject: dict[str, Any]) -> None:
    """Digest, counts, choices and schedule string do not know of it, whatever kernel and watchers there are; nor do the
    other events, but for winners that the kernel does not know."""
    plain, few, _ = run(workload, detail=False, **subject)
    detailed, many, _ = run(workload, detail=True, **subject)

    assert detailed.digest == plain.digest
    assert (detailed.counts, detailed.schedule, detailed.defect) == (plain.counts, plain.schedule, plain.defect)
    others = {CATALOGUE[code].name for code in DETAIL}
    kept = [event for event in many if event["event"] not in others]
    assert len(many) > len(kept)
    assert [{**event, "winner": ""} for event in kept] == [{**event, "winner": ""} for event in few]


def test_without_it_nothing_is_installed() -> None:
    """No observer listens, and the trees are the kernel's own."""
    for detail in (False, True):
        _, _, machine = run(detail=detail, watch="none")
        kernel = machine.kernel
        observed = [
            type(tree).__module__.startswith("ksmactors.run")
            for tree in (*kernel.root_stable_tree, *kernel.root_unstable_tree)
        ]
        assert observed == [detail] * len(observed)
        assert bool(kernel.pte_listeners) == detail


def test_the_turn_is_where_turn_passed_says() -> None:
    """Every event is by the actor that was given the turn last; who gives it away has a reason."""
    _, events, _ = run()
    turn = events[0]["actor"]
    for event in events:
        assert event["actor"] == turn
        if event["event"] == "turn.passed":
            assert event["why"] in ("switched", "yielded", "blocked", "slept", "ended")
            turn = event["next_actor"]
    reasons = {event["why"] for event in named(events, "turn.passed")}
    assert {"switched", "blocked", "ended"} <= reasons
    waits = {event["operation"] for event in named(events, "turn.passed") if event["why"] == "blocked"}
    assert "waits for ksm_thread_wait" in waits
    assert not any("nothing shared" in wait for wait in waits)


def test_locks_are_held_and_waited_for_as_long_as_is_said() -> None:
    """Each release names the time since its acquisition; each acquisition that waited, the time since it blocked, and
    who handed the lock over had just woken the actor."""
    _, events, _ = run("knob_flip", 3)
    since: dict[tuple[str, str], list[int]] = defaultdict(list)
    blocked: dict[str, tuple[str, int]] = {}
    wakers: dict[str, str | None] = {}
    waits = 0
    for event in events:
        actor, now = event["actor"], event["now"]
        match event["event"]:
            case "actor.blocked":
                if blocked.get(actor, ("", 0))[0] != event["object"]:
                    blocked[actor] = event["object"], now
            case "actor.woken":
                wakers[event["woken"]] = event["waker"]
            case "lock.acquired":
                since[actor, event["lock"]].append(now)
                on, began = blocked.pop(actor, ("", 0))
                if event["waited"]:
                    waits += 1
                    assert (on, now - began) == (event["lock"], event["waited"])
                    assert event["handed_by"] == wakers[actor] != actor
                else:
                    assert event["handed_by"] is None or wakers[actor] == event["handed_by"]
            case "lock.released":
                assert event["held"] == now - since[actor, event["lock"]].pop()
    assert waits > 0
    assert len(named(events, "lock.acquired")) > 100


def test_trees_and_migrate_nodes_can_be_followed() -> None:
    """Inserted and erased entries are, at the moment of a finding, what the trees of the machine have in them; and so
    are migrate_nodes, the page table and the counters."""
    outcome, events, machine = run(**BROKEN)
    assert outcome.verdict is Verdict.FINDING
    trees: dict[tuple[str, int], set[int]] = defaultdict(set)
    listed: set[int] = set()
    mapped: dict[tuple[str, int], int] = {}
    for event in events:
        entry = max(event.get("stable_node", -1), event.get("rmap_item", -1))
        match event["event"]:
            case "tree.inserted":
                assert entry not in trees[event["tree"], event["tree_nid"]]
                trees[event["tree"], event["tree_nid"]].add(entry)
            case "tree.erased":
                trees[event["tree"], event["tree_nid"]].remove(entry)
            case "tree.reset":
                trees[event["tree"], event["tree_nid"]].clear()
            case "stable_node.listed":
                listed.add(entry)
            case "stable_node.unlisted":
                listed.remove(entry)
            case "page.mapped":
                mapped[event["mm"], event["address"]] = event["pfn"]
            case "page.unmapped":
                assert mapped.pop((event["mm"], event["address"])) == event["pfn"]
    kernel = machine.kernel
    for name, roots in (("stable", kernel.root_stable_tree), ("unstable", kernel.root_unstable_tree)):
        for root in roots:
            assert trees[name, root.nid] == {entry.number for entry in root}
    assert listed == {node.number for node in kernel.migrate_nodes}
    assert mapped == {
        (mm.name, address): pte.frame.pfn
        for mm in kernel.address_spaces
        for address, pte in mm.ptes.items()
        if not pte.migration
    }
    assert any(trees.values())
    assert mapped
    counters = named(events, "ksm.counters")[-1]
    assert (counters["pages_shared"], counters["rmap_items"]) == (kernel.ksm_pages_shared, kernel.ksm_rmap_items)


def test_a_race_has_the_winner_that_the_kernel_cannot_name() -> None:
    """Where a migration backs off that took the last reference itself, the winner is not known, and never itself; in
    detail it is the actor that held the page. What is fought over and what it cost is said either way."""
    costs = {"race.migration_busy": "retry", "race.page_pinned": "lost merge"}
    _, plain, _ = run(seed=6, detail=False)
    _, detailed, _ = run(seed=6)
    before, now = (named(events, *costs) for events in (plain, detailed))

    assert len(before) == len(now)
    assert any(event["winner"] == "unknown" for event in before)
    assert not any(event["winner"] == event["loser"] for event in before)
    assert not any(event["winner"] in (event["loser"], "unknown") for event in now)
    for event in before:
        assert (event["object"], event["cost"]) == (f"pfn {event['kpfn']}", costs[event["event"]])


def test_a_winner_may_be_unknown_where_the_catalogue_says_why() -> None:
    """No race has an unknown winner whose kind gives no reason for it."""
    reasons = {event.name for event in CATALOGUE if event.race is not None and event.race.unknown}
    unknown = {
        event["event"]
        for workload in ("numa_pingpong", "exit_race", "swap_pressure", "fork_storm", "vm_fleet")
        for event in run(workload, detail=False)[1]
        if event.get("winner") == "unknown"
    }
    assert unknown
    assert unknown <= reasons
    assert "race.page_migrated" not in reasons


def test_every_event_has_the_fields_of_the_catalogue() -> None:
    """In their order, after the keys of every line."""
    fields = {event.name: tuple(field.name for field in event.fields) for event in CATALOGUE}
    _, events, _ = run("swap_pressure", 2)
    seen = set()
    for event in events:
        assert tuple(event) == (*ALWAYS, *fields[event["event"]])
        seen.add(event["event"])
    rare = {"stable_node.listed", "stable_node.unlisted", "stable_node.freed"}
    assert {CATALOGUE[code].name for code in DETAIL} - rare <= seen


def test_a_finding_is_replayed_in_detail(tmp_path: Path) -> None:
    """`replay_in_detail` gives the events of the recorded schedule, and the outcome that is on record."""
    outcome, events, _ = run(**BROKEN)

    replay = replay_in_detail(str(save(outcome, tmp_path)))

    assert replay.recorded.agrees(replay.outcome)
    assert list(replay.events) == events
    assert replay.events[-2]["event"] == CATALOGUE[ev.FINDING].name


@dataclass
class _Own:
    """An object of a workload that has no hash."""

    name: str


def test_an_operation_on_an_object_without_a_hash_is_described() -> None:
    """Descriptions are kept for objects that can be keys, and made for the others."""
    descriptions = _Descriptions()
    assert descriptions.of((READ, _Own("anon_vma 3"), "count")) == "reads count/anon_vma/3"
    assert descriptions.of((READ, None, "")) == "reads nothing shared"
    assert list(descriptions) == [(READ, None, "")]
