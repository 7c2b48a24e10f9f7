"""The places at which a scenario can hold a task: the table `places.txt`, and how the emulator recognises that one is
reached. The head of the table explains its columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import FrameType
from typing import Final

from ksmactors import call_stack
from ksmactors.errors import EmulatorBug
from ksmactors.history.checkpoints import CHECKPOINTS
from ksmactors.interleave.actor import Operation
from ksmactors.interleave.strategies.directed import Checkpoint
from ksmactors.ksm.kernel import Ksm

UNNAMED: Final = "-"
"""In the column of the kernels: none has a place to hold at."""

FORMER_NAMES: Final = {
    "get_ksm_page.R1": "get_ksm_page.GK1",
    "get_ksm_page.R3": "get_ksm_page.GK3",
    "get_ksm_page.R4": "get_ksm_page.GK4",
    "get_ksm_page.R5": "get_ksm_page.GK5",
    "get_ksm_page.R6": "get_ksm_page.GK6",
    "insert.R4": "insert.GK4",
}
"""Names in scenarios and recordings from before the steps of get_ksm_page were called GK1 to GK7. A scenario prints the
name that it has."""

INLINED: Final = "inlined"
ATOMIC: Final = "atomic"
"""Start of the lines about one kernel."""

_WHERE: Final = re.compile(
    r"(?P<names>(?:= )?[\w. ]+?)"
    r"(?: (?P<nth>\d+)(?: of (?P<every>\d+))?)?"
    r"(?: in (?P<scope>\w+))?(?: outside (?P<outside>\w+))?"
    r"(?: until (?P<until>[\w.]+) in (?P<visitor>\w+))?"
)


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """A line of the table. `functions` are those of the emulator that begin with the place, or `checkpoints` tell it;
    of these the `nth` of each `every` (0: of all) while inside of `scope` counts, `outside` of another function. A
    visit from the function `visitor` is over at the checkpoint `until`. `kernels` are the names that kernels have."""

    name: str
    functions: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    nth: int
    every: int
    scope: str
    outside: str
    until: Checkpoint | None
    visitor: str
    kernels: tuple[str, ...]

    def on(self, kernel: Ksm) -> bool:
        """Whether an emulated kernel has the place."""
        names = [*self.functions, *(one.inside for one in self.checkpoints)]
        return any(hasattr(type(kernel), name) for name in names)


@cache
def places() -> Mapping[str, PlaceRule]:
    """The table, by the names of the places."""
    lines = (line for line in _lines() if not line.startswith((INLINED, ATOMIC)))
    return {place.name: place for place in map(_parsed, lines)}


def place_named(name: str) -> PlaceRule:
    """Return the place with this name or former name.

    Raises:
        KeyError: there is none.
    """
    return places()[FORMER_NAMES.get(name, name)]


def is_place(name: str) -> bool:
    """Whether this is the name or a former name of a place."""
    return FORMER_NAMES.get(name, name) in places()


def inlined(kernel: str) -> Sequence[str]:
    """Return the functions that the recorded build of a kernel has inlined."""
    return _said_of(f"{INLINED} {kernel}: ")


def atomic(kernel: str) -> Sequence[str]:
    """Return the places at which a task of a kernel must not sleep, whatever locks it holds."""
    return _said_of(f"{ATOMIC} {kernel}: ")


def _said_of(head: str) -> Sequence[str]:
    return [name for line in _lines() if line.startswith(head) for name in line.removeprefix(head).split()]


@cache
def _lines() -> Sequence[str]:
    text = files("ksmactors.conformance").joinpath("places.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def near(name: str) -> list[str]:
    """Return the places with similar names, or a few of all."""
    return get_close_matches(name, places(), n=4, cutoff=0.5) or [name for name in places() if "." not in name]


def _parsed(line: str) -> PlaceRule:
    name, _, rest = line.partition(": ")
    where, _, kernels = rest.partition(" | ")
    found = _WHERE.fullmatch(where)
    if found is None:
        raise EmulatorBug(f"places.txt: {line!r} does not say where the place is")
    names = found["names"].removeprefix("= ").split()
    checked = found["names"].startswith("= ")
    return PlaceRule(
        name,
        () if checked else tuple(names),
        tuple(CHECKPOINTS[one] for one in names) if checked else (),
        int(found["nth"] or 0),
        int(found["every"] or 0),
        found["scope"] or "",
        found["outside"] or "",
        CHECKPOINTS[found["until"]] if found["until"] else None,
        found["visitor"] or "",
        () if kernels == UNNAMED else tuple(kernels.split()),
    )


@cache
def _called() -> frozenset[str]:
    """Return the emulator's functions that are functions in the kernels, too: they count as callers."""
    return frozenset(name for place in places().values() if place.kernels for name in place.functions)


