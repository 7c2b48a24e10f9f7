"""Events as columns: what a page holds of a log. An event takes some 25 bytes, not the 250 of its line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ksmactors.escaping import escaped, shortened
from ksmactors.events.catalogue import CATALOGUE, DETAIL
from ksmactors.events.declared import PLUGIN_EVENTS

EVENTS_MAX: Final = 200_000
"""Events that a page holds; what is beyond is counted. With these it stays below 8 MB."""

RUNS_MAX: Final = 4_000
"""Schedules that a page holds."""

TEXTS_MAX: Final = 1_000_000
"""Characters of different texts that a page holds; the values of events beyond these are left out."""

LEFT_OUT: Final = "(left out)"
"""Stands for a text beyond."""

TEXT_MAX: Final = 500
"""Characters of one text of an event that a page holds."""

_HEAD: Final = frozenset({
    "event", "run", "seed", "schedule", "step", "now", "timestamp", "actor", "cpu", "node", "level", "file", "line",
})  # fmt: skip
"""Keys of every event, which have columns of their own."""

_INT_EXACT: Final = 1 << 53
"""The integers that JavaScript keeps exactly are below."""

_DETAIL: Final = frozenset(CATALOGUE[code].name for code in DETAIL)

_SUMMARIES: Final = {event.name: event.summary for event in CATALOGUE}

RunKey = tuple[str, str, int, int]


@dataclass(slots=True)
class _ScheduleColumns:
    """One schedule: its columns, and how many of its events are left out."""

    kinds: list[int] = field(default_factory=list)
    actors: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[int | str | None] = field(default_factory=list)
    left_out: int = 0
    races: Counter[str] = field(default_factory=Counter)
    found: str = ""
    last_step: int = 0
    last_time: int = 0


class Columns:
    """Takes events, each with the keys of a log line and `file`; schedules may be mixed. `as_json` is the result."""

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self._events_max = events_max
        self._runs: dict[RunKey, _ScheduleColumns] = {}
        self._gone: set[RunKey] = set()
        self._texts: dict[str, int] = {}
        self._characters = 0
        self._actors: dict[tuple[str, int, int], int] = {}
        self._kinds: dict[tuple[str, ...], int] = {}
        self._fields: dict[int, tuple[str, ...]] = {}
        self._held = 0
        self.events = 0

    @property
    def left_out(self) -> int:
        """How many events are not held."""
        return self.events - self._held

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add events, in the order in which they happened."""
        for event in events:
            self._take(event)

    def number_of(self, key: RunKey) -> int:
        """The number of a schedule in the result, by file, run, seed and index; -1 if it was left out."""
        return list(self._runs).index(key) if key in self._runs else -1

    def _take(self, event: Mapping[str, Any]) -> None:
        key = (event.get("file", ""), event["run"], event["seed"], event["schedule"])
        self.events += 1
        if key in self._gone:
            return
        run = self._runs.get(key)
        if run is None:
            while len(self._runs) >= RUNS_MAX and self._leave_out(None):
                pass
            run = self._runs[key] = _ScheduleColumns()
        name = event["event"]
        if name.startswith("race."):
            run.races[name] += 1
        elif name == "finding.found":
            run.found = run.found or str(event.get("signature", ""))
        while self._held >= self._events_max and self._leave_out(run):
            pass
        if self._held >= self._events_max:
            run.left_out += 1
            return
        self._hold(run, event)

    def _hold(self, run: _ScheduleColumns, event: Mapping[str, Any]) -> None:
        kind = self._kind(event)
        run.kinds.append(kind)
        run.actors.append(self._actor(event))
        run.steps.append(_on(run.last_step, event["step"]))
        run.times.append(_on(run.last_time, event["now"]))
        run.last_step += run.steps[-1]
        run.last_time += run.times[-1]
        run.values.extend(self._value(event[key]) for key in self._fields[kind])
        self._held += 1

    def _leave_out(self, current: _ScheduleColumns | None) -> bool:
        """Leave out the earliest other schedule without a finding; whether there was one. Findings come at the end, so
        that the latest schedule may still have one."""
        for key, run in self._runs.items():
            if not run.found and run is not current:
                self._held -= len(run.kinds)
                self._gone.add(key)
                del self._runs[key]
                return True
        return False

    def _kind(self, event: Mapping[str, Any]) -> int:
        fields = tuple(key for key in event if key not in _HEAD)
        key = (event["event"], str(event.get("level", "")), *fields)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = len(self._kinds)
            self._fields[kind] = fields
        return kind

    def _actor(self, event: Mapping[str, Any]) -> int:
        return self._actors.setdefault((event["actor"], event["node"], event["cpu"]), len(self._actors))

    def _value(self, value: object) -> int | str | None:
        """A number, true and false as they are; a text as the negative number of its entry in the table; an integer
        below 0, or beyond what JavaScript keeps, as a string."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            number = int(value)
            return number if 0 <= number < _INT_EXACT else str(number)
        text = str(value)
        if text not in self._texts:
            self._characters += min(len(text), TEXT_MAX)
            if self._characters > TEXTS_MAX:
                text = LEFT_OUT
        number = self._texts.get(text, -1)
        if number < 0:
            number = self._texts[text] = len(self._texts)
        return -1 - number

    def as_json(self) -> dict[str, Any]:
        """The tables and the columns, for JSON; all texts escaped."""
        return {
            "texts": [_shown(text) for text in self._texts],
            "actors": [[_shown(name), node, cpu] for name, node, cpu in self._actors],
            "kinds": [
                {
                    "name": _shown(name), "level": _shown(level), "fields": fields,
                    "detail": name in _DETAIL,
                    "summary": _SUMMARIES.get(name) or _summary_of_plugin(name),
                }
                for name, level, *fields in self._kinds
            ],
            "runs": [self._run_json(key, run) for key, run in self._runs.items()],
        }  # fmt: skip

    @staticmethod
    def _run_json(key: RunKey, run: _ScheduleColumns) -> dict[str, Any]:
        file, name, seed, schedule = key
        return {
            "file": _shown(file), "name": _shown(name), "seed": str(seed), "schedule": str(schedule),
            "left_out": run.left_out, "found": _shown(run.found), "races": dict(sorted(run.races.items())),
            "kind": run.kinds, "actor": run.actors, "step": run.steps, "time": run.times, "values": run.values,
        }  # fmt: skip


def _on(last: int, value: int) -> int:
    """How far a number is from the last one, as far as JavaScript keeps it: a log from a stranger may have any."""
    return max(-_INT_EXACT, min(value - last, _INT_EXACT))


def _summary_of_plugin(name: str) -> str:
    event = PLUGIN_EVENTS.get(name)
    return _shown(event.summary) if event is not None else "An event that is not declared here."


def _shown(text: str) -> str:
    """A text of at most `TEXT_MAX` characters, with control characters shown."""
    return escaped(shortened(text, TEXT_MAX))
