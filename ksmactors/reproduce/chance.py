"""What a kernel shows after a race that is left to chance, and which of it only the held race shows.

The question that a program asks after each round must have an answer that nothing but the defect gives. So what the
emulator shows with the holds is compared with what it shows without the defect: with the same holds, and in many random
schedules without holds. If no repair is named, it is compared with all serial orders of the tasks instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from typing_extensions import override

from ksmactors.conformance.around import AroundDriver
from ksmactors.conformance.background import every_actor
from ksmactors.conformance.emulator import Around, Setting, perform
from ksmactors.conformance.emulator_driver import EmulatorDriver
from ksmactors.conformance.language import Operation, Scenario
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import Finding, ScenarioError, UsageError
from ksmactors.reproduce.prediction import Prediction, Quantity, answers_of, quantities_of, succeeded
from ksmactors.reproduce.races import HeldRace, Unheld, at_random, find_races, serial_orders

SCHEDULES: Final = 200
"""Random schedules of the repaired kernel, none of which may look like the defect."""

STRATEGY: Final = "portfolio"

Key = tuple[int, Quantity]
"""Index of an operation, and what is seen of it."""

Seen = dict[Key, str]


@dataclass(frozen=True, slots=True)
class RacePrediction:
    """What a program asks after each round. In `prediction` are only the quantities that are asked for, with their
    values after the held race, and one that another run had. `others` is how many other runs they were compared with.
    """

    prediction: Prediction
    races: tuple[HeldRace, ...]
    others: int


class ChanceDriver(AroundDriver):
    """Runs a scenario in which background tasks go on until `settle` waits for them; everything else is in order."""

    @override
    async def run(self) -> None:
        self.tasks.awaited = every_actor
        await EmulatorDriver.run(self)

    @override
    async def perform(self, operation: Operation) -> list[str]:
        if operation.name in ("bg", "signal"):
            return await self.operation(operation)
        return await EmulatorDriver.perform(self, operation)

    @override
    async def _settled(self) -> list[str]:
        if self.current.name == "settle":
            return await EmulatorDriver._settled(self)
        return []


async def predict_race(scenario: Scenario, broken: Setting, repair: Sequence[str]) -> RacePrediction:
    """Return what tells a kernel on which the race was met from others. To be awaited in trio.

    Raises:
        UsageError: nothing does, or the kernels cannot perform the scenario.
    """
    held = await perform(scenario, broken)
    _check(scenario, held)
    if held.failure is not None and not isinstance(held.failure, Finding):
        raise UsageError(f"{scenario.origin}: {held.failure}")
    answers = answers_of(held)
    races = find_races(scenario, answers)
    if not races:
        raise UsageError(f"{scenario.origin}: no task is started in it (bg), so that there is no race")
    whole = Unheld(scenario, tuple(range(len(answers))))
    with_holds, answered = _seen(scenario, whole, held)
    others = await _others(scenario, races, broken, repair)
    if isinstance(held.failure, Finding) and held.failure.watcher == "structure":
        raise UsageError(
            f"{scenario.origin}: {held.failure}: the emulator stops there and a kernel goes on, so that what a program "
            "could see is not known; construct it: ksmactors conform FILE --guest KERNEL"
        )
    crash = len(answers) - 1 if held.failure is not None else -1
    asked = {} if crash >= 0 else _asked(scenario, with_holds, others, repaired=bool(repair))
    count = len(list(scenario.operations))
    seen: list[dict[Quantity, tuple[str, str]]] = [{} for _ in range(count)]
    for (index, quantity), other in asked.items():
        seen[index][quantity] = (with_holds[index, quantity], other)
    all_answered = tuple(answered.get(index, True) for index in range(count))
    why = str(held.failure) if crash >= 0 else ""
    return RacePrediction(Prediction(tuple(seen), all_answered, crash, why), tuple(races), len(others))


async def held_race_shows(scenario: Scenario, broken: Setting, repair: Sequence[str]) -> bool:
    """Return whether a program could see which kernel has the repair after the held race. To be awaited in trio.

    This is what `predict_race` asks first; it goes on to random schedules.
    """
    held = await perform(scenario, broken)
    if held.failure is not None:
        return True
    _check(scenario, held)
    try:
        repaired = await perform(scenario, replace(broken, with_=(*broken.with_, *repair)))
    except ScenarioError:  # with other locks an operation of the scenario may wait for a held task
        return True
    whole = Unheld(scenario, tuple(range(len(list(scenario.operations)))))
    one, other = (_seen(scenario, whole, transcript)[0] for transcript in (held, repaired))
    return any(other.get(key, value) != value for key, value in one.items())


async def _others(scenario: Scenario, races: Sequence[HeldRace], broken: Setting, repair: Sequence[str]) -> list[Seen]:
    """Return what is seen in the runs that the held race is compared with."""
    if not repair:
        runs = [(unheld, await perform(unheld.scenario, broken)) for unheld in serial_orders(scenario, races)]
        return _all_seen(scenario, runs)
    repaired = replace(broken, with_=(*broken.with_, *repair))
    whole = Unheld(scenario, tuple(range(len(list(scenario.operations)))))
    runs = []
    with suppress(ScenarioError):  # with other locks an operation of the scenario may wait for a held task
        runs.append((whole, await perform(scenario, repaired)))
    for seed in range(SCHEDULES):
        around = Around(STRATEGY, seed, ChanceDriver)
        for unheld in at_random(scenario, races, seed):
            runs.append((unheld, await perform(unheld.scenario, repaired, around)))
    return _all_seen(scenario, runs)


def _all_seen(scenario: Scenario, runs: Sequence[tuple[Unheld, Transcript]]) -> list[Seen]:
    others: list[Seen] = []
    for unheld, transcript in runs:
        _check(scenario, transcript)
        if transcript.failure is not None:
            raise UsageError(f"{scenario.origin}: {transcript.failure}, also without the defect or the race")
        others.append(_seen(scenario, unheld, transcript)[0])
    if not others:
        raise UsageError(f"{scenario.origin}: its operations can be done in no other order")
    return others


def _check(scenario: Scenario, transcript: Transcript) -> None:
    skipped = next((line for line in transcript.lines if line.startswith("= skip")), "")
    if transcript.missing or skipped:
        raise UsageError(f"{scenario.origin}: {transcript.missing or skipped.removeprefix('= ')}")


def _seen(scenario: Scenario, unheld: Unheld, transcript: Transcript) -> tuple[Seen, dict[int, bool]]:
    """Return what is seen, and whether each operation succeeds. The answer of a task comes later than its start."""
    original = list(scenario.operations)
    operations = list(unheld.scenario.operations)
    lines: dict[int, Sequence[str]] = {}
    started: dict[str, int] = {}
    for operation, index, answer in zip(operations, unheld.indices, answers_of(transcript), strict=False):
        if operation.name == "bg":
            started[operation.task] = index
        else:
            lines[index] = answer
        for line in answer:
            task, _, state = line.partition(": ")
            if state.startswith("done") and task in started:
                lines[started.pop(task)] = [state.removeprefix("done").strip()]
    answered = {index: succeeded(answer) for index, answer in lines.items()}
    seen = {
        (index, quantity): value
        for index, answer in lines.items() if index >= 0
        for quantity, value in quantities_of(original[index].done, answer).items()
    }  # fmt: skip
    return seen, answered


def _asked(scenario: Scenario, held: Mapping[Key, str], others: Sequence[Seen], *, repaired: bool) -> Seen:
    """Return the quantities that are asked for: those by which each of the other runs differs. As few as are needed
    beside those by which the first one differs.
    """
    asked: Seen = {}
    for number, other in enumerate(others):
        if number and any(key in other and other[key] != held[key] for key in asked):
            continue
        different = {key: other[key] for key, value in held.items() if key in other and other[key] != value}
        if not different:
            what = "on a repaired kernel" if repaired else "where its tasks work one after the other"
            raise UsageError(
                f"{scenario.origin}: what a program can see in the end is also seen {what}; add operations that "
                "show the difference (migrate, where, counters, frames, check, set merge_across_nodes)"
                f"{'' if repaired else ', or name a repair with --repair'}"
            )
        asked.update({key: value for key, value in different.items() if key not in asked})
    return asked
