"""Findings and logs as one stream of events, for the page, the trace and comparisons; output files."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Generic, Protocol, TypeVar

import orjson

from ksmactors.analysis.opening import STDIN
from ksmactors.analysis.reading import EventSource, LogFile, LogReader, Loss
from ksmactors.cli.outputs import Output, files_of, refuse_overwriting
from ksmactors.diagnose.replaying import Recorded, recorded
from ksmactors.errors import FOUND, USAGE, UsageError
from ksmactors.escaping import escaped
from ksmactors.files import MIB, read_start, replacing
from ksmactors.interleave.schedule_string import PREFIX, looks_like_schedule
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.trust import Tell

if TYPE_CHECKING:
    from ksmactors.analysis.store import Logs

T = TypeVar("T")

_STANDARD_INPUT: Final = "standard input"

_SCHEDULE: Final = re.compile(rb'"schedule"\s*:\s*"')
"""What a finding file has and no line of a log: there `schedule` is a number."""


class FindingReplay(Protocol):
    """What came of the replay of a finding: the outcome, and its events in order, each with the keys of a log line."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def events(self) -> Sequence[Mapping[str, Any]]: ...


R = TypeVar("R", bound=FindingReplay)


class Sources(Generic[R]):
    """Findings and logs, to be iterated over: their events, in order, each with the keys of a log line and `file`.

    Findings are replayed at once, so that what is wrong with them is said before anything is written. Logs are read
    when they are asked for; `found`, `unread` and `notes` are complete after that.

    Args:
        sources: finding files, files with a schedule string, schedule strings, and logs; `-` is a log. Duplicates are
            read once.
        replay: how a finding is replayed, in trio; None: all sources are logs.
        trust: whether a finding may load code that it names, as for `replay`.
        tell: gets one line for each thing that could not be read, and for what is done on behalf of a finding.
        reader: opens a log.

    Attributes:
        names: how each source is called: without the folder, which is of one machine; equal names get a number.
        replays: what came of each finding.
        found: whether there is a finding in any source, or a replay that differs from its recording.
        unread: whether a log could not be read.
        notes: the lines that `tell` got about the sources, with their names; and how many foreign lines a log has.

    Raises:
        UsageError: a finding cannot be replayed, or a file cannot be read.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        replay: Callable[[Recorded], Awaitable[R]] | None,
        trust: bool,
        tell: Tell,
        reader: Callable[[str], EventSource] = LogReader,
    ) -> None:
        self._tell, self._open = tell, reader
        self._sources = list(dict.fromkeys(sources))
        self._loaded: dict[str, Logs] = {}
        self.names = _names(self._sources)
        self.replays: dict[str, R] = {}
        self._run: list[Recorded] = []
        self.found = self.unread = False
        self.notes: list[str] = []
        for source in self._sources:
            if replay is not None and is_finding(source):
                self._run.append(recorded(source, trust=trust, tell=tell))
                self.replays[source] = self._replayed(self._run[-1], replay)

    def _replayed(self, then: Recorded, replay: Callable[[Recorded], Awaitable[R]]) -> R:
        async def task() -> R:
            return await replay(then)

        done: R = run_async(task)
        if not then.confirms(done.outcome):
            self.note(then.compare(done.outcome))
            self.found = True
        self.found = self.found or done.outcome.verdict is Verdict.FINDING
        return done

    def refuse_overwriting(self, outputs: Sequence[Output]) -> None:
        """Refuse to replace a file that a finding names.

        Raises:
            UsageError: an output is such a file.
        """
        refuse_overwriting(outputs, (file for one in self._run for file in files_of([one.subject], one.strategy)))

    @property
    def status(self) -> int:
        """1 if there is a finding in any, or a replay that differs; else 2 if a log could not be read; else 0."""
        return FOUND if self.found else USAGE if self.unread else 0

    def note(self, line: str) -> None:
        """Tell a line, and keep it."""
        self.notes.append(line)
        self._tell(line)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        events = 0
        for source in self._sources:
            for event in self.events(source):
                events += 1
                yield event
        if not events:
            raise UsageError("there is no event in what was given")

    def events(self, source: str) -> Iterator[Mapping[str, Any]]:
        """The events of one source, each with its `file`."""
        for event in self._read(source):
            self.found = self.found or event["event"] == "finding.found"
            yield {**event, "file": self.names[source]}

    def reader(self, source: str) -> EventSource:
        """What reads one source for `Logs`, whether it is a log or a finding."""
        if source in self.replays:
            return _ReplayReader(self.names[source], self.replays[source].events)
        return self._open(source)

    def load(self, source: str) -> Logs:
        """Read one source into a database of its own, which gives its `events` from then on: a pipe is read once."""
        from ksmactors.analysis.store import Logs

        logs = self._loaded[source] = Logs([source], reader=self.reader)
        return logs

    def _read(self, source: str) -> Iterator[Mapping[str, Any]]:
        if source in self.replays:
            yield from self.replays[source].events
        elif source in self._loaded:
            logs = self._loaded[source]
            yield from logs.lines()
            self._take_note(source, logs.files[0], logs.losses, lambda _: None)
        else:
            reader = self._open(source)
            for line in reader.events():
                yield orjson.loads(line)
            self._take_note(source, *reader.result(), self._tell)

    def _take_note(self, source: str, file: LogFile, losses: Sequence[Loss], tell: Tell) -> None:
        name = self.names[source]
        self.unread = self.unread or not file.read
        for loss in losses:
            tell(str(loss))
            self.notes.append(str(loss).replace(source, name, 1))
        if file.lines_lost and file.events:
            self.notes.append(f"{name}: {quantity(file.events, 'event')}, {quantity(file.lines_lost, 'line')} lost")


class _ReplayReader:
    """A replay's events, read as those of a log."""

    def __init__(self, name: str, events: Sequence[Mapping[str, Any]]) -> None:
        self._name, self._events = name, events
        self.consumed = 0
        self.size: int | None = None

    def blocks(self) -> Iterator[bytes]:
        return self.events()

    def events(self) -> Iterator[bytes]:
        for number, event in enumerate(self._events, 1):
            yield orjson.dumps({"line": number, **event}, option=orjson.OPT_APPEND_NEWLINE)

    def result(self) -> tuple[LogFile, list[Loss]]:
        return LogFile(self._name, bool(self._events), len(self._events), 0, 0), []


