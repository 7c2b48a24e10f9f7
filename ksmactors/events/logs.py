"""Render recorded tuples as log lines, through structlog: as JSON or in a form for people.

Nothing here reads a clock or a random number, so equal schedules give equal bytes. structlog takes 160 ms to import and
is imported when the first log is opened.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol, Self

import orjson

from ksmactors.aside import stderr, stdout
from ksmactors.errors import CLOSED_PIPE, INCONCLUSIVE, USAGE, UsageError
from ksmactors.escaping import escaped, escaped_json
from ksmactors.events.bridge import Processor, checked, last, with_level
from ksmactors.events.catalogue import CATALOGUE, WORKLOAD_LOG
from ksmactors.events.declared import DECLARED, event_of
from ksmactors.events.templates import JsonLines, Labels, add_derived
from ksmactors.events.trace import Record, Sink

ALWAYS: Final = ("event", "run", "seed", "schedule", "step", "now", "timestamp", "actor", "cpu", "node", "level")
"""The keys of every line, in order; an event's own fields follow. No event may have a field of such a name."""

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_RENDERED: Final = [(event.level, event.name, tuple(field.name for field in event.fields)) for event in CATALOGUE]


EPOCH: Final = datetime(2013, 4, 29, tzinfo=UTC)
"""The moment at which every schedule begins, so that viewers of logs have dates to show: when Linux v3.9 was released.
There are viewers that take a date whose number of seconds is 0 for none."""

_LAST_SECOND: Final = 253_402_300_799 - int(EPOCH.timestamp())
"""That of the last date there is: sleeping is free, so a schedule can come later."""


def timestamp(now: int) -> str:
    """Virtual time in ns as a date of ISO 8601, with nine digits of a second, counted from `EPOCH`."""
    seconds, ns = divmod(now, 1_000_000_000)
    return f"{_second(seconds)}.{ns:09}Z"


@lru_cache(64)
def _second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=min(seconds, _LAST_SECOND))).strftime("%Y-%m-%dT%H:%M:%S")


def rendered(record: Record) -> tuple[str, str, dict[str, Any]]:
    """The level and the name of a record's event, and its own fields with those that follow from them."""
    code, _, _, _, *values = record
    if code == DECLARED:
        event, values = event_of(record)
        return event.level, event.name, dict(zip((field.name for field in event.fields), values, strict=True))
    level, name, fields = _RENDERED[code]
    if code == WORKLOAD_LOG:
        level = values[1]
    add_derived(code, values)
    return level, name, dict(zip(fields, values, strict=True))


class Log(Protocol):
    """Where the events of schedules go: a `LogWriter` or an `EventList`."""

    def sink(self, actors: Sequence[Labels], *, run: str, seed: int, schedule: int) -> Sink:
        """A sink for the Trace of one schedule; `actors` is the conductor's table, which may still grow."""
        ...


class Form(Protocol):
    """structlog's last processor: how an event becomes a line, newline included."""

    def __call__(self, logger: Any, level: str, event: Any, /) -> bytes: ...


def json_line(_logger: Any, level: str, event: Any, /) -> bytes:
    """One JSON object; its keys come in the order in which they were bound."""
    event["level"] = level
    return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)


def terminal_json_line(_logger: Any, level: str, event: Any, /) -> bytes:
    """The same JSON with control characters escaped, for a terminal."""
    return escaped_json(json_line(_logger, level, event).decode()).encode()


def configure(lines: object, form: Form, level: str, *, processors: Sequence[Processor] = (), **bound: object) -> Any:
    """A structlog logger that renders with `form` into `lines`, after a user's own `processors`; drops what is below
    `level`.

    All keys that every line has are bound here, in their order, since a key keeps its first position. structlog's
    global configuration stays untouched: many schedules with logs of their own share a process.
    """
    import structlog

    return structlog.wrap_logger(
        lines,
        processors=[with_level, *processors, last(form)] if processors else [form],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        context_class=dict,
        cache_logger_on_first_use=False,
    ).bind(**(dict.fromkeys(ALWAYS) | bound))


