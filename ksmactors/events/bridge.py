"""Between the log of a schedule and what others log: `logging` records of a workload, and processors of structlog.

While a schedule is logged, the records that its code gives to `logging` go into the same stream, as events
`workload.log` at the step at which they were made. They are in no digest: what a workload says is not what it does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from typing_extensions import override

from ksmactors.errors import KsmActorsError, UsageError
from ksmactors.escaping import described, quoted
from ksmactors.events import catalogue as ev
from ksmactors.events.trace import DetailedTrace

Processor = Callable[[Any, str, Any], Any]
"""A processor of structlog: takes a logger, the name of a method and an event, returns what the next one gets."""


class Running(NamedTuple):
    """The schedule that a thread runs: its trace, its actors by number, and what its lines are bound to."""

    trace: DetailedTrace
    actors: Sequence[Any]
    bound: dict[str, object]

    def keys(self) -> dict[str, object]:
        """The keys that a log line has at this moment, without `event`, `level` and `timestamp`."""
        if not self.actors:
            return dict(self.bound)
        step, now, number = self.trace.clock.stamp()
        actor = self.actors[number]
        return {**self.bound, "step": step, "now": now, "actor": actor.name, "cpu": actor.cpu, "node": actor.node}


class _OfThread(threading.local):
    running: Running | None = None


_here: Final = _OfThread()


def bound_keys(_logger: Any, _method: str, event: Any, /) -> Any:
    """A processor of structlog: add run, seed, schedule, step, now, actor, cpu and node of the schedule that is logged.

    For a user's own set-up, such as the `foreign_pre_chain` of structlog's `ProcessorFormatter`. Outside of a schedule,
    and in one without a log, it changes nothing. A key that is there already stays.
    """
    if _here.running is not None:
        for key, value in _here.running.keys().items():
            event.setdefault(key, value)
    return event


class _Records(logging.Handler):
    """Takes the records of the thread that runs the schedule into its trace."""

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running, self._thread = running, threading.get_ident()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread or not self._running.actors:
            return
        try:
            message = record.getMessage()
        except Exception as error:  # the arguments do not fit the text: logging itself would print a traceback
            message = f"{record.msg if isinstance(record.msg, str) else quoted(record.msg)} ({described(error)})"
        raised = record.exc_info[1] if record.exc_info else None
        exception = None if raised is None else _text(described(raised))
        self._running.trace.detail(
            ev.WORKLOAD_LOG, _text(record.name), level_of(record.levelno), _text(message), exception
        )


def _text(value: object) -> str:
    """A text that UTF-8 can hold."""
    return str(value).encode(errors="backslashreplace").decode()


def level_of(number: int) -> str:
    """The level of an event for a level of `logging`."""
    names = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))
    return next((name for least, name in names if number >= least), "debug")


@contextmanager
def taking_records(trace: DetailedTrace, actors: Sequence[Any], **bound: object) -> Iterator[None]:
    """For one schedule that is logged: `logging` records of this thread go into its trace, and `bound_keys` knows it.

    Which records there are is for the levels of the loggers to say, as ever: the root logger leaves out what is below
    warning unless the workload or the user sets it.
    """
    running = Running(trace, actors, bound)
    handler, before = _Records(running), _here.running
    root = logging.getLogger()
    _here.running = running
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        _here.running = before


def checked(processors: object, origin: str) -> list[Processor]:
    """The processors that a user's function has returned, each so that what it raises is one line.

    Raises:
        UsageError: they are no processors.
    """
    if not isinstance(processors, (list, tuple)) or not all(callable(one) for one in processors):
        raise UsageError(f"{origin}: must return a list of structlog processors, not {type(processors).__name__}")
    return [_guarded(one, origin) for one in processors]


def _guarded(processor: Processor, origin: str) -> Processor:
    from structlog import DropEvent

    def guarded(logger: Any, method: str, event: Any, /) -> Any:
        try:
            return processor(logger, method, event)
        except (DropEvent, KsmActorsError):
            raise
        except Exception as error:
            name = getattr(processor, "__qualname__", type(processor).__qualname__)
            raise UsageError(f"{origin}: the processor {name} raised {described(error)}") from error

    return guarded


def with_level(_logger: Any, level: str, event: Any, /) -> Any:
    """A processor of structlog: the level, which stands before a user's own processors."""
    event["level"] = level
    return event


def last(form: Processor) -> Processor:
    """The last processor: what a user's own have made a text or bytes is the line, an event is rendered by `form`."""

    def render(logger: Any, level: str, event: Any, /) -> bytes:
        if isinstance(event, str):
            event = event.encode(errors="backslashreplace")
        if isinstance(event, (bytes, bytearray)):
            return bytes(event) if event.endswith(b"\n") else bytes(event) + b"\n"
        if not isinstance(event, dict):
            raise UsageError(f"the last processor returned {type(event).__name__}, not an event, text or bytes")
        try:
            rendered: bytes = form(logger, level, event)
        except TypeError as error:
            raise UsageError(f"an event cannot be written after --log-config: {error}") from None
        return rendered

    return render
