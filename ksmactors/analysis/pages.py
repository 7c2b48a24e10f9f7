"""The life of a page: followed from frame to frame, through migrations and merges."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, TypeAlias

from ksmactors.analysis.store import Logs
from ksmactors.errors import UsageError
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.logs import ALWAYS

Line: TypeAlias = dict[str, Any]
"""An event as its line in the log has it, with the number of the line as `line`."""

FRAMES: Final = ("pfn", "kpfn", "old_pfn", "other_kpfn")
"""The fields that name frames."""

_FIELDS: Final = {event.name: [field.name for field in event.fields] for event in CATALOGUE}


@dataclass(frozen=True, slots=True)
class Life:
    """What happened to one page of one schedule, from where it is first heard of until it is freed.

    `frames` are the page frame numbers it had, in order; `ended` says whether the log shows it freed.
    """

    file: str
    run: str
    seed: int
    schedule: int
    frames: list[int]
    ended: bool
    events: list[Line]


def page_lives(logs: Logs, pfn: int, *, schedule: int | None = None) -> list[Life]:
    """The lives of the pages that were born, or first seen, in frame `pfn`; a frame is used again and again.

    Looks at the first schedule in which the frame occurs, or at the first one with the index `schedule`.
    UsageError if there is none. A page that is merged goes on as the KSM page; a copy made by a write is another page.
    """
    where = logs.rows(
        "SELECT file, run, seed, schedule FROM events WHERE ? IN (pfn, kpfn, old_pfn, other_kpfn) "
        "AND (?::BIGINT IS NULL OR schedule = ?) ORDER BY file, line LIMIT 1",
        pfn, schedule, schedule,
    )  # fmt: skip
    if not where:
        among = "" if schedule is None else f" in schedule {schedule}"
        raise UsageError(f"page {pfn}: no event{among} names this frame; do_anonymous_page events say which there are")
    file, run, seed, index = where[0]
    answer = logs.sql(
        "SELECT * FROM events WHERE (file, run, seed, schedule) = (?, ?, ?, ?) "
        "AND (coalesce(pfn, kpfn) IS NOT NULL OR (mm IS NOT NULL AND address IS NOT NULL)) ORDER BY line",
        file, run, seed, index,
    )  # fmt: skip
    follower = _Follower(pfn)
    for row in answer.rows:
        follower.see(_line(dict(zip(answer.columns, row, strict=True))))
    return [
        Life(file, run, seed, index, life.frames, not life.now, sorted(life.events, key=itemgetter("line")))
        for life in follower.lives
    ]


def _line(row: Line) -> Line:
    own = _FIELDS.get(row["event"], ())
    return {key: row[key] for key in ("line", *ALWAYS, *own)}


class _Page:
    """A page that is being followed: the frames it is in now, and the places it is mapped at."""

    def __init__(self, pfn: int) -> None:
        self.frames = [pfn]
        self.now = {pfn}
        self.places: set[tuple[str, int]] = set()
        self.events: list[Line] = []

    def concerns(self, line: Line) -> bool:
        frames = _frames(line)
        if frames:
            return not self.now.isdisjoint(frames)
        return (line.get("mm"), line.get("address")) in self.places

    def see(self, line: Line, heard: dict[int, list[Line]]) -> None:
        """Add an event, and go where the page goes. `heard` is what is known of each frame since it was last free.

        A migration is recorded when it is over, and its new frame may have been heard of before.
        """
        self.events.append(line)
        match line:
            case {"event": "free_page", "pfn": pfn}:
                self.now.discard(pfn)
            case {"event": "migrate_page", "err": 0, "pfn": new, "old_pfn": old} if old in self.now and new != old:
                known = {earlier["line"] for earlier in self.events}
                self.events += [earlier for earlier in heard.get(new, ()) if earlier["line"] not in known]
                self._move(new)
                self.now.discard(old)
            case {"event": "ksm_migrate_page", "kpfn": new, "old_pfn": old} if old in self.now:
                self._move(new)
            case {"event": "ksm_merge_with_ksm_page", "err": 0, "kpfn": kpfn, "pfn": pfn} if pfn in self.now:
                self._move(kpfn)
            case {"event": "do_wp_page", "mm": mm, "address": address, "pfn": new} if new not in self.now:
                self.places.discard((mm, address))
            case {"mm": str(mm), "address": int(address)}:
                self.places.add((mm, address))

    def _move(self, pfn: int) -> None:
        self.now.add(pfn)
        if pfn not in self.frames:
            self.frames.append(pfn)


class _Follower:
    """Starts a life whenever the frame asked for is heard of and no page is being followed."""

    def __init__(self, pfn: int) -> None:
        self._pfn = pfn
        self._heard: dict[int, list[Line]] = {}
        self.lives: list[_Page] = []

    def see(self, line: Line) -> None:
        if self.lives and self.lives[-1].now:
            if self.lives[-1].concerns(line):
                self.lives[-1].see(line, self._heard)
        elif self._pfn in (line.get("pfn"), line.get("kpfn")) and line["event"] != "free_page":
            self.lives.append(_Page(self._pfn))
            self.lives[-1].see(line, self._heard)
        for frame in _frames(line):
            if line["event"] == "free_page":
                self._heard.pop(frame, None)
            else:
                self._heard.setdefault(frame, []).append(line)


def _frames(line: Line) -> list[int]:
    return [line[field] for field in FRAMES if line.get(field) is not None]
