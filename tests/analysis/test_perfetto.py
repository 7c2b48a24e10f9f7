"""The trace for Perfetto, parsed back by the package that defines it."""

from __future__ import annotations

import io
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pytest
import trio

from ksmactors.analysis.perfetto import write_trace
from ksmactors.events.logs import EventList
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="the extra perfetto is missing")

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


@cache
def events(seed: int = 3, *, detail: bool = True, workload: str = "knob_flip") -> list[dict[str, Any]]:
    """The events of a schedule; tests that look at the same one share it, and change nothing of it."""
    return drawn(seed, detail=detail, workload=workload)


def drawn(seed: int, *, detail: bool = True, workload: str = "knob_flip", **params: int) -> list[dict[str, Any]]:
    """The events of a schedule, from a run of its own."""
    log = EventList()
    subject = make_subject(workload, params=params, watch="none")

    async def play() -> None:
        await run_schedule(subject, seed, "random", log=log, detail=detail)

    trio.run(play)
    return log.events


class Parsed:
    """A trace as a viewer reads it: packets in the order of time, tracks by number."""

    def __init__(self, shown: Iterable[Mapping[str, Any]]) -> None:
        file = io.BytesIO()
        self.written = write_trace(shown, file)
        self.data = file.getvalue()
        trace = pb2.Trace()
        trace.ParseFromString(self.data)
        self.tracks = {
            p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")
        }
        packets = [p for p in trace.packet if p.HasField("track_event")]
        self.packets = sorted(packets, key=lambda p: p.timestamp)
        assert all(p.trusted_packet_sequence_id == 1 for p in trace.packet)

    def of_kind(self, kind: int, category: str = "") -> list[Any]:
        """Packets of a type, and of a category."""
        return [
            p for p in self.packets
            if p.track_event.type == kind and (not category or category in p.track_event.categories)
        ]  # fmt: skip

    def name(self, packet: Any) -> str:
        """The name of a packet's track."""
        track = self.tracks[packet.track_event.track_uuid]
        return track.thread.thread_name or track.process.process_name or track.name

    def slices(self) -> list[tuple[str, str, int, int, int]]:
        """All slices: (track, name, begin, end, how deep); each that begins also ends, and they nest."""
        stacks: dict[int, list[tuple[str, int]]] = defaultdict(list)
        found = []
        for packet in self.packets:
            event = packet.track_event
            stack = stacks[event.track_uuid]
            if event.type == BEGIN:
                stack.append((event.name, packet.timestamp))
            elif event.type == END:
                name, begin = stack.pop()
                found.append((self.name(packet), name, begin, packet.timestamp, len(stack)))
        assert not any(stacks.values())
        return found


@cache
def parsed() -> Parsed:
    """The trace of `events()`."""
    return Parsed(events())


def values(packet: Any) -> dict[str, object]:
    """What a packet is annotated with."""
    return {
        one.name: getattr(one, one.WhichOneof("value")) for one in packet.track_event.debug_annotations
    }  # fmt: skip


def test_nodes_are_processes_and_actors_are_threads() -> None:
    """Each actor is a thread of the process of its node."""
    shown, trace = events(), parsed()

    assert trace.written == len(shown)
    processes = {t.process.pid: t.process.process_name for t in trace.tracks.values() if t.HasField("process")}
    threads = {t.thread.thread_name: processes[t.thread.pid] for t in trace.tracks.values() if t.HasField("thread")}
    assert threads == {event["actor"]: f"node {event['node']} (knob_flip, seed 3)" for event in shown}


def test_turns_are_slices_with_functions_inside() -> None:
    """One thread at a time has a turn, from turn.passed to turn.passed; functions lie within turns."""
    shown = events()
    slices = parsed().slices()
    turns = sorted((begin, end, track) for track, name, begin, end, _ in slices if name == "turn")

    assert len(turns) == sum(event["event"] == "turn.passed" for event in shown) + 1
    assert all(end <= begin for (_, end, _), (begin, _, _) in itertools.pairwise(turns))
    functions = Counter(name for _, name, _, _, depth in slices if depth == 1)
    assert functions["ksm_scan_thread"] > 0
    assert "turn" not in functions


def test_locks_are_held_for_as_long_as_the_log_says() -> None:
    """A hold is a slice on a track of its own below its actor, however locks overlap; its length is `held`."""
    shown, trace = events(), parsed()
    held = Counter((event["lock"], event["held"]) for event in shown if event["event"] == "lock.released")
    holds = Counter((name, end - begin) for track, name, begin, end, _ in trace.slices() if " holds" in track)

    assert held
    assert held - holds == Counter()
    assert all(depth == 0 for track, _, _, _, depth in trace.slices() if " holds" in track)
    parents = [trace.tracks[t.parent_uuid] for t in trace.tracks.values() if " holds" in t.name]
    assert parents
    assert all(parent.HasField("thread") for parent in parents)


