"""The scenario language: one operation a line, parsed into `Operation`s before anything is run.

Operations are listed in `FORMS`. Interleavings are written with six of them:

    hold TASK at PLACE [NTH] [in FUNC]      TASK sleeps when it comes to PLACE the NTH time from now, called from FUNC
    hold TASK after PLACE [NTH] [in FUNC]   ... when it comes out of PLACE
    bg OPERATION                            start an operation: `step`, `scan` (TASK is then `ksmd`), `migrate`,
                                            `migrate1` (`migrate`), `set` (`set`), `reclaim` (`reclaim`), or what a
                                            process does itself (TASK is the process)
    release TASK, disarm TASK               let a held task go on; forget its holds that were not met
    signal TASK, settle                     send a signal; wait as after `bg`

After `bg`, `release`, `signal` and `settle` all tasks go on until each has ended, is held, or waits; those whose state
is new are printed in the order in which they were first named: `= ksmd: held at get_ksm_page`, `= migrate: done ret=0
status=1`, `= A: blocked: migration entry`. Holds of one task are met in the order in which they were asked for. The
places are in `places.txt`. Processes, regions and holds are known to the parser:

The parser keeps track of processes and regions, so that a misspelt name or a page outside of its region is found
with its line number at once, not in the middle of a run. What depends on the machine (how many nodes there are,
which knobs the kernel has) is left to the side that performs the scenario.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from ksmactors.conformance.forms import FORMS, KERNEL_TASKS, LIMITS, OWN_TASKS, TOKEN_END
from ksmactors.errors import ScenarioError, UsageError
from ksmactors.escaping import quoted, shortened, shortened_words
from ksmactors.files import MIB, read_text

SCENARIO_MAX: Final = 16 * MIB
"""Bytes of a scenario file."""

__all__ = ["FORMS", "KERNEL_TASKS", "Comment", "Operation", "Scenario", "parse", "read_scenario"]

DIGITS_MAX: Final = 40
"""Digits of a number that are parsed: Python refuses to convert thousands."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

SIZE: Final = re.compile(r"[0-9]{1,18}[KMG]?")


class Operation(NamedTuple):
    """One line of a scenario. Fields that its form does not have are empty.

    `first` and `end` delimit pages [first, end) of the region; an operation on one page has end = first + 1, one on a
    whole region all its pages. `word` is a new process or region, a knob, or what is required (`flags` has what kind of
    thing), or the place of a hold (`number` is the count of the visit, `value` the caller); `number` is pages, steps,
    milliseconds or nodes; `node` -1 means that none was given. `task` is what is held, released, or does the `inner`
    operation in the background.
    """

    name: str
    line: int
    text: str
    process: str = ""
    region: str = ""
    first: int = 0
    end: int = 0
    token: int = 0
    word: str = ""
    value: str = ""
    number: int = 0
    node: int = -1
    flags: tuple[str, ...] = ()
    task: str = ""
    inner: Operation | None = None

    @property
    def done(self) -> Operation:
        """The operation itself, or the inner one of `bg`."""
        return self.inner or self


class Comment(NamedTuple):
    """A comment that starts in column 1: it is copied to the results."""

    line: int
    text: str


class Scenario(NamedTuple):
    """A parsed scenario: its name (the file's stem), its origin, and its lines in order."""

    name: str
    origin: str
    lines: tuple[Operation | Comment, ...]

    @property
    def operations(self) -> Iterator[Operation]:
        """Yield the operations, without the comments."""
        return (line for line in self.lines if isinstance(line, Operation))


def read_scenario(path: Path) -> Scenario:
    """Read and parse a scenario file.

    Raises:
        ScenarioError: it cannot be read, has no operation, or a line is invalid.
    """
    try:
        text = read_text(path, SCENARIO_MAX, "scenario")
    except UsageError as error:
        raise ScenarioError(str(error)) from None
    return parse(text, name=path.stem, origin=str(path))


def parse(text: str, *, name: str = "scenario", origin: str = "scenario") -> Scenario:
    """Parse the text of a scenario; `origin` is its name in error messages.

    Raises:
        ScenarioError: "ORIGIN:LINE: what is wrong; what to do".
    """
    known = _Known()
    lines: list[Operation | Comment] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            lines.append(Comment(number, line.rstrip()))
        elif (bare := line.strip()) and not bare.startswith("#"):
            try:
                lines.append(_operation(bare, number, known))
            except _Refused as refused:
                raise ScenarioError(f"{origin}:{number}: {shortened_words(str(refused))}") from None
    scenario = Scenario(name, origin, tuple(lines))
    if not any(scenario.operations):
        raise ScenarioError(f"{origin}: no operation in it; a scenario has one a line, such as 'proc A'")
    return scenario


