"""A schedule as a scenario with holds: what was called, by whom, and where the turn passed on within a call.

The schedule is run again, and calls into the kernel are recorded (`calls`): system calls of processes, writes of knobs,
migrations, and each page that ksmd visits. A call during which others moved becomes an operation in the background; a
hold at the nearest place of `places.txt` stands for each switch within it. Whether the scenario leads to the same
finding is tried out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from ksmactors.conformance.emulator import Around, Setting, perform
from ksmactors.conformance.forms import KERNEL_TASKS, OWN_TASKS
from ksmactors.conformance.ksmd_stepper import START
from ksmactors.conformance.language import parse
from ksmactors.conformance.places import atomic, places
from ksmactors.conformance.transcript import REST
from ksmactors.diagnose.call_lines import CallLines, Inexpressible
from ksmactors.diagnose.calls import VISIT, Call, CallRecorder
from ksmactors.diagnose.replaying import by_label
from ksmactors.errors import Finding, KsmActorsError
from ksmactors.interleave.schedule_string import Departure, decode
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.interleave.tape import ScriptedTape
from ksmactors.quantity import quantity
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject

NEAR: Final = 60
"""How many operations of a call before or after a switch a place may be that stands for it."""

SEEDS: Final = 60
"""Schedules that are tried around the scenario if it does not lead to the finding as it is."""

AROUND: Final = "portfolio"

OF_THE_MACHINE: Final = ("inject.", "memory.")
"""How the labels begin of what is drawn by the machine itself: faults, and the age of values that a load sees."""

STEP: Final = "step 1"

LAST: Final = " (end of the scan)"
"""Behind a step, until the lines are put together: it ended a full scan."""


@dataclass(frozen=True, slots=True)
class Written:
    """A scenario for a schedule. `missing` says what could not be expressed, a line each; `led_to` what became of the
    scenario when it was performed."""

    text: str
    missing: tuple[str, ...]
    led_to: str


@dataclass(slots=True)
class _Switch:
    """A switch within a call: how many of its operations were done before it, and the place that stands for it."""

    done: int
    place: str = ""
    times: int = 1


@dataclass(slots=True)
class _WrittenEntry:
    """Something to be written down: the `order` in which it happened, and its lines."""

    order: int
    lines: list[str]


async def write_scenario(subject: Subject, seed: int, outcome: Outcome, departures: Sequence[Departure]) -> Written:
    """The scenario for a schedule that departures describe. To be awaited in trio, outside of any other schedule."""
    defect = outcome.defect
    until = outcome.steps if defect is None else defect.step
    recorder = CallRecorder(departures, until + 1)
    draws = by_label(decode(outcome.schedule))
    unwatched = replace(subject, watchers=())
    await run_schedule(unwatched, seed, ReplayByName.name, deciding=recorder, tape=ScriptedTape(draws))
    luck = [label for label, values in draws.items() if label.startswith(OF_THE_MACHINE) and any(values)]
    writer = _ScenarioWriter(subject, recorder.calls, recorder.operations, luck)
    text = writer.text(defect.signature if defect is not None else "")
    led_to = await _led_to(text, subject, defect.signature if defect is not None else "")
    return Written(text, tuple(dict.fromkeys(writer.missing)), led_to)


async def _led_to(text: str, subject: Subject, signature: str) -> str:
    """What performing a scenario comes to: as it is, then around it."""
    setting = Setting(subject.kernel, subject.nodes, subject.without, subject.with_, watchers=subject.watchers)
    try:
        scenario = parse(text, name="written")
        failure = (await perform(scenario, setting)).failure
        if isinstance(failure, Finding) and failure.signature == signature:
            return f"performed as it is, it leads to {signature}"
        for seed in range(SEEDS):
            failure = (await perform(scenario, setting, Around(AROUND, seed))).failure
            if isinstance(failure, Finding) and failure.signature == signature:
                return f"--around 1 --seed {seed} leads to {signature}"
    except KsmActorsError as error:
        return f"it cannot be performed: {error}"
    return f"it does not lead to {signature}, and none of {SEEDS} schedules around it does"


class _ScenarioWriter:
    """Turns calls into lines."""

    def __init__(self, subject: Subject, calls: Sequence[Call], operations: int, drawn: Sequence[str]) -> None:
        self.subject, self.operations = subject, operations
        self.calls = [call for call in calls if call.done]
        self.lines = CallLines()
        self.missing = [f"what is drawn for {label}" for label in drawn]
        self._busy: dict[str, int] = {}
        """By task, until when it is in the background."""
        visits = [call for call in self.calls if call.name == VISIT]
        self._scan_ends = [call for call, later in pairwise(visits) if call.scan != later.scan]

    def text(self, signature: str) -> str:
        """The whole scenario."""
        events = [event for call in list(self._merged()) for event in self._events(call)]
        body = _joined(line for event in sorted(events, key=lambda event: event.order) for line in event.lines)
        head = [f"# a schedule of {self.subject.name} on {self.subject.kernel}", f"# {signature or 'nothing'} is found"]
        head += [f"# not expressed: {line}" for line in dict.fromkeys(self.missing)]
        return "\n".join([*head, f"requires nodes {self.subject.nodes}", "device async", *self._knobs(), *body]) + "\n"

    def _knobs(self) -> Iterator[str]:
        """The knobs that are not what every scenario starts with."""
        if not self.calls:
            return
        kernel = self.calls[0].kernel
        for knob, values in START.items():
            if knob in ("run", "merge_across_nodes") or knob not in kernel.sysfs_files():
                continue
            value = kernel.sysfs_show(knob)
            if value != values[-1]:
                yield f"set {knob} {value}"

    def _merged(self) -> Iterator[Call]:
        """The calls that lines are written for; an access and its page fault are one."""
        open_accesses: dict[tuple[int, int], Call] = {}
        for call in self.calls:
            if call.name == "fault":
                access = open_accesses.get(_page_of(call))
                if access is not None:
                    access.absorb(call)
                    continue
            if call.name in ("user_read", "user_write"):
                before = open_accesses.get(_page_of(call))
                if before is not None and before.name == call.name and before.faulted:
                    before.absorb(call)
                    before.faulted = False
                    continue
                open_accesses[_page_of(call)] = call
            yield call

    def _events(self, call: Call) -> Iterator[_WrittenEntry]:
        """The lines of one call, each at the moment at which it belongs there."""
        if call.name == "sysfs_store" and call.arguments.get("knob") in REST:
            return
        try:
            before, line, task = self.lines.of(call)
        except Inexpressible as why:
            self.missing.append(str(why))
            return
        start, end = call.done[0], call.done[-1]
        stops = [stop for stop in self._stops(call) if self._placed(call, stop)]
        for stop, previous in zip(stops, [None, *stops], strict=False):
            stop.times = self._times(call, stop, previous)
        interrupted = bool(stops) or any(gap > 1 for gap in _gaps(call)) or self._goes_on(call)
        if interrupted and not _may_be_background(line):
            self.missing.append(f"others move during: {line}")
            interrupted = False
        if self._busy.get(task, -1) > start:
            self.missing.append(f"{task} does two things at once: {line}")
            return
        if line == STEP and any(call is one for one in self._scan_ends):
            line += LAST
        if not interrupted:
            beside = any(until > start for until in self._busy.values())  # it may have to wait for what is held
            yield _WrittenEntry(start, [*before, f"bg {line}" if beside and _may_be_background(line) else line])
            return
        self._busy[task] = end
        first = len(stops) if line.startswith("exit ") else 1  # no hold can be written for a process that is gone
        yield _WrittenEntry(start, [*before, *_hold(task, stops[:first]), f"bg {line}"])
        for number, stop in enumerate(stops, 1):
            if stop.done >= len(call.done):  # it is never released
                break
            resumed = call.done[stop.done]
            yield _WrittenEntry(resumed, [*_hold(task, stops[max(number, first) : number + 1]), f"release {task}"])

    def _stops(self, call: Call) -> Iterator[_Switch]:
        """Where others moved in between, though the call could have gone on."""
        for index, gap in enumerate(_gaps(call), 1):
            if gap > 1 and index - 1 not in call.blocked_after:
                yield _Switch(index)
        if self._goes_on(call) and len(call.done) - 1 not in call.blocked_after:
            yield _Switch(len(call.done))

    def _goes_on(self, call: Call) -> bool:
        """Whether a call is not over when the finding is made, by others."""
        return len(call.moments) > len(call.done) and call.done[-1] < self.operations

    def _placed(self, call: Call, stop: _Switch) -> bool:
        """Find the place that stands for a switch: there, or as near as can be."""
        forbidden = atomic(self.subject.kernel)
        near = sorted(range(len(call.moments)), key=lambda index: (abs(index - stop.done), index > stop.done))
        for index in near:
            if abs(index - stop.done) > NEAR:
                break
            moment = call.moments[index]
            named = [name for name in moment.places if name not in forbidden]
            if index == 0 or moment.atomic or not named:
                continue
            stop.place = min(named, key=lambda name: (not places()[name].kernels, name.count(".")))
            if index != stop.done:
                task = call.actor.name
                self.missing.append(
                    f"{task} stops in {call.moments[min(stop.done, len(call.moments) - 1)].what}; "
                    f"{stop.place} is {quantity(abs(index - stop.done), 'operation')} "
                    f"{'later' if index > stop.done else 'earlier'}"
                )
            stop.done = index
            return True
        self.missing.append(f"{call.actor.name} stops in {call.name}, where no place is near")
        return False

    def _times(self, call: Call, stop: _Switch, previous: _Switch | None) -> int:
        """The how manieth visit of its place it is since the stop before."""
        first = 0 if previous is None else previous.done + 1
        return max(1, sum(stop.place in moment.places for moment in call.moments[first : stop.done + 1]))


def _joined(lines: Iterable[str]) -> list[str]:
    """Steps of one page, one after the other, are a step of several; a step ends with its full scan."""
    joined: list[str] = []
    for line in lines:
        if line.startswith(STEP) and joined and joined[-1].startswith("step ") and not joined[-1].endswith(LAST):
            joined[-1] = f"step {int(joined[-1].split()[1]) + 1}{LAST if line.endswith(LAST) else ''}"
        else:
            joined.append(line)
    return [line.removesuffix(LAST) for line in joined]


def _may_be_background(line: str) -> bool:
    name = line.split(maxsplit=1)[0]
    return name in KERNEL_TASKS or name in OWN_TASKS


def _page_of(call: Call) -> tuple[int, int]:
    return call.arguments["mm"].number, call.arguments["address"]


def _gaps(call: Call) -> list[int]:
    """How many operations of all actors lie between one of the call and the next (1: none of others)."""
    return [later - earlier for earlier, later in zip(call.done, call.done[1:], strict=False)]


def _hold(task: str, stops: Sequence[_Switch]) -> list[str]:
    return [f"hold {task} at {stop.place}{f' {stop.times}' if stop.times > 1 else ''}" for stop in stops]
