"""The page for the browser, from findings and logs: what `report --html` and `analyze --html` write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson

from ksmactors import interruption
from ksmactors.analysis.opening import STDIN
from ksmactors.analysis.reading import LogReader
from ksmactors.cli.report_sources import is_finding
from ksmactors.diagnose.explained import SCHEDULES_MAX
from ksmactors.diagnose.replaying import recorded
from ksmactors.errors import FOUND, USAGE, UsageError
from ksmactors.escaping import escaped
from ksmactors.interleave.schedule_string import looks_like_schedule
from ksmactors.report.columns import Columns, RunKey
from ksmactors.report.findings import Examined, Replayed, examine, examined_json
from ksmactors.report.functions import places
from ksmactors.report.page import page
from ksmactors.run.outcome import Verdict
from ksmactors.run.trust import Tell

_STANDARD_INPUT: Final = "standard input"


class PageMaker:
    """Makes a page of findings and logs. `status` is afterwards the exit status that they ask for, `events` how many
    events there are.

    Args:
        sources: finding files, files with a schedule string, schedule strings, and logs; `-` is a log.
        trust: whether a finding may load code that it names, as for `replay`.
        max_schedules: the most schedules that are tried to shrink a finding; 0: it is shown as recorded.
        replaying: whether findings are replayed; else all sources are logs.
        tell: told in one line each what could not be read, and what is done on behalf of a finding.

    Raises:
        UsageError: a finding cannot be replayed, a file cannot be read, or there is no event in any.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        trust: bool,
        tell: Tell,
        max_schedules: int = SCHEDULES_MAX,
        replaying: bool = True,
    ) -> None:
        self._trust, self._tell_user, self._max_schedules = trust, tell, max_schedules
        self._sources = list(dict.fromkeys(sources))
        self._replaying = replaying
        self._columns = Columns()
        self._notes: list[str] = []
        self._findings: list[dict[str, Any]] = []
        self._extras: dict[RunKey, dict[str, Any]] = {}
        self._runs_of: list[tuple[dict[str, Any], RunKey]] = []
        self._variants: dict[str, None] = {}
        self._functions: dict[str, None] = {}
        self._found = False
        self._unread = False

    @property
    def events(self) -> int:
        return self._columns.events

    @property
    def status(self) -> int:
        """1 if there is a finding in any, or a replay that differs; else 2 if a log could not be read; else 0."""
        return FOUND if self._found else USAGE if self._unread else 0

    def make(self) -> bytes:
        """Read, replay, shrink, and return the file."""
        for source in self._sources:
            if self._replaying and is_finding(source):
                self._take_finding(source)
            else:
                self._take_log(source)
        if not self._columns.events:
            raise UsageError("there is no event in what was given")
        data = self._columns.as_json()
        for key, extra in self._extras.items():
            if (number := self._columns.number_of(key)) >= 0:
                data["runs"][number] |= extra
        for finding, key in self._runs_of:
            finding["run"] = self._columns.number_of(key)
        if left_out := self._columns.left_out:
            self._tell(f"the page would be too large: {left_out:,} of {self._columns.events:,} events are left out")
        title = "ksmactors: " + ", ".join(_name(source) for source in self._sources)
        content = {
            "title": escaped(title),
            "made_by": f"ksmactors {version('ksmactors')}",
            "notes": [escaped(note) for note in self._notes],
            "findings": self._findings,
            "functions": places(self._functions, list(self._variants)),
            **data,
        }
        return page(content["title"], content)

    def _tell(self, line: str) -> None:
        self._notes.append(line)
        self._tell_user(line)

    def _take_finding(self, source: str) -> None:
        then = recorded(source, trust=self._trust, tell=self._tell_user)
        done: list[Examined] = []

        async def task() -> None:
            done.append(await examine(then, max_schedules=self._max_schedules))

        interruption.run(task)
        examined = done[0]
        if not then.agrees(examined.recorded.outcome):
            self._tell(then.compare(examined.recorded.outcome))
            self._found = True
        self._found = self._found or examined.recorded.outcome.verdict is Verdict.FINDING
        name = _name(source)
        content = examined_json(examined)
        key = self._take_replay(examined.recorded, name, "as recorded")
        if content is not None:
            self._runs_of.append((content, key))
            self._findings.append(content)
        if examined.shrunk is not None:
            key = self._take_replay(examined.shrunk, f"{name} (shrunk)", "shrunk")
            if content is not None and "shrunk" in content:
                self._runs_of.append((content["shrunk"], key))

    def _take_replay(self, replayed: Replayed, name: str, what: str) -> RunKey:
        self._take({**event, "file": name} for event in replayed.events)
        subject = replayed.recorded.subject
        self._variants |= dict.fromkeys((*subject.without, *subject.with_))
        first = replayed.events[0]
        key = name, first["run"], first["seed"], first["schedule"]
        self._extras[key] = {
            "title": escaped(f"{first['run']}, seed {first['seed']}: {what}"),
            "shapes": replayed.shapes,
            "looks": [[step, escaped(actor), escaped(place), pfn] for step, actor, place, pfn in replayed.looks],
        }
        return key

    def _take_log(self, source: str) -> None:
        reader, name = LogReader(source), _name(source)
        self._take({**orjson.loads(line), "file": name} for line in reader.events())
        file, losses = reader.result()
        self._unread = self._unread or not file.read
        for loss in losses:
            line = str(loss)
            self._tell_user(line)
            self._notes.append(line.replace(source, name, 1))
        if file.lines_lost and file.events:
            self._notes.append(f"{name}: {file.events:,} events, {file.lines_lost:,} lines that are none")

    def _take(self, events: Iterator[Mapping[str, Any]]) -> None:
        self._columns.take(map(self._noted, events))

    def _noted(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remember which kernel functions an event names, and whether it is a finding."""
        name, function = event["event"], event.get("function")
        if isinstance(function, str):
            self._functions[function] = None
        if "." not in name:
            self._functions[name] = None
        self._found = self._found or name == "finding.found"
        return event


def _name(source: str) -> str:
    """How a page calls a source: without the folder, which is of one machine."""
    if looks_like_schedule(source):
        return "schedule"
    return _STANDARD_INPUT if source == STDIN else Path(source).name