class _Refused(Exception):  # becomes a ScenarioError as soon as the line is known
    """What is wrong with a line, and what to do."""


def _refuse(what: str) -> NoReturn:
    raise _Refused(what)


@dataclass(slots=True)
class _Known:
    """The processes alive at a line, with their regions and the pages of each."""

    processes: dict[str, dict[str, int]] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)
    """All processes so far: one that has exited may still be a task."""

    def regions_of(self, process: str) -> dict[str, int]:
        if process not in self.processes:
            there_are = _there_are(self.processes, f"start it with: proc {shortened(process)}")
            _refuse(f"no process {quoted(process)} here; {there_are}")
        return self.processes[process]

    def pages_of(self, process: str, region: str) -> int:
        regions = self.regions_of(process)
        if region not in regions:
            todo = f"map it with: map {process} {shortened(region)} PAGES"
            _refuse(f"process {process} has no region {quoted(region)}; {_there_are(regions, todo)}")
        return regions[region]


def _there_are(names: dict[str, object] | dict[str, dict[str, int]] | dict[str, int], otherwise: str) -> str:
    return f"there are {', '.join(names)}, or {otherwise}" if names else otherwise


def _operation(text: str, line: int, known: _Known) -> Operation:
    name, *words = text.split()
    form = FORMS.get(name)
    if form is None:
        near = get_close_matches(name, FORMS, n=3, cutoff=0.5)
        _refuse(f"unknown operation {quoted(name)}; {'near it' if near else 'there are'}: {', '.join(near or FORMS)}")
    if name == "bg":
        return _in_background(text, line, words, known)
    values, flags = _match(name, form, words)
    operation = _typed(name, line, text, values, flags, known)
    _apply(operation, known)
    return operation


