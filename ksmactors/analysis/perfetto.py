"""Events as a trace for the Perfetto UI (ui.perfetto.dev), written with the package `perfetto`.

A NUMA node of a schedule is a process there, an actor a thread. A thread has a slice for each turn, with the kernel
functions that its operations were done for inside, and one for each time that it was blocked. What it held is on tracks
of its own below it, since locks are given back in any order. Events are instants; a wake-up is an instant too, with an
arrow to what comes of it: the lock that the other actor gets then, or its next turn. The counters of KSM are counters.

Turns, locks and counters are events of detail (`--detail`). Of a log without them, a turn lasts for as long as the
events in a row are of one actor, and there are no locks and no counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, BinaryIO, Final

from ksmactors.errors import UsageError
from ksmactors.escaping import escaped
from ksmactors.events.catalogue import CATALOGUE, DETAIL

SEQUENCE: Final = 1
"""The one sequence of packets that a trace has: what a `trusted_packet_sequence_id` is for."""

COUNTERS: Final = ("pages_shared", "pages_sharing", "pages_unshared", "rmap_items", "migrate_nodes")

_STRUCTURAL: Final = frozenset({
    "turn.passed", "function.entered", "lock.acquired", "lock.released", "actor.blocked", "ksm.counters",
})  # fmt: skip
"""Events that are slices or counters, and no instants."""

_NEEDED: Final = {
    event.name: tuple(field.name for field in event.fields if field.type != "str|null")
    for event in map(CATALOGUE.__getitem__, DETAIL)
    if event.name in _STRUCTURAL or event.name.startswith("actor.")
}
"""Fields without which such an event says nothing."""

_KEYS: Final = frozenset({"event", "run", "seed", "schedule", "now", "actor", "cpu", "node", "level", "timestamp"})
"""Keys that a track, a name or a time says already."""

_INT_END: Final = 1 << 63

Event = Mapping[str, Any]


def write_trace(events: Iterable[Event], file: BinaryIO) -> int:
    """Write events, each with the keys of a log line, as a trace; return how many there were.

    Raises:
        UsageError: the package perfetto is not installed.
    """
    builder, packets = _builder(file), _Packets()
    written = 0
    schedules: dict[tuple[object, ...], _ScheduleTracks] = {}
    for event in events:
        key = event.get("file"), event["run"], event["seed"], event["schedule"]
        schedule = schedules.get(key)
        if schedule is None:
            schedule = schedules[key] = _ScheduleTracks(packets, f"{event['run']}, seed {event['seed']}")
        schedule.take(event)
        written += 1
        packets.write(builder)
    for schedule in schedules.values():
        schedule.close()
        packets.write(builder)
    return written


def _builder(file: BinaryIO) -> Any:
    try:
        from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder
    except ImportError:
        raise UsageError(
            "a trace needs the package perfetto: install ksmactors with its extra, pip install 'ksmactors[perfetto]'"
        ) from None
    return StreamingTraceProtoBuilder(file)


class _Packets:
    """Packets that wait to be written, and the numbers that they name each other by."""

    def __init__(self) -> None:
        self._waiting: list[Any] = []
        self._first = True
        self.numbers = count(1)

    def write(self, builder: Any) -> None:
        """Write what waits."""
        for fill in self._waiting:
            packet = builder.create_packet()
            packet.trusted_packet_sequence_id = SEQUENCE
            if self._first:
                packet.sequence_flags = 1  # SEQ_INCREMENTAL_STATE_CLEARED: a trace begins here
                self._first = False
            fill(packet)
            builder.write_packet(packet)
        self._waiting.clear()

    def track(self, name: str, *, parent: int = 0, process: int = 0, thread: int = 0, counter: bool = False) -> int:
        """A new track; `process` and `thread` are the ids of which it is that of. Returns its number."""
        uuid = next(self.numbers)

        def fill(packet: Any) -> None:
            track = packet.track_descriptor
            track.uuid = uuid
            if parent:
                track.parent_uuid = parent
            if thread:
                track.thread.pid, track.thread.tid, track.thread.thread_name = process, thread, escaped(name)
            elif process:
                track.process.pid, track.process.process_name = process, escaped(name)
            else:
                track.name = escaped(name)
            if counter:
                track.counter.SetInParent()

        self._waiting.append(fill)
        return uuid

    def event(
        self, kind: int, track: int, at: int, name: str = "", category: str = "", *,
        fields: Mapping[str, object] | None = None, flows: Iterable[int] = (), last_of: int = 0,
    ) -> None:  # fmt: skip
        """A TrackEvent of a kind. Arrows (`flows`) lead from it or through it; that of `last_of` ends here."""
        flows = tuple(flows)

        def fill(packet: Any) -> None:
            packet.timestamp = at
            event = packet.track_event
            event.type, event.track_uuid = kind, track
            if name:
                event.name = escaped(name)
            if category:
                event.categories.append(category)
            event.flow_ids.extend(flows)
            if last_of:
                event.terminating_flow_ids.append(last_of)
            for key, value in (fields or {}).items():
                _annotate(event.debug_annotations.add(), key, value)

        self._waiting.append(fill)

    def counter(self, track: int, at: int, value: int) -> None:
        """A value of a counter."""

        def fill(packet: Any) -> None:
            packet.timestamp = at
            packet.track_event.type, packet.track_event.track_uuid = 4, track
            packet.track_event.counter_value = value

        self._waiting.append(fill)


BEGIN, END, INSTANT = 1, 2, 3


def _annotate(annotation: Any, key: str, value: object) -> None:
    annotation.name = key
    if isinstance(value, bool):
        annotation.bool_value = value
    elif isinstance(value, int) and -_INT_END <= value < _INT_END:
        annotation.int_value = value
    else:
        annotation.string_value = escaped(str(value))


class _Lane:
    """A track on which slices follow each other."""

    def __init__(self, track: int) -> None:
        self.track = track
        self.lock: str | None = None


class _ActorTracks:
    """The tracks of one actor, and what is open on them."""

    def __init__(self, packets: _Packets, name: str, track: int) -> None:
        self._packets, self.name, self.track = packets, name, track
        self.turn = self.function = self.waits = False
        self.blocked: tuple[int, str] | None = None
        """Since when, and on what, while no slice says so."""
        self.flows: list[int] = []
        """Arrows that lead to the next turn."""
        self.handed: dict[str, int] = {}
        """By lock, the arrow that goes on from there to where the lock is got."""
        self._lanes: list[_Lane] = []
        self.last = ""

    def begin_turn(self, at: int) -> None:
        self.end_wait(at)
        if not self.turn:
            self.turn = True
            self._packets.event(BEGIN, self.track, at, "turn", "turn", flows=self.flows)
            self.flows = []
            if self.last:
                self.enter(at, self.last)

    def enter(self, at: int, function: str) -> None:
        self.leave(at)
        self.last, self.function = function, True
        self._packets.event(BEGIN, self.track, at, function or "?", "function")

    def leave(self, at: int) -> None:
        if self.function:
            self._packets.event(END, self.track, at)
            self.function = False

    def end_turn(self, at: int) -> None:
        if self.blocked is not None:
            at = self.blocked[0]  # since then no actor may have run: all sleep, and the clock jumps
        self.leave(at)
        if self.turn:
            self._packets.event(END, self.track, at)
            self.turn = False
        if self.blocked is not None:
            since, on = self.blocked
            self.blocked, self.waits = None, True
            self._packets.event(BEGIN, self.track, since, f"waits for {on}", "wait")

    def end_wait(self, at: int) -> None:
        """What the actor waited for has come. If it never gave the turn away, its slice is inside of the turn."""
        if self.blocked is not None:
            since, on = self.blocked
            self.blocked = None
            if at <= since:
                return
            self.leave(since)
            self._packets.event(BEGIN, self.track, since, f"waits for {on}", "wait")
            self.waits = True
        if self.waits:
            self._packets.event(END, self.track, at)
            self.waits = False

    def acquire(self, at: int, lock: str, event: Event) -> None:
        lane = next((one for one in self._lanes if one.lock is None), None)
        if lane is None:
            number = len(self._lanes) + 1
            name = f"{self.name} holds" if number == 1 else f"{self.name} holds ({number})"
            lane = _Lane(self._packets.track(name, parent=self.track))
            self._lanes.append(lane)
        lane.lock = lock
        flow = self.handed.pop(lock, 0)
        last_of = flow if event.get("handed_by") is not None else 0
        self._packets.event(BEGIN, lane.track, at, lock, "lock", fields=_fields(event), last_of=last_of)

    def release(self, at: int, lock: str) -> None:
        for lane in self._lanes:
            if lane.lock == lock:
                lane.lock = None
                self._packets.event(END, lane.track, at)
                return

    def close(self, at: int) -> None:
        self.end_turn(at)
        self.end_wait(at)
        for lane in self._lanes:
            if lane.lock is not None:
                self.release(at, lane.lock)


class _ScheduleTracks:
    """The tracks of one schedule."""

    def __init__(self, packets: _Packets, name: str) -> None:
        self._packets, self._name = packets, name
        self._processes: dict[int, tuple[int, int]] = {}
        """By node, number of its track and id of its process."""
        self._threads: dict[str, _ActorTracks] = {}
        self._counters: dict[str, int] = {}
        self._nodes: dict[object, int] = {}
        """Where actors run that have been started."""
        self._running: str | None = None
        self._detailed = False
        self._last = 0

    def take(self, event: Event) -> None:
        """One event, in the order of the log."""
        at = self._last = max(0, event["now"])
        name, actor = event["event"], self._thread(event["actor"], event["node"])
        if self._running is None or (not self._detailed and self._running != event["actor"]):
            self._give_turn(at, actor)
        if name in _NEEDED:
            if any(event.get(field) is None for field in _NEEDED[name]):
                return  # a log of another program
            self._detailed = True
            self._structural(name, at, actor, event)
        if name not in _STRUCTURAL and name != "actor.woken":
            kind = name.partition(".")[0] if name.startswith(("race.", "finding.", "fault.")) else "event"
            self._packets.event(INSTANT, actor.track, at, name, kind, fields=_fields(event))

    def _structural(self, name: str, at: int, actor: _ActorTracks, event: Event) -> None:
        match name:
            case "turn.passed":
                following, node = str(event["next_actor"]), int(event["node"])
                self._give_turn(at, self._thread(following, self._nodes.get(following, node)))
            case "function.entered":
                actor.enter(at, event["function"])
            case "lock.acquired":
                actor.acquire(at, event["lock"], event)
            case "lock.released":
                actor.release(at, event["lock"])
            case "actor.blocked":
                actor.blocked = at, event["object"]
            case "actor.woken":
                self._woken(at, actor, event)
            case "actor.started":
                self._nodes[event["started"]] = event["started_node"]
            case "ksm.counters":
                self._count(at, event)

    def _give_turn(self, at: int, actor: _ActorTracks) -> None:
        if self._running is not None:
            self._threads[self._running].end_turn(at)
        self._running = actor.name
        actor.begin_turn(at)

    def _woken(self, at: int, actor: _ActorTracks, event: Event) -> None:
        woken = self._threads.get(event["woken"])
        if woken is None:
            return
        woken.end_wait(at)
        if event.get("waker") is None:
            return
        flow, on = next(self._packets.numbers), event["object"]
        name = f"wakes {woken.name} ({on})"
        self._packets.event(INSTANT, actor.track, at, name, "wake-up", fields=_fields(event), flows=[flow])
        woken.flows.append(flow)
        woken.handed[on] = flow

    def _count(self, at: int, event: Event) -> None:
        if not self._counters:
            self._counters = {name: self._packets.track(f"{name} ({self._name})", counter=True) for name in COUNTERS}
        for name, track in self._counters.items():
            self._packets.counter(track, at, event[name])

    def _thread(self, actor: str, node: int) -> _ActorTracks:
        thread = self._threads.get(actor)
        if thread is None:
            process = self._process(node)
            number = next(self._packets.numbers)
            track = self._packets.track(actor, parent=process[0], process=process[1], thread=number)
            thread = self._threads[actor] = _ActorTracks(self._packets, actor, track)
        return thread

    def _process(self, node: int) -> tuple[int, int]:
        known = self._processes.get(node)
        if known is None:
            number = next(self._packets.numbers)
            track = self._packets.track(f"node {node} ({self._name})", process=number)
            known = self._processes[node] = track, number
        return known

    def close(self) -> None:
        """End what is open: the log is over."""
        for thread in self._threads.values():
            thread.close(self._last)


def _fields(event: Event) -> dict[str, object]:
    return {key: value for key, value in event.items() if key not in _KEYS and value is not None}
