"""The steps of a round: those of the scenario, and its races, in which several processes are at work at once.

ksmd, and what the scenario's tasks `migrate`, `set` and `reclaim` do, have a process each that directs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from ksmactors.conformance.language import KERNEL_TASKS, Operation, Scenario
from ksmactors.conformance.live import INTERLEAVED
from ksmactors.reproduce.chance import RacePrediction
from ksmactors.reproduce.prediction import Quantity
from ksmactors.reproduce.races import SIGNALS, HeldRace
from ksmactors.reproduce.steps import MAIN, SCANS, ProgramStep, ProgramSteps

PROCESSES_MAX: Final = 60
"""A race names its processes by the bits of a word."""

WHOLE_SCAN: Final = "4294967295"

KSMD: Final = "ksmd"


@dataclass(slots=True)
class RaceStep(ProgramStep):
    """A step that several processes do at once: the statements of each."""

    branches: dict[str, list[str]] = field(default_factory=dict)
    exits: list[str] = field(default_factory=list)
    """The processes that exit in the race."""


class RacingSteps(ProgramSteps):
    """Writes the steps of one round.

    Raises:
        UsageError: an operation cannot be done by a C program.
    """

    def __init__(self, scenario: Scenario, prediction: RacePrediction) -> None:
        self._races = prediction.races
        self._branch: list[str] | None = None
        self._raced = False
        tasks = [task for race in self._races for task in race.tasks if task in KERNEL_TASKS.values()]
        self.helpers = {task: task.upper() for task in dict.fromkeys(tasks)}
        """The C names of the processes that direct tasks of the kernel."""
        super().__init__(scenario, prediction.prediction)

    @property
    def processes(self) -> list[str]:
        """The C names of all processes."""
        return [MAIN, *self.helpers.values(), *self.names.processes.values()]

    @override
    def _write(self) -> None:
        for helper in self.helpers.values():
            self._add(MAIN, f"start({helper});", ends=True)
        operations = list(self.scenario.operations)
        last = self._last(operations)
        for index, operation in enumerate(operations):
            race = next((race for race in self._races if race.first <= index <= race.last), None)
            self._index, self._operation = index, operation
            if race is not None and index == race.first <= last:
                self._write_race(race, operations)
            elif race is None and operation.name not in INTERLEAVED and index <= last:
                self._write_operation()
        if len(self.processes) > PROCESSES_MAX:
            self._refuse(f"a C program with races has at most {PROCESSES_MAX} processes")

    @override
    def _announce(self) -> None:
        """Print nothing before a crash: each round may be the one."""

    def _write_race(self, race: HeldRace, operations: list[Operation]) -> None:
        for self._index in race.before:
            self._operation = operations[self._index]
            self._write_operation()
        ready = ""
        if KSMD in race.tasks:
            first = operations[race.tasks[KSMD][0]].done
            ready = str(first.number) if first.name == "step" else "1" if first.name == "trace" else WHOLE_SCAN
            self._add(self.helpers[KSMD], f'ready_batch("{ready}");', ends=True)
        step = RaceStep("")
        for task, indices in race.tasks.items():
            branch = self._branch = []
            for number, self._index in enumerate(indices):
                operation = self._operation = operations[self._index].done
                if number:
                    branch.append("delay();")
                self._write_racing(operation, step, first=number == 0)
            actor = MAIN if task == SIGNALS else self.helpers.get(task) or self.names.process(task)
            step.branches[actor] = [statement for statement in branch if statement != "rest();"]
        self._branch = None
        self._raced = True
        self.steps.append(step)
        for actor in step.exits:
            self._add(MAIN, f"end({actor});")

    def _write_racing(self, operation: Operation, step: RaceStep, *, first: bool) -> None:
        """Write an operation of the task that `_branch` is of."""
        if operation.name == "signal":
            named = self.helpers.get(operation.task) or self.names.process(operation.task)
            self._add(MAIN, f"interrupt({named});")
        elif operation.name == "exit":
            step.exits.append(self._actor())
        elif operation.name.startswith("check"):
            self._check(operation)
        elif operation.name in SCANS:
            self._run_ksmd(operation, first=first)
        else:
            self._writer(operation)(self, operation)
            if operation.name == "fork":
                self._add("", f"if (me == {self.names.process(operation.word)})")
                self._add("", "\tbreak;")

    def _check(self, operation: Operation) -> None:
        """A check is a read; what it reads counts if the defect shows there."""
        if Quantity("wrong") in self.prediction.seen[self._index]:
            self._look()
        else:
            self._add("", f"touch({self._pages()});")

    def _run_ksmd(self, operation: Operation, *, first: bool) -> None:
        """The first batch of a race was made ready before it."""
        scans = operation.name in ("scan", "tracescan")
        batches = 1 if operation.name == "step" else operation.number
        if first:
            self._add("", "run_batch();")
            batches -= 1
        if scans and batches:
            self._add("", f"scan({batches});")
        elif batches:
            self._add("", f'batch("{operation.number}");' if operation.name == "step" else f"steps({batches});")

    @override
    def _add(self, actor: str, statement: str, *, ends: bool = False) -> None:
        if self._branch is not None:
            self._branch.append(statement)
        else:
            super()._add(actor, statement, ends=ends)

    @override
    def _expect(self, actor: str, quantity: Quantity, what: str, expression: str) -> None:
        held, _ = self.both(quantity)
        self.observed += 1
        self._add(actor, f'see("{self.observed}. {what}", {expression}, {held});')

    @override
    def _do(self, actor: str, what: str, expression: str, *, kind: str = "error") -> None:
        if self._raced or self._branch is not None:
            quantity = Quantity(kind)
            if quantity in self.prediction.seen[self._index]:
                self._expect(actor, quantity, what, expression)
            else:
                self._add(actor, f"{expression};")
        else:
            super()._do(actor, what, expression, kind=kind)