def _names(sources: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    taken: set[str] = set()
    for source in sources:
        base = "schedule" if looks_like_schedule(source) else _STANDARD_INPUT if source == STDIN else Path(source).name
        numbered = (f"{base} ({number})" for number in count(2))
        name = base if base not in taken else next(name for name in numbered if name not in taken)
        taken.add(name)
        names[source] = name
    return names


def is_finding(source: str) -> bool:
    """Whether a source is to be replayed; else it is a log.

    Raises:
        UsageError: the file cannot be read.
    """
    if looks_like_schedule(source):
        return True
    if source == STDIN or (Path(source).exists() and not Path(source).is_file()):
        return False
    start = read_start(source, MIB, "finding or log").lstrip()
    return start.startswith(PREFIX.encode()) or (start.startswith(b"{") and _SCHEDULE.search(start) is not None)


def refuse_existing(path: Path, option: str, *, force: bool) -> None:
    """Say before the work whether an output file may be written.

    Raises:
        UsageError: it exists and may not be replaced, or it is no regular file, or there is no folder for it.
    """
    if os.path.lexists(path):
        if path.is_symlink() or not path.is_file():
            raise UsageError(f"{option} {escaped(str(path))}: is not a regular file")
        if not force:
            raise UsageError(f"{option} {escaped(str(path))}: exists; give --force to replace it, or name another file")
    elif not path.parent.is_dir():
        raise UsageError(f"{option} {escaped(str(path))}: there is no directory {escaped(str(path.parent))}")


def write_output(path: Path, option: str, write: Callable[[BinaryIO], T], *, force: bool) -> T:
    """Write an output file, whole or not at all; return what `write` does.

    Raises:
        UsageError: it cannot be written, or exists by now and may not be replaced.
    """
    try:
        with replacing(path, force=force) as file:
            return write(file)
    except OSError as error:
        raise UsageError(f"{option} {escaped(str(path))}: cannot be written ({error.strerror})") from None
