"""What `report` is given, and where it writes: findings and logs as one stream of events, output files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from ksmactors.analysis.opening import STDIN
from ksmactors.analysis.reading import LogReader
from ksmactors.diagnose.in_detail import Detailed, replay_in_detail
from ksmactors.errors import UsageError
from ksmactors.escaping import escaped
from ksmactors.files import MIB, read_start, replacing
from ksmactors.interleave.schedule_string import PREFIX, looks_like_schedule
from ksmactors.run.outcome import Verdict
from ksmactors.run.trust import Tell

T = TypeVar("T")

_SCHEDULE: Final = re.compile(rb'"schedule"\s*:\s*"')
"""What a finding file has and no line of a log: there `schedule` is a number."""


class Sources:
    """Findings and logs, to be iterated over: their events, in order, each with the keys of a log line and `file`.

    Findings are replayed with all detail at once, so that what is wrong with them is said before anything is written.
    Logs are read as they are asked for; once they are, `found` says whether there is a finding in any, or a replay that
    differs from its recording.

    Args:
        sources: finding files, files with a schedule string, schedule strings, and logs; `-` is a log.
        trust: whether a finding may load code that it names, as for `replay`.
        tell: told in one line each what could not be read, and what is done on behalf of a finding.

    Raises:
        UsageError: a finding cannot be replayed, or a file cannot be read.
    """

    def __init__(self, sources: Sequence[str], *, trust: bool, tell: Tell) -> None:
        self._tell = tell
        self._sources = list(dict.fromkeys(sources))
        self.replays: dict[str, Detailed] = {}
        """The findings among the sources."""
        self.found = False
        for source in self._sources:
            if is_finding(source):
                replay = self.replays[source] = replay_in_detail(source, trust=trust, tell=tell)
                if not replay.recorded.agrees(replay.outcome):
                    tell(replay.recorded.compare(replay.outcome))
                    self.found = True
                self.found = self.found or replay.outcome.verdict is Verdict.FINDING

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        events = 0
        for source in self._sources:
            name = "schedule" if looks_like_schedule(source) else source
            read = iter(self.replays[source].events) if source in self.replays else self._read(source)
            for event in read:
                events += 1
                self.found = self.found or event["event"] == "finding.found"
                yield {**event, "file": name}
        if not events:
            raise UsageError("report: there is no event in what was given")

    def _read(self, source: str) -> Iterator[Mapping[str, Any]]:
        reader = LogReader(source)
        for line in reader.events():
            yield orjson.loads(line)
        for loss in reader.result()[1]:
            self._tell(str(loss))


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
        raise UsageError(f"{option} {escaped(str(path))}: there is no folder {escaped(str(path.parent))}")


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
