"""Render a short schedule as prose: what each actor does to shared objects, and why the turn passes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from ksmactors.interleave.actor import READ, WRITE, Actor, Operation
from ksmactors.interleave.labels import NamedOperation, describe_operation, label_of, lets_others_go
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import name_of
from ksmactors.interleave.schedule_string import Departure
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.ksm.structs import RmapItem
from ksmactors.run.outcome import Defect

LINES: Final = 12
"""Turns that are shown: the last ones, those around the departures, and the latest that change what it is about, or
what those around the departures touch."""

LAST: Final = 2
"""Turns at the end that are always shown."""

OPERATIONS_MAX: Final = 5
"""Operations shown in a line: the last ones of the turn."""

COUNTERS: Final = ("refcount", "lru", "lru_add_pvec", "free_list")
"""Fields that every actor changes all the time, so that they explain nothing."""


@dataclass(slots=True)
class _NarratedTurn:
    """A stretch in which one actor ran. `end` says why another actor ran next; `departs`: not by default."""

    actor: Actor
    done: list[Operation] = field(default_factory=list)
    end: str = ""
    departs: bool = False


class ScheduleNarrator(Observer):
    """Keeps what each actor does, turn by turn, in a schedule that `follower` decides."""

    def __init__(self) -> None:
        self._turns: list[_NarratedTurn] = []
        self._ended: list[Actor] = []

    def follower(self, departures: Sequence[Departure]) -> ReplayByName:
        """A strategy that follows departures exactly, and reports each to this narrator."""
        return _NarratingReplay(departures, self)

    def departed(self) -> None:
        """The turn passes on where by default it would not, or not to that actor."""
        if self._turns:
            self._turns[-1].departs = True

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        if not self._turns or self._turns[-1].actor is not actor:
            if self._turns:
                self._turns[-1].end = self._why(self._turns[-1].actor)
            self._turns.append(_NarratedTurn(actor))
        if op[0] in (READ, WRITE) and not lets_others_go(op):
            self._turns[-1].done.append(op)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if isinstance(field, NamedOperation) and self._turns and self._turns[-1].actor is actor:
            self._turns[-1].done.append((kind, obj, field))

    @override
    def ended(self, actor: Actor) -> None:
        self._ended.append(actor)

    def _why(self, actor: Actor) -> str:
        if any(one is actor for one in self._ended):
            return "ends"
        if actor.waiting_on is not None:
            return f"waits for {name_of(actor.waiting_on)}"
        if lets_others_go(actor.op):
            return "lets others go"
        return f"is stopped before it {describe_operation(actor.op)}"

    def story(self, defect: Defect, about: Sequence[object] = ()) -> tuple[str, ...]:
        """The turns that matter up to what was found, a line each; `about` are the objects that it concerns."""
        concerned = [one.head if isinstance(one, RmapItem) else one for one in about]
        places = self._places(concerned)
        matters = _shared([self._turns[place] for place in places])
        lines, before = [], -1
        for place in places:
            between = place - before - 1
            gap = f"({between} turn{'' if between == 1 else 's'} later) " if between else ""
            lines.append(gap + _turn_line(self._turns[place], matters, concerned))
            before = place
        return (*lines, f"found at step {defect.step}, in {defect.functions[0]}: {defect.message}")

    def _places(self, concerned: Sequence[object]) -> list[int]:
        """The turns that are shown, in order."""
        shown: dict[int, None] = {}
        for place in self._by_weight(concerned):
            if len(shown) < LINES and 0 <= place < len(self._turns):
                shown[place] = None
        return sorted(shown)

    def _by_weight(self, concerned: Sequence[object]) -> Iterator[int]:
        latest = range(len(self._turns) - 1, -1, -1)
        yield from latest[:LAST]
        around = [one for place in latest if self._turns[place].departs for one in (place + 1, place)]
        yield from around
        yield from (place for place in latest if any(_is_one(op[1], concerned) for op in _changes(self._turns[place])))
        touched = {label_of(op) for place in around if place in latest for op in self._turns[place].done}
        yield from (place for place in latest if any(label_of(op) in touched for op in _changes(self._turns[place])))
        if not around:
            yield from self._different(latest, concerned)

    def _different(self, places: Iterable[int], concerned: Sequence[object]) -> Iterator[int]:
        """Turns that touch what it is about, if it is about anything; of an actor's turns that are alike, the first."""
        seen: set[tuple[int, tuple[str, ...]]] = set()
        for place in places:
            turn = self._turns[place]
            labels = tuple(label_of(op) for op in turn.done if not concerned or _is_one(op[1], concerned))
            if (labels or not concerned) and (turn.actor.number, labels) not in seen:
                seen.add((turn.actor.number, labels))
                yield place


class _NarratingReplay(ReplayByName):
    """Follows exactly, and reports departures to a narrator."""

    def __init__(self, departures: Sequence[Departure], narrator: ScheduleNarrator) -> None:
        super().__init__(departures, slack=0)
        self._narrator = narrator

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        chosen = super().choose(ready, current)
        if chosen is not (ready[0] if current is None else current):
            self._narrator.departed()
        return chosen


def _is_one(obj: object, of: Sequence[object]) -> bool:
    return any(obj is one for one in of)


def _changes(turn: _NarratedTurn) -> Iterator[Operation]:
    """What an actor writes that tells something."""
    return (op for op in turn.done if op[0] == WRITE and not label_of(op).startswith(COUNTERS))


def _shared(turns: Sequence[_NarratedTurn]) -> set[str]:
    """The labels of what several actors are at, and at least one writes."""
    users: dict[str, set[int]] = {}
    written = set()
    for turn in turns:
        for op in turn.done:
            label = label_of(op)
            users.setdefault(label, set()).add(turn.actor.number)
            if op[0] == WRITE:
                written.add(label)
    return {label for label, actors in users.items() if len(actors) > 1 and label in written}


def _turn_line(turn: _NarratedTurn, matters: set[str], concerned: Sequence[object]) -> str:
    worth = [op for op in turn.done if _is_one(op[1], concerned) or label_of(op) in matters]
    operations = list(dict.fromkeys(describe_operation(op) for op in worth if not label_of(op).startswith(COUNTERS)))
    if len(operations) > OPERATIONS_MAX:
        operations = ["...", *operations[-OPERATIONS_MAX:]]
    parts = [*operations, *([turn.end] if turn.end else [])]
    return f"{turn.actor.name} {', '.join(parts) or 'goes on'}"
