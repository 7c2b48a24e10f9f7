"""The page for the browser, from findings and logs: what `report --html` and `analyze --html` write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from ksmactors.cli.report_sources import Sources
from ksmactors.errors import UsageError
from ksmactors.escaping import escaped
from ksmactors.quantity import quantity
from ksmactors.report.columns import Columns, RunKey
from ksmactors.report.findings import Examined, Replayed, examined_json, safe
from ksmactors.report.functions import places
from ksmactors.report.page import page

if TYPE_CHECKING:
    from ksmactors.analysis.compare import Comparison

_SHRUNK: Final = " (shrunk)"


class PageMaker:
    """Makes a page of findings and logs. `events` is afterwards how many events there are.

    Args:
        sources: what was given: each finding was replayed by `examine`.
    """

    def __init__(self, sources: Sources[Examined]) -> None:
        self._sources = sources
        self._columns = Columns()
        self._findings: list[dict[str, Any]] = []
        self._extras: dict[RunKey, dict[str, Any]] = {}
        self._runs_of: list[tuple[dict[str, Any], RunKey]] = []
        self._variants: dict[str, None] = {}
        self._functions: dict[str, None] = {}

    @property
    def events(self) -> int:
        return self._columns.events

    def make(self, comparison: Comparison | None = None) -> bytes:
        """Read, and return the file. With a comparison of two sources, these are shown beside each other first.

        Raises:
            UsageError: there is no event in any source.
        """
        for source in self._sources.names:
            if source in self._sources.replays:
                self._take_finding(source, self._sources.replays[source])
            else:
                self._take(self._sources.events(source))
        if not self._columns.events:
            raise UsageError("there is no event in what was given")
        data = self._columns.as_json()
        for key, extra in self._extras.items():
            if (number := self._columns.number_of(key)) >= 0:
                data["runs"][number] |= extra
        for finding, key in self._runs_of:
            finding["run"] = self._columns.number_of(key)
        if left_out := self._columns.left_out:
            total = self._columns.events
            self._sources.note(f"the page would be too large: {left_out:,} of {quantity(total, 'event')} are left out")
        content = {
            "title": escaped("ksmactors: " + ", ".join(self._sources.names.values())),
            "made_by": f"ksmactors {version('ksmactors')}",
            "notes": [escaped(note) for note in self._sources.notes],
            "findings": self._findings,
            "functions": places(self._functions, list(self._variants)),
            **data,
        }
        if comparison is not None:
            content["comparison"] = self._beside(comparison)
        return page(content["title"], content)

    def _beside(self, comparison: Comparison) -> dict[str, Any]:
        """What the page says of a comparison: the numbers of the two schedules, and the counts that differ."""
        names = list(self._sources.names.values())
        numbers = [self._columns.number_of((name, *key)) for name, key in zip(
            (names[0], names[-1]), comparison.first, strict=True)]  # fmt: skip
        counts = [asdict(count) for count in comparison.counts if count.one != count.other]
        return {
            "one": max(0, numbers[0]), "other": max(0, numbers[1]), "paired": comparison.paired,
            "schedules": comparison.schedules, "counts": safe(counts), "settings": safe(
                [asdict(setting) for setting in comparison.settings]),
        }  # fmt: skip

    def _take_finding(self, source: str, examined: Examined) -> None:
        name = self._sources.names[source]
        content = examined_json(examined)
        key = self._take_replay(examined.recorded, name, "as recorded")
        if content is not None:
            self._runs_of.append((content, key))
            self._findings.append(content)
        if examined.shrunk is not None:
            key = self._take_replay(examined.shrunk, f"{name}{_SHRUNK}", "shrunk")
            if content is not None and "shrunk" in content:
                self._runs_of.append((content["shrunk"], key))

    def _take_replay(self, replayed: Replayed, name: str, what: str) -> RunKey:
        self._take({**event, "file": name} for event in replayed.events)
        subject = replayed.recorded.subject
        self._variants |= dict.fromkeys((*subject.without, *subject.with_))
        first = replayed.events[0]
        place = f" ({name.removesuffix(_SHRUNK)})" if len(self._sources.names) > 1 else ""
        key = name, first["run"], first["seed"], first["schedule"]
        self._extras[key] = {
            "title": escaped(f"{first['run']}, seed {first['seed']}: {what}{place}"),
            "shapes": replayed.shapes,
            "looks": [[step, escaped(actor), escaped(place), pfn] for step, actor, place, pfn in replayed.looks],
        }
        return key

    def _take(self, events: Iterator[Mapping[str, Any]]) -> None:
        self._columns.take(map(self._noted, events))

    def _noted(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remember which kernel functions an event names."""
        name, function = event["event"], event.get("function")
        if isinstance(function, str):
            self._functions[function] = None
        if "." not in name:
            self._functions[name] = None
        return event
