"""Where tasks race in a scenario with holds: which operations each of them does while others are at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, permutations
from random import Random
from typing import Final, NoReturn

from ksmactors.conformance.around import LOOKING
from ksmactors.conformance.language import KERNEL_TASKS, Operation, Scenario, parse
from ksmactors.conformance.live import INTERLEAVED
from ksmactors.errors import ScenarioError, UsageError
from ksmactors.interleave.strategies.base import below

SIGNALS: Final = "signals"
"""The task that sends signals to others."""

KSMD_ALSO: Final = {"trace": "ksmd", "tracescan": "ksmd"}

ALONE: Final = frozenset({"proc", "exec", "prctl", "pin", "unpin", "process_vm_readv", "offline", "online", "sleep",
                          "requires"})  # fmt: skip
"""Operations that no task does while others are at work. A process that begins then begins before."""

ORDERS_MAX: Final = 24
"""Serial orders of the tasks of a race that are tried."""


@dataclass(slots=True)
class HeldRace:
    """Operations that tasks do at the same time.

    `first` and `last` are indices of operations of the scenario. `tasks` has, for each task, the indices of its
    operations in order; `before` has those of the operations that come before the race.
    """

    first: int
    last: int
    tasks: dict[str, list[int]] = field(default_factory=dict)
    before: list[int] = field(default_factory=list)


def has_holds(scenario: Scenario) -> bool:
    """Whether tasks of a scenario are held, or work in the background."""
    return any(operation.name in INTERLEAVED for operation in scenario.operations)


def find_races(scenario: Scenario, answers: Sequence[Sequence[str]]) -> list[HeldRace]:
    """Return the races of a scenario, in order. `answers` are the result lines of each operation that was begun.

    A race begins with the first task in the background, and ends when none is there any more.

    Raises:
        UsageError: what is done in one of them cannot be left to chance.
    """
    operations = list(scenario.operations)
    races: list[HeldRace] = []
    running: set[str] = set()
    for index, operation in enumerate(operations):
        if operation.name == "bg" and not running:
            races.append(HeldRace(index, index))
        if operation.name == "bg":
            running.add(operation.task)
        if not running:
            continue
        races[-1].last = index
        _add(races[-1], index, operations, scenario.origin)
        for line in answers[index] if index < len(answers) else ():
            task, _, state = line.partition(": ")
            if state.startswith("done"):
                running.discard(task)
    return races


def _add(race: HeldRace, index: int, operations: Sequence[Operation], origin: str) -> None:
    """Add an operation to a race; those that only look, or direct tasks, are none."""
    operation = operations[index]
    done = operation.done
    if operation.name == "signal":
        race.tasks.setdefault(SIGNALS, []).append(index)
    elif done.name == "proc":
        race.before.append(index)
    elif done.name in ALONE:
        _refuse(origin, operation, f"{done.name} while other tasks are at work cannot be left to chance")
    elif done.name not in INTERLEAVED and done.name not in LOOKING and done.name not in ("drain", "device"):
        task = KERNEL_TASKS.get(done.name) or KSMD_ALSO.get(done.name) or done.process
        born = [operations[one].done for other in race.tasks.values() for one in other]
        if any(one.name == "fork" and one.word == task for one in born):
            _refuse(origin, operation, f"{task} begins in the race, so that what it does then cannot be left to chance")
        race.tasks.setdefault(task, []).append(index)


def _refuse(origin: str, operation: Operation, what: str) -> NoReturn:
    raise UsageError(f"{origin}:{operation.line}: {what}; construct it: ksmactors conform FILE --guest KERNEL")


@dataclass(frozen=True, slots=True)
class Unheld:
    """A scenario without holds, and for each of its operations the index that it has in the original one, or -1."""

    scenario: Scenario
    indices: tuple[int, ...]


Lines = list[tuple[int, str]]
"""Index in the original scenario, and text."""


def serial_orders(scenario: Scenario, races: Sequence[HeldRace]) -> Iterator[Unheld]:
    """Yield the scenario with the tasks of each race one after the other, in each order that is possible."""
    operations = list(scenario.operations)
    names = list(dict.fromkeys(task for race in races for task in race.tasks if task != SIGNALS))
    for order in islice(permutations(names), ORDERS_MAX):
        yield from _unheld(scenario, races, [
            [(index, operations[index].done.text) for task in order for index in race.tasks.get(task, ())]
            for race in races
        ])  # fmt: skip


def at_random(scenario: Scenario, races: Sequence[HeldRace], seed: int) -> Iterator[Unheld]:
    """Yield the scenario with all tasks of each race at the same time, begun in an order that is drawn; in that of the
    scenario if the drawn one is impossible.
    """
    random = Random(seed)
    operations = list(scenario.operations)
    drawn, written = [_mixed(race, random) for race in races], [sorted(_all(race)) for race in races]
    for orders in (drawn, written):
        bodies = [[*((index, _started(operations[index])) for index in order), (-1, "settle")] for order in orders]
        found = list(_unheld(scenario, races, bodies))
        yield from found
        if found:
            return


def _all(race: HeldRace) -> list[int]:
    return [index for indices in race.tasks.values() for index in indices]


def _mixed(race: HeldRace, random: Random) -> list[int]:
    """Return the operations of a race in a random order that leaves those of each task in theirs."""
    left = [list(indices) for indices in race.tasks.values()]
    mixed: list[int] = []
    while left:
        mixed.append(left[below(random, len(left))].pop(0))
        left = [indices for indices in left if indices]
    return mixed


def _started(operation: Operation) -> str:
    """Return the line that starts an operation in the background."""
    done = operation.done
    if done.name == "signal":
        return done.text
    if done.name in KSMD_ALSO:
        return f"bg {'scan' if done.name == 'tracescan' else 'step'} {done.number}"
    return f"bg {done.text}"


def _unheld(scenario: Scenario, races: Sequence[HeldRace], bodies: Sequence[Lines]) -> Iterator[Unheld]:
    """Yield the scenario with these lines in place of its races, unless they use what is not there any more."""
    lines: Lines = []
    for index, operation in enumerate(scenario.operations):
        number = next((number for number, race in enumerate(races) if race.first <= index <= race.last), None)
        if number is None:
            lines += [(index, operation.text)] if operation.name not in INTERLEAVED else []
        elif index == races[number].first:
            lines += [(before, list(scenario.operations)[before].text) for before in races[number].before]
            lines += bodies[number]
    text = "\n".join(line for _, line in lines)
    with suppress(ScenarioError):
        yield Unheld(parse(text, name=scenario.name, origin=scenario.origin), tuple(index for index, _ in lines))
