"""Events as columns: what a page holds of a log. An event takes some 25 bytes, not the 250 of its line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ksmactors.escaping import escaped
from ksmactors.events.catalogue import CATALOGUE

EVENTS_MAX: Final = 150_000
"""Events that a page holds; what is beyond is counted. With these it stays below 8 MB."""

TEXT_MAX: Final = 500
"""Characters of one text of an event that a page holds."""

_HEAD: Final = frozenset({
    "event", "run", "seed", "schedule", "step", "now", "timestamp", "actor", "cpu", "node", "level", "file",
})  # fmt: skip
"""Keys of every event, which have columns of their own."""

_INT_EXACT: Final = 1 << 53
"""The integers that JavaScript keeps exactly are below."""

_SUMMARIES: Final = {event.name: event.summary for event in CATALOGUE}

RunKey = tuple[str, str, int, int]


@dataclass(slots=True)
class _Run:
    """One schedule: its columns, and how many of its events are held and left out."""

    number: int
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

    def drop(self) -> int:
        """Hold none of its events any more. Returns how many there were."""
        dropped = len(self.kinds)
        self.left_out += dropped
        for column in (self.kinds, self.actors, self.steps, self.times, self.values):
            column.clear()
        self.last_step = self.last_time = 0
        return dropped


class Columns:
    """Takes events, each with the keys of a log line and `file`; schedules may be mixed. `as_json` is the result."""

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self._events_max = events_max
        self._runs: dict[RunKey, _Run] = {}
        self._texts: dict[str, int] = {}
        self._actors: dict[tuple[str, int, int], int] = {}
        self._kinds: dict[tuple[str, ...], int] = {}
        self._fields: dict[int, tuple[str, ...]] = {}
        self._held = 0
        self.events = 0

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add events, in the order in which they happened."""
        for event in events:
            self._take(event)

    def run_of(self, key: RunKey) -> int:
        """The number of a schedule: by file, run, seed and index."""
        return self._run(key).number

    def _run(self, key: RunKey) -> _Run:
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run(len(self._runs))
        return run

    def _take(self, event: Mapping[str, Any]) -> None:
        run = self._run((event.get("file", ""), event["run"], event["seed"], event["schedule"]))
        self.events += 1
        name = event["event"]
        if name.startswith("race."):
            run.races[name] += 1
        elif name == "finding.found":
            run.found = run.found or str(event.get("signature", ""))
        if run.left_out or not self._has_room(run):
            run.left_out += 1
            return
        kind = self._kind(event)
        run.kinds.append(kind)
        run.actors.append(self._actor(event))
        run.steps.append(event["step"] - run.last_step)
        run.times.append(event["now"] - run.last_time)
        run.last_step, run.last_time = event["step"], event["now"]
        run.values.extend(self._value(event[key]) for key in self._fields[kind])
        self._held += 1

    def _has_room(self, run: _Run) -> bool:
        """Whether one more event can be held; makes room by leaving out the earliest other schedule without a finding.
        That there is one is known at its end."""
        while self._held >= self._events_max:
            victim = next((one for one in self._runs.values() if one.kinds and not one.found and one is not run), None)
            if victim is None:
                return False
            self._held -= victim.drop()
        return True

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
        """A number, true and false as they are; a text as the negative number of its entry in the table; an integer below 0 or beyond
        what JavaScript keeps as a string."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            number = int(value)
            return number if 0 <= number < _INT_EXACT else str(number)
        text = str(value)
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
                    "summary": _SUMMARIES.get(name, "An event that this version does not know."),
                }
                for name, level, *fields in self._kinds
            ],
            "runs": [self._run_json(key, run) for key, run in self._runs.items()],
        }  # fmt: skip

    @staticmethod
    def _run_json(key: RunKey, run: _Run) -> dict[str, Any]:
        file, name, seed, schedule = key
        return {
            "file": _shown(file), "name": _shown(name), "seed": str(seed), "schedule": str(schedule),
            "left_out": run.left_out, "found": _shown(run.found), "races": dict(sorted(run.races.items())),
            "kind": run.kinds, "actor": run.actors, "step": run.steps, "time": run.times, "values": run.values,
        }  # fmt: skip


def _shown(text: str) -> str:
    """A text of at most `TEXT_MAX` characters, with control characters shown."""
    return escaped(text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}...")
