"""A schedule as rows, for tables and charts: the turns that matter, what was done in them, and what it did to objects.

The schedule is run twice again: once to number the turns and see which of them touch what the finding is about, once to
look closely at those that are shown. Time and memory grow with the length of the schedule; the result is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from typing_extensions import override

from ksmactors.diagnose.object_states import Fact, State, facts, key_of, related, title_of
from ksmactors.diagnose.story import COUNTERS
from ksmactors.diagnose.turn_looks import OBJECTS_MAX, CloseLook, Look, Marked, Scout, TurnCounter
from ksmactors.interleave.actor import ACQUIRE, WRITE, Actor
from ksmactors.interleave.labels import TRIES, VERBS
from ksmactors.interleave.schedule_string import Schedule
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.outcome import Outcome, Step, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject

OPERATIONS_MAX: Final = 8
"""Operations of one turn that are shown."""

FALLBACK: Final = 2
"""Operations that are shown of a turn that does nothing to what others are at."""

TAKES: Final = VERBS[ACQUIRE]

MET: Final = ("first", "then")
BROKE: Final = ("broken for good", "touched last", "came back")
"""What is said of the two steps that met; and where no two are known, of the step that broke the promise, and of the
next of the actor that found it."""


@dataclass(frozen=True, slots=True)
class RowOperation:
    """An operation that is shown: its kernel function, what it is, the step, what the explanation says about it, and
    whether it is one of the two steps that met."""

    function: str
    operation: str
    step: int
    marks: tuple[str, ...] = ()
    met: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """The facts about an object before and after a turn or several."""

    object: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Turns that are left out: how many, by whom, from which step to which, and what they did to the objects."""

    turns: int
    actors: tuple[str, ...]
    first_step: int
    last_step: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn that is shown.

    Attributes:
        actor: whose turn it is.
        first_step, last_step: its steps.
        operations: what it does, in order; `left_out` more operations are not shown.
        end: why the turn passes on; empty for the last turn.
        departure: its number, from 1, if the turn passes on against the default order; else 0.
        given_by: the number of the departure that gave it the turn, or 0. Then `changes` has all facts.
        changes: what it did to the objects.
        held: the locks that each actor holds at its end; actors without any are left out.
        found: whether something is found in it.
    """

    actor: str
    first_step: int
    last_step: int
    operations: tuple[RowOperation, ...]
    left_out: int
    end: str
    departure: int
    given_by: int
    changes: tuple[Change, ...]
    held: Mapping[str, tuple[str, ...]]
    found: bool = False


@dataclass(frozen=True, slots=True)
class Interleaving:
    """A schedule in rows and gaps.

    Attributes:
        actors: those with a row, in order of creation.
        rows: in order.
        steps, turns, departures: how many the schedule has.
        end: who found something at which step, if that is in none of the rows; else empty.
    """

    actors: tuple[str, ...]
    rows: tuple[TurnRow | Gap, ...]
    steps: int
    turns: int
    departures: int
    end: str = ""

    def as_json(self) -> dict[str, Any]:
        """For scripts and pages; a gap has `turns`, a row has `actor`."""
        return asdict(self)


async def interleaving(subject: Subject, seed: int, schedule: Schedule, outcome: Outcome) -> Interleaving:
    """Look at a schedule turn by turn. To be awaited in trio, outside of any other schedule.

    Args:
        subject, seed: what is run.
        schedule: is replayed, as far as it fits.
        outcome: what its replay came to, explained if it is a finding (`explain`).
    """
    marked = _marked_steps(outcome)
    about = getattr(outcome.error, "about", ())
    nearby = [one for obj in about for one in related(obj)]
    concerned = {key_of(one): None for one in (*about, *nearby)[:OBJECTS_MAX] if key_of(one)}
    scout = Scout(concerned, marked)
    await _replay(subject, seed, outcome.strategy, schedule, scout)
    scout.finish()
    close = CloseLook(scout)
    await _replay(subject, seed, outcome.strategy, schedule, close)
    close.finish()
    return _Rows(close, marked).result(outcome)


class _MarkingReplay(Replay):
    """A replay that says where it departs from the default order."""

    def __init__(self, schedule: Schedule, departed: Callable[[], None]) -> None:
        super().__init__(schedule)
        self._departed = departed

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        chosen = super().choose(ready, current)
        if chosen is not (ready[0] if current is None else current):
            self._departed()
        return chosen


async def _replay(subject: Subject, seed: int, strategy: str, schedule: Schedule, observer: TurnCounter) -> None:
    deciding = _MarkingReplay(schedule, observer.departed)
    await run_schedule(subject, seed, strategy, deciding=deciding, observing=observer, on_machine=observer.attach)


def _marked_steps(outcome: Outcome) -> list[tuple[str, Step]]:
    """What the explanation says about steps, and the steps."""
    defect = outcome.defect
    if defect is None or defect.broke is None:
        return []
    met, broke = defect.met, defect.broke
    marked = [*zip(MET, met, strict=False)]
    for_good, touched, came_back = BROKE
    breaking = for_good if broke.held_until is not None else touched
    others = (("had looked", broke.looked), (breaking, broke.by), (came_back, broke.came_back))
    return [*marked, *((why, step) for why, step in others if step is not None)]


class _Rows:
    """Makes the rows and gaps of a schedule that has been looked at."""

    def __init__(self, close: CloseLook, marked: Marked) -> None:
        self._close, self._scout = close, close.scout
        self._spans = close.scout.spans
        places = [place for place, span in enumerate(self._spans) if span.departs]
        self._departures = {place: number for number, place in enumerate(places, 1)}
        self._met = MET if any(why in MET for why, _ in marked) else BROKE
        self._marks: dict[int, list[tuple[str, Step]]] = {}
        for why, step in marked:
            self._marks.setdefault(self._scout.place_of(step.actor, step.step), []).append((why, step))
        self._shared = _shared(close)

    def result(self, outcome: Outcome) -> Interleaving:
        """The rows and gaps, in order."""
        rows: list[TurnRow | Gap] = []
        before, states = -1, dict[str, State]()
        for place in self._close.places:
            look = self._close.looks[place]
            if place - before > 1:
                rows.append(self._gap(before + 1, place - 1, states, look.before))
            rows.append(self._row(place, look))
            before, states = place, dict(look.after)
        defect, last, end = outcome.defect, rows[-1] if rows else None, ""
        word = "found" if outcome.verdict is Verdict.FINDING else outcome.verdict.value
        if defect is not None and isinstance(last, TurnRow) and last.actor == defect.actors[0] and not last.end:
            rows[-1] = replace(last, end=f"{word} here: step {defect.step}", found=True)
        elif defect is not None:
            end = f"{word} by {defect.actors[0]}: step {defect.step}"
        if before < len(self._spans) - 1:
            rows.append(self._gap(before + 1, len(self._spans) - 1, states, self._close.final))
        names = {row.actor for row in rows if isinstance(row, TurnRow)}
        actors = tuple(actor.name for actor in self._close.actors if actor.name in names)
        return Interleaving(actors, tuple(rows), outcome.steps, len(self._spans), len(self._departures), end)

    def _gap(self, first: int, last: int, before: Mapping[str, State], after: Mapping[str, State]) -> Gap:
        spans = self._spans[first : last + 1]
        actors = tuple(dict.fromkeys(span.actor for span in spans))
        return Gap(len(spans), actors, spans[0].first, self._scout.last(last), self._changes(before, after))

    def _row(self, place: int, look: Look) -> TurnRow:
        span, given_by = self._spans[place], self._departures.get(place - 1, 0)
        operations = _operations_of(look, self._shared, self._marks.get(place, []), self._met)
        return TurnRow(
            span.actor, span.first, self._scout.last(place), operations,
            max(0, look.operations - len(operations)), look.end,
            self._departures.get(place, 0), given_by,
            self._changes(look.before, look.after, all_of_them=bool(given_by)), look.held,
        )  # fmt: skip

    def _changes(
        self, before: Mapping[str, State], after: Mapping[str, State], *, all_of_them: bool = False
    ) -> tuple[Change, ...]:
        changes = []
        for key in after:
            found = facts(before.get(key, {}), after[key], all_of_them=all_of_them)
            if found:
                changes.append(Change(title_of(self._close.objects[key]), found))
        return tuple(changes)


def _shared(close: CloseLook) -> frozenset[str]:
    """The labels of what several actors are at in the turns that are shown, and at least one writes."""
    users: dict[str, set[str]] = {}
    written = set()
    for place, look in close.looks.items():
        for seen in (*look.concerning, *look.others):
            users.setdefault(seen.label, set()).add(close.scout.spans[place].actor)
            if seen.kind == WRITE:
                written.add(seen.label)
    return frozenset(label for label in written if len(users[label]) > 1 and not label.startswith(COUNTERS))


def _operations_of(look: Look, shared: frozenset[str], marks: Marked, met: Sequence[str]) -> tuple[RowOperation, ...]:
    """The operations of a turn that are shown: those with a mark, and the latest that are about the objects concerned
    or about what other actors are at; if there are none, the last ones."""
    seen = sorted((*look.concerning, *look.others), key=lambda one: one.number)
    marked: dict[int, list[str]] = {}
    strange = []
    for why, step in marks:
        alike = [one for one in seen if step.operation in (one.text, one.text.replace(TRIES, TAKES))]
        if alike:
            nearest = min(alike, key=lambda one: (abs(one.step - step.step), one.number))
            marked.setdefault(nearest.number, []).append(why)
        else:
            strange.append(RowOperation(step.function, step.operation, step.step, (why,), why in met))
    wanted = {(one.function, one.text): one for one in seen if one.concerns or one.label in shared}
    latest = sorted(wanted.values(), key=lambda one: one.number) or seen[-FALLBACK:]
    room = max(0, OPERATIONS_MAX - len(marked) - len(strange))
    chosen = {one.number: one for one in latest[-room:]} if room else {}
    chosen |= {one.number: one for one in seen if one.number in marked}
    operations = []
    for number, one in chosen.items():
        said = tuple(marked.get(number, ()))
        operations.append(RowOperation(one.function, one.text, one.step, said, any(why in met for why in said)))
    return tuple(sorted((*operations, *strange), key=lambda done: done.step))
