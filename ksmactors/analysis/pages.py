"""The history of a page, followed from frame to frame through migrations and merges.

A frame number does not identify a page: a page moves, its old frame is reused, and a merged page continues in the frame
of the KSM page. So all pages of the schedule are followed at once, and those that were in the given frame are returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ksmactors.analysis.store import Line, Logs
from ksmactors.errors import UsageError

_AFTERWARDS: Final = ("race.", "ksm_remove_", "stable_node.")
"""Events about a KSM page that may come after its frame is free: a stable node outlives its page."""

_FIRST: Final = """
    SELECT file, run, seed, schedule FROM events
    WHERE ? IN (pfn, kpfn, old_pfn, other_kpfn) AND (?::BIGINT IS NULL OR schedule = ?)
    ORDER BY file, line LIMIT 1"""

_HEARD: Final = """
    SELECT line, event, mm, address, pfn, kpfn, old_pfn, other_kpfn, err FROM events
    WHERE (file, run, seed, schedule) = (?, ?, ?, ?) AND (coalesce(pfn, kpfn) >= 0 OR address IS NOT NULL)
    ORDER BY line"""


@dataclass(frozen=True, slots=True)
class Life:
    """The history of one page of one schedule, from its first event to its last.

    `frames` are the page frame numbers it had, in order; `ended` says whether the log shows it freed.
    """

    file: str
    run: str
    seed: int
    schedule: int
    frames: list[int]
    ended: bool
    events: list[Line]


def first_with(logs: Logs, pfn: int, schedule: int | None) -> tuple[str, str, int, int]:
    """Return the first schedule in which a frame occurs: file, run, seed, index.

    Raises:
        UsageError: no event names the frame.
    """
    where = logs.rows(_FIRST, pfn, schedule, schedule)
    if not where:
        among = "" if schedule is None else f" in schedule {schedule}"
        raise UsageError(
            f"page {pfn}: no event{among} names this frame; do_anonymous_page events name those that exist"
        )
    file, run, seed, index = where[0]
    return file, run, seed, index


def page_lives(logs: Logs, pfn: int, *, schedule: int | None = None) -> list[Life]:
    """Return the histories of the pages that were in frame `pfn`, in order of their first event.

    Uses the first schedule in which the frame occurs, or the first one with the index `schedule`. A merged page
    continues as the KSM page; a copy made by a write is another page.

    Raises:
        UsageError: no event names the frame.
    """
    file, run, seed, index = first_with(logs, pfn, schedule)
    seen = _SeenPages()
    for row in logs.rows(_HEARD, file, run, seed, index):
        seen.see(*row)
    return [
        Life(file, run, seed, index, page.all_frames(), page.ended(), _lines(logs, file, page.all_events()))
        for page in seen.pages
        if page.whole is None and pfn in (frame for _, frame in page.frames)
    ]


def _lines(logs: Logs, file: str, numbers: list[int]) -> list[Line]:
    condition = "file = ? AND line IN (SELECT unnest(?::BIGINT[])) ORDER BY line"
    return [
        {key: value for key, value in line.items() if key != "file"} for line in logs.lines(condition, file, numbers)
    ]


@dataclass(eq=False, slots=True)
class _Page:
    """A page: the lines of its events, the frames it came into (with the line), and the frames it is in.

    `merged` is the line at which it was merged, and the page it was merged into. `whole` is the page that this one is
    part of: a migration is recorded at its end, and earlier events may have named the new frame.
    """

    frames: list[tuple[int, int]]
    now: set[int]
    events: list[int] = field(default_factory=list)
    merged: tuple[int, _Page] | None = None
    whole: _Page | None = None

    def all_events(self, since: int = 0) -> list[int]:
        lines = {line for line in self.events if line >= since}
        for line, page in self._afterlife():
            lines.update(page.all_events(max(line, since)))
        return sorted(lines)

    def all_frames(self, since: int = 0) -> list[int]:
        before = [frame for line, frame in self.frames if line < since][-1:]
        frames = before + [frame for line, frame in self.frames if line >= since]
        for line, page in self._afterlife():
            frames += page.all_frames(line)
        return frames

    def ended(self) -> bool:
        return all(page.ended() for _, page in self._afterlife()) and (self.merged is not None or not self.now)

    def _afterlife(self) -> Iterator[tuple[int, _Page]]:
        if self.merged is not None:
            yield self.merged[0], self.merged[1].final()

    def final(self) -> _Page:
        """The page that this one is part of, or itself."""
        page = self
        while page.whole is not None:
            page = page.whole
        return page


class _SeenPages:
    """All pages of a schedule: the frame of each, and where it is mapped."""

    def __init__(self) -> None:
        self.pages: list[_Page] = []
        self._at: dict[int, _Page] = {}
        self._free: set[int] = set()
        self._places: dict[tuple[str, int], _Page] = {}

    def see(
        self, line: int, event: str, mm: str | None, address: int | None, pfn: int | None, kpfn: int | None,
        old_pfn: int | None, other_kpfn: int | None, err: int | None,
    ) -> None:  # fmt: skip
        """Add an event to the pages it names, and move them."""
        frames = [frame for frame in (pfn, kpfn, old_pfn, other_kpfn) if frame is not None and frame >= 0]
        named = [self._page(frame, line, event) for frame in frames]
        place = (mm, address) if mm is not None and address is not None else None
        if place is not None:
            if not frames:
                named = [self._places.get(place)]
            elif named[0] is not None:
                self._places[place] = named[0]
        for page in dict.fromkeys(named):
            if page is not None:
                page.final().events.append(line)
        match event, frames:
            case "free_page", [frame]:
                self._free.add(frame)
                if named[0] is not None:
                    named[0].now.discard(frame)
            case "migrate_page", [new, old] if err == 0 and new != old:
                self._move(old, new, line)
                self._at[old].now.discard(old)
            case "ksm_migrate_page", [new, old]:
                self._move(old, new, line)
            case "ksm_merge_with_ksm_page", [lost, kept] if err == 0 and lost != kept:
                self._at[lost].merged = line, self._at[kept]

    def _page(self, frame: int, line: int, event: str) -> _Page | None:
        page = self._at.get(frame)
        if page is not None and (frame not in self._free or event.startswith(_AFTERWARDS)):
            return page
        if event == "free_page":
            return None  # the target of a failed migration: it never was a page
        page = self._at[frame] = _Page([(line, frame)], {frame})
        self._free.discard(frame)
        self.pages.append(page)
        return page

    def _move(self, old: int, new: int, line: int) -> None:
        page, there = self._at[old].final(), self._at[new].final()
        if page is not there:
            page.events += there.events
            there.whole = page
            self._at[new] = page
        page.now.add(new)
        if page.frames[-1][1] != new:
            page.frames.append((line, new))