class _RenderedLines:
    """Collects rendered lines for structlog, so that a chunk of events is one write."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.debug = self.info = self.warning = self.error = self.waiting.append


class LogWriter:
    """A log file or stream; a context manager that flushes at its end, however the block ends.

    Serves one schedule after another, each through a `sink` of its own. A closed pipe is no error. Any other write
    failure is reported once on standard error and ends the log, not the run; `status` gives the exit status.

    Args:
        stream: where bytes go.
        name: its name in messages.
        form: how an event is rendered.
        level: debug, info, warning or error; what is below is left out.
        is_part: whether it is a part of a log that another process writes, which reports a failure.
        processors: of structlog, a user's own, run on each event before it is rendered. One that returns a text or
            bytes has rendered it. What they raise ends the schedule as a UsageError.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        form: Form,
        *,
        level: str = "debug",
        processors: Sequence[Processor] = (),
        is_part: bool = False,
    ) -> None:
        self.name, self.is_part, self.problem = name, is_part, ""
        self.processors = checked(list(processors), f"log {name}")
        self.form, self.level = form, level
        self.lines = _RenderedLines()
        self._stream: BinaryIO | None = stream
        self._is_standard = stream is getattr(stdout(), "buffer", None)
        self._status = 0

    def status(self, otherwise: int) -> int:
        """Return the exit status of the command: a finding or an interrupt takes precedence over a write failure."""
        return self._status if self._status and otherwise in (0, INCONCLUSIVE) else otherwise

    def failed(self, problem: str) -> None:
        """A part of the log could not be written by another process: the log ends here. Empty if it could."""
        if problem and self._stream is not None:
            self._give_up(OSError(errno.EIO, problem))

    def sink(self, actors: Sequence[Labels], *, run: str, seed: int, schedule: int) -> LogSink:
        """Return a sink for the Trace of one schedule; `actors` is the conductor's table, which may still grow."""
        return LogSink(self, actors, run=run, seed=seed, schedule=schedule)

    def write(self) -> None:
        """Write the rendered lines."""
        waiting = self.lines.waiting
        if waiting and self._stream is not None:
            try:
                self._stream.write(b"".join(waiting))
                self._stream.flush()
            except OSError as error:
                self._give_up(error)
        waiting.clear()

    def copy(self, path: Path, size: int) -> None:
        """Write the lines that another process has rendered into a file: the first `size` bytes of it."""
        self.write()
        if self._stream is not None:
            try:
                with path.open("rb") as part:
                    while size > 0 and (chunk := part.read(min(size, 1 << 20))):
                        self._stream.write(chunk)
                        size -= len(chunk)
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and not self._is_standard:
            with suppress(OSError):  # its buffer cannot be written either
                stream.close()
        elif stream is not None:
            # Python's remaining buffer must not fail again at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        if error.errno != errno.EPIPE:
            self._status, self.problem = USAGE, str(error.strerror)
            if self.is_part:
                return
            stderr().write(f"ksmactors: log {escaped(self.name)}: {error.strerror}; the rest of the log is lost\n")
        elif self._is_standard:
            self._status = CLOSED_PIPE

    def close(self) -> None:
        """Write the remaining lines, and close the file unless it is standard output."""
        self.write()
        stream, self._stream = self._stream, None
        if stream is not None and not self._is_standard:
            try:
                stream.close()
            except OSError as error:
                self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LogSink:
    """Renders the records of one schedule. One logger is bound per actor, not per event.

    Where nothing but `json_line` is asked of structlog, and no event is left out, templates give the same bytes.
    """

    def __init__(self, writer: LogWriter, actors: Sequence[Labels], *, run: str, seed: int, schedule: int) -> None:
        self._writer, self._actors = writer, actors
        bound: dict[str, Any] = {"run": run, "seed": seed, "schedule": schedule}
        plain = writer.form is json_line and not writer.processors and writer.level == "debug"
        self._templates = JsonLines(actors, bound, timestamp) if plain else None
        self._base = (
            None if plain
            else configure(writer.lines, writer.form, writer.level, processors=writer.processors, **bound)
        )  # fmt: skip
        self._bound: list[dict[str, Any]] = []

    def __call__(self, records: list[Record]) -> None:
        if self._templates is not None:
            self._writer.lines.waiting.append(self._templates.render(records))
        else:
            self._log(records)
        self._writer.write()

    def _log(self, records: list[Record]) -> None:
        for record in records:
            _, step, now, number, *_ = record
            level, name, fields = rendered(record)
            if number >= len(self._bound):
                self._bind()
            self._bound[number][level](name, step=step, now=now, timestamp=timestamp(now), **fields)

    def _bind(self) -> None:
        assert self._base is not None
        for actor in self._actors[len(self._bound) :]:
            logger = self._base.bind(actor=actor.name, cpu=actor.cpu, node=actor.node)
            self._bound.append({level: getattr(logger, level) for level in LEVELS})


class EventList:
    """The events of schedules as values, each with the keys of a log line: for what is made of them in this process."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def sink(self, actors: Sequence[Labels], *, run: str, seed: int, schedule: int) -> Sink:
        """A sink for the Trace of one schedule; `actors` is the conductor's table, which may still grow."""

        def keep(records: list[Record]) -> None:
            for record in records:
                _, step, now, number, *_ = record
                level, name, fields = rendered(record)
                actor = actors[number]
                self.events.append(
                    {"event": name, "run": run, "seed": seed, "schedule": schedule, "step": step, "now": now,
                     "timestamp": timestamp(now),
                     "actor": actor.name, "cpu": actor.cpu, "node": actor.node, "level": level,
                     **fields}
                )  # fmt: skip

        return keep


def open_log(path: str, processors: Sequence[Processor] = (), *, is_part: bool = False) -> LogWriter:
    """A log of JSON lines in a new file, or on standard output for `-`; UsageError if it cannot be written.

    `processors` and `is_part` are as for `LogWriter`.
    """
    if path == "-":
        form = terminal_json_line if stdout().isatty() else json_line
        return LogWriter(stdout().buffer, "standard output", form, processors=processors)
    try:
        stream = Path(path).open("wb")  # noqa: SIM115  # the LogWriter closes it
    except OSError as error:
        raise UsageError(f"log {path}: cannot be written: {error.strerror}") from error
    return LogWriter(stream, path, json_line, processors=processors, is_part=is_part)
