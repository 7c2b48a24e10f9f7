"""Moments of a schedule, and goals: the moments at which a walk through a replay stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from typing_extensions import override

from ksmactors.diagnose.objects import name_of_object
from ksmactors.events.declared import all_events, event_of
from ksmactors.events.trace import Record
from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.labels import label_of, matches
from ksmactors.interleave.tape import Departed

STEP_DIGITS: Final = 18
"""Digits of a step: more than any schedule has."""


class ScheduleMoment(NamedTuple):
    """What an actor did between two scheduling points, or a departure from the default order.

    Attributes:
        number: of the moment in its schedule, from 1.
        step: points passed when it began; several moments may have the same.
        now: virtual time, ns.
        actor: who did it.
        op: the operation that it had declared; None for what an actor does before its first one.
        function: the kernel function of it.
        touched: all operations, `op` and those without a point of their own.
        news: what it did to other actors, as predicates: "wakes ksmd".
        records: the events that were recorded.
        departed: the departure, if this is one.
        ends: whether the schedule ends with it.
    """

    number: int
    step: int
    now: int
    actor: Actor
    op: Operation | None
    function: str
    touched: tuple[Operation, ...] = ()
    news: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    departed: Departed | None = None
    ends: bool = False


# -- goals ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AtMoment:
    """The moment of a number, or the first one after it."""

    number: int

    def reached(self, moment: ScheduleMoment) -> bool:
        """Whether a walk stops after this moment."""
        return moment.number >= self.number

    @override
    def __str__(self) -> str:
        return f"moment {self.number}"


@dataclass(frozen=True, slots=True)
class AtStep:
    """The first moment with at least so many points passed."""

    step: int

    def reached(self, moment: ScheduleMoment) -> bool:
        """Whether a walk stops after this moment."""
        return moment.step >= self.step

    @override
    def __str__(self) -> str:
        return f"step {self.step}"


@dataclass(frozen=True, slots=True)
class AtDeparture:
    """The next departure from the default order."""

    def reached(self, moment: ScheduleMoment) -> bool:
        """Whether a walk stops after this moment."""
        return moment.departed is not None

    @override
    def __str__(self) -> str:
        return "a further departure"


@dataclass(frozen=True, slots=True)
class AtTouch:
    """The next operation on an object, on a field of it, or on what begins with that label."""

    name: str

    def reached(self, moment: ScheduleMoment) -> bool:
        """Whether a walk stops after this moment."""
        return any(
            matches(label_of(op), self.name) or matches(name_of_object(op[1]), self.name) for op in moment.touched
        )

    @override
    def __str__(self) -> str:
        return f"an operation on {self.name}"


@dataclass(frozen=True, slots=True)
class AtEvent:
    """The next event of a name; `race` is any event whose name begins with `race.`."""

    name: str

    def reached(self, moment: ScheduleMoment) -> bool:
        """Whether a walk stops after this moment."""
        return any(self.means(event_of(record)[0].name) for record in moment.records)

    def means(self, name: str) -> bool:
        """Whether this is the name of such an event."""
        return name == self.name or name.startswith(f"{self.name}.")

    @override
    def __str__(self) -> str:
        return f"an event {self.name}"


@dataclass(frozen=True, slots=True)
class AtEnd:
    """The end of the schedule."""

    def reached(self, moment: ScheduleMoment) -> bool:
        """Whether a walk stops after this moment."""
        return False

    @override
    def __str__(self) -> str:
        return "the end"


Goal: TypeAlias = AtMoment | AtStep | AtDeparture | AtTouch | AtEvent | AtEnd


def goal_of(text: str) -> Goal:
    """Return the goal that a STEP, OBJECT or EVENT names. A number is a step; the name of an event an event."""
    if text.isascii() and text.isdigit():
        return AtStep(int(text[:STEP_DIGITS]))
    event = AtEvent(text)
    return event if any(event.means(one.name) for one in all_events()) else AtTouch(text)