@dataclass(eq=False, slots=True)
class Visits:
    """The visits of a place that one hold counts (a `Spot` of the strategy `holding`); `caller` is the function that
    must have called it, not counting functions that are inlined in kernels."""

    place: PlaceRule
    caller: str = ""
    counted: list[tuple[FrameType, int]] = field(default_factory=list)
    """How often the place's operation was reached in each call of its scope that has not ended."""
    visitors: list[tuple[object, FrameType]] = field(default_factory=list)
    """The call of the place's `visitor` that each visit was made from, if any."""

    def entered(self, frames: Sequence[FrameType], op: Operation) -> object:
        names = call_stack.names(frames)
        if self.place.outside and self.place.outside in names:
            return None
        if self.place.checkpoints:
            return self._operation(frames, names, op)
        position = next(self._entries(names), None)
        if position is None or not self._called_by(names, position):
            return None
        visit = frames[position]
        if self.place.visitor in names and all(one is not visit for one, _ in self.visitors):
            self.visitors.append((visit, frames[names.index(self.place.visitor)]))
        return visit

    def left(self, visit: object, frames: Sequence[FrameType], op: Operation) -> bool:
        visitor = next((frame for one, frame in self.visitors if one is visit), None)
        if visitor is not None and visitor in frames and self.place.until is not None:
            return self.place.until.reached(op, call_stack.names(frames))
        return visit not in frames

    def _entries(self, names: Sequence[str]) -> Iterator[int]:
        """Yield where calls of the place's functions begin, innermost first; what a layer adds is part of the call."""
        for position in range(len(names) - 1, -1, -1):
            if names[position] in self.place.functions and (
                position == 0 or names[position - 1] not in self.place.functions
            ):
                yield position

    def _operation(self, frames: Sequence[FrameType], names: Sequence[str], op: Operation) -> object:
        """Return a new visit if `op` is the operation of the place, and the count matches."""
        checkpoint = next((one for one in self.place.checkpoints if one.reached(op, names)), None)
        if checkpoint is None:
            return None
        scope = self.place.scope or checkpoint.inside
        if scope not in names:
            return None
        position = len(names) - 1 - names[::-1].index(scope)
        times = self._count(frames, frames[position])
        if self.place.every:
            times = (times - 1) % self.place.every + 1
        if self.place.nth and times != self.place.nth:
            return None
        return object() if self._called_by(names, position + 1) else None

    def _count(self, frames: Sequence[FrameType], scope: FrameType) -> int:
        """Count the arrivals at the operation in this call of its scope, this one included."""
        counted = [(frame, times) for frame, times in self.counted if frame in frames]
        times = next((times for frame, times in counted if frame is scope), 0) + 1
        self.counted = [*((frame, before) for frame, before in counted if frame is not scope), (scope, times)]
        return times

    def _called_by(self, names: Sequence[str], position: int) -> bool:
        """Whether the nearest kernel function around a position is the caller."""
        if not self.caller:
            return True
        wanted = places()[self.caller].functions
        for name in reversed(names[:position]):
            if name in wanted:
                return True
            if name in _called():
                return False
        return False