def _match(name: str, form: str, words: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Assign the words of a line to the parameters of its form."""
    required, *optional = (group.strip(" ]") for group in form.split("["))
    rest = list(words)
    values: dict[str, str] = {}
    flags: list[str] = []
    for position, group in enumerate([required, *optional]):
        wanted = group.split()
        if position > 0 and (not rest or not _fits(rest[0], wanted[0])):
            continue
        for want in wanted:
            if not rest:
                _refuse(f"too few arguments; {_usage(name)}")
            word = rest.pop(0)
            if want.isupper():
                values[want] = word
            elif word in want.split("|"):
                flags.append(word)
            else:
                _refuse(f"{quoted(word)} is not {want.replace('|', ' or ')}; {_usage(name)}")
    if rest:
        _refuse(f"{quoted(rest[0])} is one argument too many, or not what is expected there; {_usage(name)}")
    return values, tuple(flags)


def _fits(word: str, wanted: str) -> bool:
    """Whether a word may begin an optional part of a form."""
    if wanted == "NTH":
        return word.isdigit()
    return wanted.isupper() or word in wanted.split("|")


def _in_background(text: str, line: int, words: list[str], known: _Known) -> Operation:
    """Parse an operation that is started and not waited for."""
    if not words:
        _refuse("too few arguments; write: bg OPERATION, such as: bg step 1")
    name = words[0]
    if name in FORMS and name not in KERNEL_TASKS and name not in OWN_TASKS:
        _refuse(f"{name} cannot be done in the background; these can: {', '.join([*KERNEL_TASKS, *sorted(OWN_TASKS)])}")
    living = set(known.processes)
    inner = _operation(" ".join(words), line, known)
    task = KERNEL_TASKS.get(name) or inner.process
    _must_be_one(task, living | known.ever)
    return Operation("bg", line, text, inner.process, node=inner.node, task=task, inner=inner)


def _task(task: str, name: str, known: _Known) -> str:
    """Return a task that is named: one of the kernel's, or a process; only a living one can come to a place."""
    there_are = [*dict.fromkeys(KERNEL_TASKS.values()), *(known.processes if name == "hold" else sorted(known.ever))]
    if task not in there_are:
        _refuse(f"no task {quoted(task)} here; there are {', '.join(there_are)}")
    _must_be_one(task, known.ever)
    return task


def _must_be_one(task: str, processes: set[str]) -> None:
    if task in KERNEL_TASKS.values() and task in processes:
        _refuse(f"{task} is a task of the kernel and a process; give the process another name")


def _place(values: dict[str, str]) -> str:
    from ksmactors.conformance.places import is_place, near, place_named  # they are the emulator's

    for key, what in (("PLACE", "place"), ("FUNC", "function")):
        if key in values and not is_place(values[key]):
            some = ", ".join(near(values[key]))
            _refuse(f"no {what} {quoted(values[key])}; near it: {some} (all: `ksmactors docs scenario`)")
    caller = values.get("FUNC")
    if caller is not None and not place_named(caller).functions:
        _refuse(f"{caller} is a step, not a function that can call another one; write: in FUNCTION")
    return values["PLACE"]


def _usage(name: str) -> str:
    return f"write: {name} {FORMS[name]}".rstrip()


def _typed(name: str, line: int, text: str, values: dict[str, str], flags: tuple[str, ...], known: _Known) -> Operation:
    process, region = values.get("PROC", ""), values.get("REGION", "")
    if process:
        known.regions_of(process)
    first, end = _pages(process, region, values, known) if region else (0, 0)
    word = values.get("NEWPROC") or values.get("NEWREGION") or values.get("KNOB") or ""
    task = _task(values["TASK"], name, known) if "TASK" in values else ""
    if "PLACE" in values:
        word = _place(values)
    if name == "requires":
        word, number = _requirement(flags[0], values.get("REQUIRED"))
    elif name == "hold":
        number = _number(values.get("NTH", "1"), "NTH")
        if number == 0:
            _refuse("NTH counts from 1")
    else:
        number = next((_number(values[key], key, LIMITS[key]) for key in LIMITS if key in values), 0)
    if "BYTES" in values and not SIZE.fullmatch(values["BYTES"]):
        _refuse(f"{quoted(values['BYTES'])} is not a size; write bytes, or a number followed by K, M or G")
    return Operation(
        name, line, text, process, region, first, end,
        token=_number(values["TOKEN"], "TOKEN", TOKEN_END) if "TOKEN" in values else 0,
        word=word,
        value=values.get("VALUE") or values.get("BYTES") or values.get("FUNC") or "",
        number=number,
        node=_number(values["NODE"], "NODE") if "NODE" in values else -1,
        flags=flags,
        task=task,
    )  # fmt: skip


def _pages(process: str, region: str, values: dict[str, str], known: _Known) -> tuple[int, int]:
    pages = known.pages_of(process, region)
    if "INDEX" in values:
        first = _number(values["INDEX"], "INDEX")
        end = first + 1
    elif "FIRST" in values:
        first, end = _number(values["FIRST"], "FIRST"), _number(values["END"], "END")
        if first >= end:
            _refuse(f"pages {first} up to but not including {end} are an empty range; END must be greater than FIRST")
    else:
        first, end = 0, pages
    if end > pages:
        pages_are = "its only page is 0" if pages == 1 else f"its {pages} pages are 0 to {pages - 1}"
        _refuse(f"region {process} {region} has no page {end - 1}; {pages_are}")
    return first, end


def _number(word: str, parameter: str, limit: int = 1 << 63) -> int:
    if not (word.isascii() and word.isdigit()):
        _refuse(f"{parameter} must be a decimal number, not {quoted(word)}")
    if len(word) > DIGITS_MAX or int(word) >= limit:
        _refuse(f"{parameter} {shortened(word, DIGITS_MAX)} is too large; at most {limit - 1}")
    return int(word)


def _requirement(what: str, required: str | None) -> tuple[str, int]:
    if (required is None) != (what == "swap"):
        _refuse("write: requires nodes N, requires knob KNOB, or requires swap")
    if what == "nodes":
        return what, _number(required or "", "N")
    return (required or what), 0


def _apply(operation: Operation, known: _Known) -> None:
    """Update the processes and regions; refuse a name that is taken or cannot be written in results."""
    name, process, new = operation.name, operation.process, operation.word
    if name in ("proc", "fork"):
        _must_be_free(new, known.processes, "process")
        known.processes[new] = dict(known.processes.get(process, {}))
        known.ever.add(new)
    elif name == "exit":
        del known.processes[process]
    elif name == "exec":
        known.processes[process] = {}
    elif name == "map":
        _must_be_free(new, known.processes[process], f"region of {process}")
        if operation.number == 0:
            _refuse(f"region {new} would have no pages; PAGES must be at least 1")
        known.processes[process][new] = operation.number
    elif name == "mremap":
        _must_be_free(new, known.processes[process], f"region of {process}")
        pages = known.processes[process][operation.region]
        known.processes[process][new] = operation.end - operation.first
        if operation.end - operation.first == pages:
            del known.processes[process][operation.region]


def _must_be_free(new: str, taken: dict[str, dict[str, int]] | dict[str, int], what: str) -> None:
    if not NAME.fullmatch(new):
        _refuse(f"{quoted(new)} is not a name for a {what}; use letters, digits and _, not a digit first")
    if new in taken:
        _refuse(f"there is a {what} named {new} already; use another name")