def test_an_arrow_leads_from_a_wake_up_to_what_comes_of_it() -> None:
    """Each wake-up by an actor begins one; it goes on to a turn of the woken one, and, if a lock was handed over, ends
    where that is got."""
    shown, trace = events(), parsed()
    woken = {flow: p for p in trace.of_kind(INSTANT, "wake-up") for flow in p.track_event.flow_ids}
    turns = {flow: p for p in trace.of_kind(BEGIN, "turn") for flow in p.track_event.flow_ids}
    got = {flow: p for p in trace.of_kind(BEGIN, "lock") for flow in p.track_event.terminating_flow_ids}

    assert len(woken) == sum(event["event"] == "actor.woken" and event["waker"] is not None for event in shown)
    assert turns.keys() <= woken.keys()
    assert got.keys() <= turns.keys()
    assert len(got) > 0
    for flow, packet in turns.items():
        assert trace.name(packet) == values(woken[flow])["woken"]
        assert packet.timestamp >= woken[flow].timestamp
    for flow, packet in got.items():
        assert packet.track_event.name == values(woken[flow])["object"]


def test_events_are_instants_and_counters_are_counters() -> None:
    """Races have a category of their own and all their fields; each counter has each of its values."""
    shown = events(workload="numa_pingpong", seed=6)
    trace = Parsed(shown)
    races = [event for event in shown if event["event"].startswith("race.")]

    assert [(p.track_event.name, trace.name(p)) for p in trace.of_kind(INSTANT, "race")] == [
        (race["event"], race["actor"]) for race in races
    ]
    assert values(trace.of_kind(INSTANT, "race")[0])["cost"] == races[0]["cost"]
    shared = [p.track_event.counter_value for p in trace.of_kind(COUNTER) if trace.name(p).startswith("pages_shared ")]
    assert shared == [event["pages_shared"] for event in shown if event["event"] == "ksm.counters"]
    assert max(shared) > 0


def test_a_finding_is_an_instant() -> None:
    """It stands at the step at which it was found."""
    log = EventList()
    subject = make_subject("numa_pingpong", without=["merge-across-nodes-migration"])
    trio.run(lambda: run_schedule(subject, 1, "random", log=log))
    (found,) = Parsed(log.events).of_kind(INSTANT, "finding")
    assert found.timestamp == log.events[-2]["now"]


def test_without_detail_a_turn_is_what_events_in_a_row_show() -> None:
    """A plain log has turns and instants, and neither locks nor counters."""
    shown = events(detail=False)
    trace = Parsed(shown)

    assert {name for _, name, _, _, _ in trace.slices()} == {"turn"}
    assert trace.of_kind(COUNTER) == []
    changes = sum(one["actor"] != other["actor"] for one, other in itertools.pairwise(shown))
    assert len(trace.slices()) == changes + 1


def test_schedules_do_not_mix() -> None:
    """Two schedules of one log have their own processes and threads, and equal logs give equal bytes."""
    first, second, again = (drawn(seed, workload="exit_race", generations=1) for seed in (3, 4, 3))
    both = Parsed([*first, *second])

    threads = [t.thread.thread_name for t in both.tracks.values() if t.HasField("thread")]
    assert Counter(threads)["ksmd"] == 2
    assert len({t.thread.tid for t in both.tracks.values() if t.HasField("thread")}) == len(threads)
    assert both.slices()
    assert Parsed(first).data == Parsed(again).data


def test_a_log_from_anywhere_is_drawn_without_harm() -> None:
    """Fields that are missing, times that run backwards, names with control characters, numbers that do not fit."""
    base = {
        "run": "r",
        "seed": 1 << 70,
        "schedule": 0,
        "step": 1 << 62,
        "now": 5,
        "actor": "a\x1b[2J",
        "cpu": 0,
        "node": -1,
    }
    hostile = [
        {**base, "event": "turn.passed"},
        {
            **base,
            "event": "lock.released",
            "lock": "never taken",
            "shared": False,
            "held": 1,
            "waited": 0,
            "function": "",
        },
        {**base, "event": "actor.woken", "woken": "nobody", "object": "x", "waker": "b", "waited": 0},
        {**base, "event": "actor.blocked", "object": "l\n", "holder": None, "function": ""},
        {
            **base,
            "event": "lock.acquired",
            "lock": "l",
            "now": -7,
            "shared": True,
            "tried": False,
            "waited": 0,
            "function": "",
        },
        {**base, "event": "ksm.counters", "pages_shared": 1},
        {**base, "event": "race.stale_node", "kpfn": (1 << 63) - 1},
    ]
    trace = Parsed(hostile)
    assert {t.thread.thread_name for t in trace.tracks.values() if t.HasField("thread")} == {"a\\x1b[2J"}
    trace.slices()
