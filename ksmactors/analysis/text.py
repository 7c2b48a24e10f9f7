"""A stored log as lines for people, as `run` prints them, and which of its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from ksmactors.analysis.pages import first_with
from ksmactors.analysis.store import Logs
from ksmactors.errors import UsageError, unknown
from ksmactors.escaping import escaped
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.terminal import PersonForm


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; what is empty or None does not matter.

    Attributes:
        actors: one of these was running, won, lost or had the lock.
        events: names of events; `*` stands for anything.
        pfn: a frame that the event is about.
        schedule: index of the schedule in its run.
    """

    actors: Sequence[str] = ()
    events: Sequence[str] = ()
    pfn: int | None = None
    schedule: int | None = None

    def where(self) -> tuple[str, list[object]]:
        """The condition in SQL, and the values of its parameters."""
        parts, values = ["true"], list[object]()
        if self.actors:
            places = ", ".join("?" * len(self.actors))
            parts.append("(" + " OR ".join(f"{key} IN ({places})" for key in _WHO) + ")")
            values += [*self.actors] * len(_WHO)
        if self.events:
            parts.append("(" + " OR ".join(["event GLOB ?"] * len(self.events)) + ")")
            values += map(_pattern, self.events)
        if self.pfn is not None:
            parts.append("? IN (pfn, kpfn, old_pfn, other_kpfn)")
            values.append(self.pfn)
        if self.schedule is not None:
            parts.append("schedule = ?")
            values.append(self.schedule)
        return " AND ".join(parts), values

    def check(self, logs: Logs) -> list[str]:
        """Refuse what no event of the logs has; return a line for each event that exists and is not in them.

        Raises:
            UsageError: an actor, event, frame or schedule does not exist; the message says what there is.
        """
        heard = [f"SELECT {key} AS name FROM events" for key in _WHO]
        actors = [name for (name,) in logs.rows(f"SELECT DISTINCT name FROM ({' UNION '.join(heard)}) ORDER BY name")]
        for actor in self.actors:
            if actor not in actors:
                raise UsageError(unknown("actor", actor, filter(None, actors)))
        absent = [event for event in self.events if not logs.rows(_ANY_EVENT, _pattern(event))]
        for event in absent:
            if not any(fnmatchcase(one.name, _pattern(event)) for one in CATALOGUE):
                there = [name for (name,) in logs.rows("SELECT DISTINCT event FROM events ORDER BY event")]
                raise UsageError(unknown("event", event, there))
        if self.schedule is not None and not logs.rows(
            "SELECT 1 FROM events WHERE schedule = ? LIMIT 1", self.schedule
        ):
            ((first, last),) = logs.rows("SELECT min(schedule), max(schedule) FROM events")
            raise UsageError(f"no schedule {self.schedule}; there are: {first} to {last}")
        if self.pfn is not None:
            first_with(logs, self.pfn, self.schedule)
        return [f"--event {event}: there is none in what was given" for event in absent]


def _pattern(event: str) -> str:
    """Return the name of an event as a pattern in which only `*` stands for something else."""
    return event.replace("[", "[[]").replace("?", "[?]")


_ANY_EVENT: Final = "SELECT 1 FROM events WHERE event GLOB ? LIMIT 1"

_WHO: Final = ("actor", "winner", "loser", "holder")


def readable(logs: Logs, wanted: Filter, *, color: bool = False) -> Iterator[str]:
    """The events that are wanted, in the order of the logs, each as a line; a line of its own before each schedule."""
    condition, values = wanted.where()
    form, before = PersonForm(color=color), None
    for line in logs.lines(condition, *values):
        where = (line.pop("file"), line["run"], line["seed"], line["schedule"])
        del line["line"]
        if where != before:
            yield f"{escaped(where[0])}: {escaped(where[1])}, seed {where[2]}, schedule {where[3]}"
            form, before = PersonForm(color=color), where
        yield form.line(line["level"] or "info", line)
