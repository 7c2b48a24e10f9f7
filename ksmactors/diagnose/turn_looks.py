"""Two looks at a replay: which turns there are, and what was done in those that are shown.

A replay is exact, so that nothing of this is kept when a schedule is run. What the first look keeps of a turn is small;
what the second keeps of those that are shown is bounded.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from typing_extensions import override

from ksmactors.call_stack import callers
from ksmactors.diagnose.explain import BELOW
from ksmactors.diagnose.object_states import ITEM, State, key_of, labels_of, related, rmap_items, state_of
from ksmactors.diagnose.story import COUNTERS
from ksmactors.interleave.actor import ACQUIRE, DONE, NOTHING, READ, RELEASE, WRITE, Actor, Operation
from ksmactors.interleave.labels import (
    TRIES,
    VERBS,
    NamedOperation,
    describe_operation,
    is_silent,
    label_of,
    lets_others_go,
)
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import name_of
from ksmactors.ksm.structs import MmSlot
from ksmactors.machine import Machine
from ksmactors.mm.frame import Frame
from ksmactors.places import is_authors
from ksmactors.run.outcome import Step

TURNS_MAX: Final = 24
"""Turns that are shown."""

DEPARTURES_MAX: Final = 8
"""Departures around which turns are shown: the latest."""

TOUCHING_MAX: Final = 8
"""Turns that are shown only because they change what the finding is about: the latest."""

OBJECTS_MAX: Final = 6
"""Objects whose state is shown."""

KEPT: Final = 200
"""Operations of a turn among which those that are shown are chosen: the latest."""

Marked = Sequence[tuple[str, Step]]
"""Steps of an explanation, each with what it says about it."""


class TurnCounter(Observer):
    """Counts turns and steps; subclasses look at them."""

    def __init__(self) -> None:
        self.place = 0
        """Number of the turn."""
        self.now = 0
        self.actors: list[Actor] = []
        self.turn: Actor | None = None
        self.departs = False
        self._gone: Actor | None = None

    def attach(self, machine: Machine) -> None:
        """There is a machine."""

    def departed(self) -> None:
        """The turn is about to pass on where by default it would not, or not to that actor."""
        self.departs = True

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self.actors.append(child)
        if self.turn is None:
            self.turn = child
            self.begins()

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        self.now = max(self.now, actor.step)
        self.done(actor, op)

    @override
    def ended(self, actor: Actor) -> None:
        self._gone = actor

    @override
    def passed(self, actor: Actor, to: Actor) -> None:
        self.ends(actor)
        self.now = max(self.now, actor.step)
        self.place, self.turn, self.departs = self.place + 1, to, False
        self.begins()

    def begins(self) -> None:
        """A turn begins: of `turn`."""

    def done(self, actor: Actor, op: Operation) -> None:
        """An operation has been executed."""

    def ends(self, actor: Actor) -> None:
        """The turn passes on."""

    def why(self, actor: Actor) -> str:
        """Why the turn passes on."""
        if self._gone is actor:
            return "ends"
        if actor.waiting_on is not None:
            return f"waits for {name_of(actor.waiting_on)}"
        if actor.op is NOTHING:
            return "is stopped before it starts"
        if lets_others_go(actor.op):
            return f"lets others go{_author_line() if is_silent(actor.op) else ''}"
        return f"is stopped before it {describe_operation(actor.op)}"


def _author_line() -> str:
    """Where the running actor is in code under test."""
    frames = callers(sys._getframe(1))
    place = next((one for one in frames if is_authors(one.f_code.co_filename)), None)
    return f" ({Path(place.f_code.co_filename).name}:{place.f_lineno})" if place is not None else ""


@dataclass(slots=True)
class TurnSpan:
    """What the first look keeps of a turn."""

    actor: str
    first: int
    departs: bool = False


class Scout(TurnCounter):
    """The first look: which turns there are, which depart, and which change what the finding is about."""

    def __init__(self, concerned: dict[str, None], marked: Marked) -> None:
        super().__init__()
        self.spans: list[TurnSpan] = []
        self.concerned = concerned
        """Names of the objects that the finding is about."""
        self._on_marked = {(step.actor, step.operation) for _, step in marked}
        self._changed: dict[str, deque[int]] = {}
        self._locked: dict[str, None] = {}
        self._named: deque[int] = deque(maxlen=TURNS_MAX)
        self.marked = marked

    @override
    def begins(self) -> None:
        assert self.turn is not None
        self.spans.append(TurnSpan(self.turn.name, self.now))

    @override
    def ends(self, actor: Actor) -> None:
        self.spans[-1].departs = self.departs

    @override
    def done(self, actor: Actor, op: Operation) -> None:
        if is_silent(op):
            self._shown_if_room()
        key = key_of(op[1])
        if key and op[0] == WRITE and op[2] not in COUNTERS:
            self._changed.setdefault(key, deque(maxlen=TOUCHING_MAX)).append(self.place)
        if self._on_marked and (actor.name, describe_operation(op)) in self._on_marked:
            self._concerns(key)
            self._locked |= dict.fromkeys(key_of(lock) for lock in actor.locks if isinstance(lock, Frame))
        if key in self.concerned:
            for other in related(op[1]):
                self._concerns(key_of(other))

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        if isinstance(field, NamedOperation) and label_of((kind, obj, field)):
            self._shown_if_room()

    def _shown_if_room(self) -> None:
        """The turn under way is shown if there is room: the code under test does something in it."""
        if self.place not in self._named:
            self._named.append(self.place)

    def _concerns(self, key: str) -> None:
        if key and len(self.concerned) < OBJECTS_MAX:
            self.concerned[key] = None

    def finish(self) -> None:
        """The schedule has ended. It is about what actors wait for, too: they may be deadlocked. If nothing that it is
        about was ever changed, it is about the pages that were locked at the steps that have a mark."""
        if not self.concerned.keys() & self._changed.keys():
            for key in self._locked:
                self._concerns(key)
        for actor in self.actors:
            if not actor.daemon:
                self._concerns(key_of(actor.waiting_on))

    def last(self, place: int) -> int:
        """The last step of a turn."""
        return self.spans[place + 1].first if place + 1 < len(self.spans) else self.now

    def place_of(self, actor: str, step: int) -> int:
        """The turn of an actor that has a step, or the nearest one of its turns before it."""
        best = -1
        for place, span in enumerate(self.spans):
            if span.actor == actor and span.first <= step:
                best = place
        return best

    def chosen(self) -> list[int]:
        """The turns that are shown, in order. The host sets everything up and settles it at the end: a turn of it is
        shown only if a step in it has a mark, or beside a departure."""
        chosen: dict[int, None] = {}
        matters = {*self._marked_places(), *self._around_departures()}
        for place in self._by_weight():
            shown = 0 <= place < len(self.spans) and (place in matters or self.spans[place].actor != self.host)
            if len(chosen) < TURNS_MAX and shown:
                chosen[place] = None
        return sorted(chosen)

    def _around_departures(self) -> Iterator[int]:
        """The turns before and after the latest departures, latest first."""
        departing = (place for place in range(len(self.spans) - 1, -1, -1) if self.spans[place].departs)
        for place in islice(departing, DEPARTURES_MAX):
            yield place + 1
            yield place

    def _marked_places(self) -> list[int]:
        return [self.place_of(step.actor, step.step) for _, step in self.marked]

    @property
    def host(self) -> str:
        """The first actor; empty if there is no other."""
        return self.actors[0].name if len(self.actors) > 1 else ""

    def _by_weight(self) -> Iterator[int]:
        end = len(self.spans) - 1
        yield end
        yield from self._marked_places()
        yield from self._around_departures()
        changing = {place for key in self.concerned for place in self._changed.get(key, ())}
        yield from sorted(changing, reverse=True)[:TOUCHING_MAX]
        yield end - 1
        yield from reversed(self._named)


@dataclass(slots=True)
class ShownOperation:
    """An operation of a turn that is shown."""

    number: int
    step: int
    function: str
    text: str
    kind: int
    obj: object
    label: str
    concerns: bool


@dataclass(slots=True)
class Look:
    """What the second look keeps of a turn that is shown."""

    concerning: deque[ShownOperation] = field(default_factory=lambda: deque(maxlen=KEPT))
    others: deque[ShownOperation] = field(default_factory=lambda: deque(maxlen=KEPT))
    operations: int = 0
    end: str = ""
    before: Mapping[str, State] = field(default_factory=dict)
    after: Mapping[str, State] = field(default_factory=dict)
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class CloseLook(TurnCounter):
    """The second look: what is done in the turns that are shown, and the state of the objects around each."""

    def __init__(self, scout: Scout) -> None:
        super().__init__()
        self.scout = scout
        self.places = scout.chosen()
        self.looks = {place: Look() for place in self.places}
        self.objects: dict[str, object] = {}
        self._labels: dict[str, None] = {}
        self._look: Look | None = None
        self._slots: MmSlot | None = None
        self.final: Mapping[str, State] = {}
        """The states at the end."""

    @override
    def attach(self, machine: Machine) -> None:
        """Look for rmap_items on this machine: most have no operations of their own."""
        self._slots = machine.kernel.ksm_mm_head

    @override
    def begins(self) -> None:
        self._look = self.looks.get(self.place)
        if self._look is not None:
            self._look.before = self._states()

    @override
    def ends(self, actor: Actor) -> None:
        look = self._look
        if look is None:
            return
        look.end = self.why(actor)
        self._settle(look)

    def _settle(self, look: Look) -> None:
        look.after = self._states()
        locks = {actor.name: tuple(name_of(lock) for lock in actor.locks) for actor in self.actors}
        look.held = {name: names for name, names in locks.items() if names}

    def _found(self, key: str, obj: object) -> None:
        self.objects[key] = obj
        self._labels |= dict.fromkeys(labels_of(obj))

    def _states(self) -> dict[str, State]:
        wanted = {key for key in self.scout.concerned if key.startswith(ITEM) and key not in self.objects}
        for item in rmap_items(self._slots) if wanted and self._slots is not None else ():
            if key_of(item) in wanted:
                self._found(key_of(item), item)
        return {key: state_of(obj) for key, obj in self.objects.items()}

    @override
    def done(self, actor: Actor, op: Operation) -> None:
        key = key_of(op[1])
        if key in self.scout.concerned and key not in self.objects:
            self._found(key, op[1])
        if self._look is not None:
            self._keep(self._look, actor, op, key)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        look = self._look
        if look is not None and isinstance(field, NamedOperation) and (label := label_of((kind, obj, field))):
            look.operations += 1
            step = max(self.now, actor.step)
            concerns = key_of(obj) in self.scout.concerned
            seen = ShownOperation(look.operations, step, field.function, field.text, kind, obj, label, concerns)
            (look.concerning if concerns else look.others).append(seen)

    def _keep(self, look: Look, actor: Actor, op: Operation, key: str) -> None:
        kind, obj, label = op[0], op[1], label_of(op)
        if not label or is_silent(op) or kind not in (READ, WRITE, ACQUIRE, RELEASE):
            return
        text = f"{TRIES} {label}" if kind == ACQUIRE else describe_operation(op)
        look.operations += 1
        concerns = (key in self.scout.concerned and op[2] not in COUNTERS[1:]) or label in self._labels
        function = actor.doing if actor.place == BELOW else actor.place
        seen = ShownOperation(look.operations, max(self.now, actor.step), function, text, kind, obj, label, concerns)
        (look.concerning if concerns else look.others).append(seen)

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        if self._look is not None:
            for seen in (self._look.concerning, self._look.others):
                if seen and seen[-1].kind == ACQUIRE and seen[-1].obj is lock:
                    seen[-1].text = f"{VERBS[ACQUIRE]} {seen[-1].label}"

    def finish(self) -> None:
        """The schedule has ended: at the operation that was under way."""
        look, actor = self._look, self.turn
        self.final = self._states()
        if look is None or actor is None:
            return
        if actor.op is not DONE and actor.op is not NOTHING and not look.end:
            self._keep(look, actor, actor.op, key_of(actor.op[1]))
        if self._gone is actor:
            look.end = "ends"
        self._settle(look)
