"""The ring that holds recorded events, and their listeners.

A rendered event costs five to ten times what a recorded one does. So the hot path appends one flat tuple, which is
rendered when it is read. Recording passes no scheduling point and changes no choice.

A record is (code, step, now in ns, actor number, then the event's fields in the order of the catalogue). That of an
event of a plug-in has the code DECLARED and, before the fields, the event's name.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, Protocol, TypeAlias

import orjson
from typing_extensions import override

from ksmactors.events import catalogue
from ksmactors.events.catalogue import CATALOGUE, WORKLOAD_MARK
from ksmactors.events.declared import DECLARED, PluginEvent, checked

Record: TypeAlias = tuple[Any, ...]
Sink: TypeAlias = Callable[[list[Record]], None]

CHUNK: Final = 4096
"""Records hashed and passed to the sinks at once: large enough for a negligible cost of the call, small enough to
keep."""

KEPT_CHUNKS: Final = 2
"""Chunks kept after they were passed on, for the story of a finding."""


class Clock(Protocol):
    """The part of the conductor that the trace needs."""

    def stamp(self) -> tuple[int, int, int]:
        """Return step, virtual time in ns, number of the running actor."""
        ...


class Trace:
    """The events of one schedule.

    `sinks` get each chunk of records in order; `digest` is a hash over all of them. `marks` counts how often each mark
    was passed; it is 0 for one that was asked for and not passed.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.marks: dict[str, int] = {}
        self.sinks: list[Sink] = []
        self.counts = [0] * len(CATALOGUE)
        self._records: list[Record] = []
        self._kept: deque[list[Record]] = deque(maxlen=KEPT_CHUNKS)
        self._hash = hashlib.blake2b(digest_size=16)
        self._listeners: list[tuple[Callable[..., None], ...]] = [()] * len(CATALOGUE)
        self._plugin_listeners: list[Callable[..., None]] = []

    def emit(self, code: int, *fields: Any) -> None:
        """Record an event; its fields are integers, strings, booleans or None, as the catalogue says."""
        self.counts[code] += 1
        self._records.append((code,) + self.clock.stamp() + fields)  # noqa: RUF005  # at twice the speed
        for listener in self._listeners[code]:
            listener(*fields)
        if len(self._records) >= CHUNK:
            self.flush()

    def emit_declared(self, event: PluginEvent, *fields: Any) -> None:
        """Record an event that a plug-in declares.

        Raises:
            ValueError: no class in use declares it, or the fields are not those that it declares.
        """
        self._take_declared((DECLARED, *self.clock.stamp(), event.name, *checked(event, fields)))

    def _take_declared(self, record: Record) -> None:
        self._records.append(record)
        _, _, _, _, name, *fields = record
        for listener in self._plugin_listeners:
            listener(name, *fields)
        if len(self._records) >= CHUNK:
            self.flush()

    def listen(self, code: int, listener: Callable[..., None]) -> None:
        """Call `listener` with an event's fields each time it is recorded, immediately.

        Raises:
            ValueError: there is no such event, or the listener is no function.
        """
        if not (isinstance(code, int) and 0 <= code < len(self._listeners)):
            raise ValueError(_unknown(code))
        if not callable(listener):
            raise ValueError(f"listen({CATALOGUE[code].name}): {listener!r} is not a function")
        self._listeners[code] = *self._listeners[code], listener

    def listen_declared(self, listener: Callable[..., None]) -> None:
        """Call `listener` with the name and the fields of each event of a plug-in, immediately."""
        self._plugin_listeners.append(listener)

    def forget_listeners(self) -> None:
        """Call no listener any more, after the schedule: most of them refer to the trace."""
        self._listeners = [()] * len(CATALOGUE)
        self._plugin_listeners.clear()

    def mark(self, name: str) -> None:
        """Record that a mark was passed."""
        self.note_mark(name, passed=True)
        self.emit(WORKLOAD_MARK, name)

    def note_mark(self, name: str, *, passed: bool) -> None:
        """Count a mark as passed, or as asked for, without an event."""
        self.marks[name] = self.marks.get(name, 0) + passed

    def flush(self) -> None:
        """Hash the records since the last time and pass them to the sinks."""
        records = self._records
        if records:
            self._hash.update(orjson.dumps(records))
            for sink in self.sinks:
                sink(records)
            self._kept.append(records)
            self._records = []

    def recent(self) -> list[Record]:
        """Return the last records, oldest first."""
        return [record for chunk in self._kept for record in chunk] + self._records

    def digest(self) -> bytes:
        """Return a hash over every record so far."""
        self.flush()
        return self._hash.digest()


def _unknown(code: object) -> str:
    """What to say of a code that no event has: who gives a name gets the constant of the nearest one."""
    names = {event.name: number for number, event in enumerate(CATALOGUE)}
    constants = {value: name for name, value in vars(catalogue).items() if name.isupper() and type(value) is int}
    near = get_close_matches(str(code), names, n=1, cutoff=0.5)
    guess = f"did you mean events.{constants[names[near[0]]]}?" if near else "see `ksmactors list events`"
    return f"listen: there is no event {code!r}; the events are constants of `ksmactors.watcher.events` ({guess})"


class DetailedTrace(Trace):
    """A trace that also takes events of detail. Sinks get all events in order; counts, digest and `recent` are those of
    the same schedule without detail."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._all: list[Record] = []
        self.knows_better: Callable[[Record], Record] = lambda record: record
        """Called with each record before the sinks get it: who observes may know what the kernel cannot."""

    def detail(self, code: int, *fields: Any) -> None:
        """Record an event of detail for the sinks alone."""
        self._all.append((code, *self.clock.stamp(), *fields))
        if len(self._all) >= CHUNK:
            self._hand_over()

    @override
    def emit(self, code: int, *fields: Any) -> None:
        self._all.append(self.knows_better((code, *self.clock.stamp(), *fields)))
        super().emit(code, *fields)

    @override
    def _take_declared(self, record: Record) -> None:
        self._all.append(record)
        super()._take_declared(record)

    @override
    def flush(self) -> None:
        sinks, self.sinks = self.sinks, []
        super().flush()
        self.sinks = sinks
        self._hand_over()

    def _hand_over(self) -> None:
        records, self._all = self._all, []
        if records:
            for sink in self.sinks:
                sink(records)
