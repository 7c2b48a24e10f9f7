"""A stored log as lines for people, as `run` prints them, and which of its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ksmactors.analysis.store import Logs
from ksmactors.escaping import escaped
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
            values += [event.replace("[", "[[]").replace("?", "[?]") for event in self.events]
        if self.pfn is not None:
            parts.append("? IN (pfn, kpfn, old_pfn, other_kpfn)")
            values.append(self.pfn)
        if self.schedule is not None:
            parts.append("schedule = ?")
            values.append(self.schedule)
        return " AND ".join(parts), values


_WHO = ("actor", "winner", "loser", "holder")


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
